"""The wrong folder: the error says which level was expected, what was found, or which corpus it looks like."""

from __future__ import annotations

import pytest

from corpora.tree import CorpusError
from tests.corpora.trees import read, write_frames

CLIPS = {
    "casme2": ("CASME2_RAW_selected/sub01/EP01_01f", "img%d.jpg"),
    "samm": ("SAMM/006/006_1_2", "006_%05d.jpg"),
    "smic_hs": ("HS/s1/micro/negative/s1_ne_01", "image%06d.bmp"),
    "megc2021": ("source_samples/SAMM_challenge/018_3_1", "018_%d.jpg"),
}


def message(corpus, root):
    with pytest.raises(CorpusError) as error:
        read(corpus, root)
    return str(error.value)


@pytest.mark.parametrize("corpus", CLIPS)
@pytest.mark.parametrize("other", CLIPS)
def test_a_corpus_of_another_name(tmp_path, corpus, other):
    if corpus == other:
        return
    folder, pattern = CLIPS[other]
    write_frames(tmp_path / folder, range(3), pattern)
    assert f"(1 clips). Did you mean: python prepare.py {other} --raw {tmp_path}" in message(corpus, tmp_path)


@pytest.mark.parametrize("corpus", CLIPS)
def test_a_level_too_low(tmp_path, corpus):
    folder, pattern = CLIPS[corpus]
    clip = write_frames(tmp_path / folder, range(3), pattern)
    assert "it is the folder of a single clip. Give a folder further up" in message(corpus, clip)
    subject = tmp_path / "HS/s1" if corpus == "smic_hs" else clip.parent
    assert "it is the folder of a single subject or set. Give the folder above" in message(corpus, subject)


@pytest.mark.parametrize("corpus", CLIPS)
def test_something_else(tmp_path, corpus):
    assert "Found: nothing at all" in message(corpus, tmp_path)
    (tmp_path / "readme.pdf").write_bytes(b"x")
    (tmp_path / "frames.rar").write_bytes(b"x")
    text = message(corpus, tmp_path)
    assert "no pictures; 2 other files: frames.rar, readme.pdf" in text
    assert "Archives that must be unpacked first: frames.rar" in text
    write_frames(tmp_path / "holiday", range(3), "%d.jpg")
    assert "Expected in it:" in message(corpus, tmp_path)
    assert "pictures in 1 folders: holiday (3)" in message(corpus, tmp_path)
