"""Which driving clip and source the name of a result stands for, in this program's and in others' spelling."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

import media
from evaluation.pairs import find_pairs, read_name

FRAMES = np.full((2, 8, 8, 3), 90, np.uint8)


def clips(folder, *names):
    for name in names:
        media.write_frame_folder(folder / name, FRAMES)
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s2-s1", [("s2", "s1")]),  # ours, and the released code's
        ("s1--s2", [("s2", "s1")]),  # LivePortrait: both are clips here, and the second one drives
        ("photo--s2", [("s2", "photo")]),  # its source is unknown, its order is not
        ("s2", [("s2", "")]),  # a reconstruction
        ("s2-photo", [("s2", "photo")]),
        ("s1_s2", [("s1", "s2"), ("s2", "s1")]),  # LIA's order or the other: nobody can tell
        ("s1_photo", []),
        ("a-b-c", [("a", "b-c"), ("a-b", "c")]),  # neither source is known
        ("a-b-s1", [("a-b", "s1")]),
        ("a-b", [("a-b", "")]),
        ("s11", []),
        ("result", []),
        ("--s1", []),
        ("s1-", []),
    ],
)
def test_readings(name, expected):
    assert read_name(name, ["s1", "s2", "a", "a-b"], ["s1", "s2"]) == expected


def test_names_of_lia_between_known_clips():
    assert read_name("face_smile", ["smile", "frown"], ["face"]) == [("smile", "face")]
    assert read_name("smile_face", ["smile", "frown"], ["face"]) == [("smile", "face")]


def test_other_tools_results_go_beside_ours(tmp_path, capsys):
    driving = clips(tmp_path / "test", "s1", "s2")
    ours = clips(tmp_path / "ours", "s2-s1", "s1-s2")
    theirs = clips(tmp_path / "theirs", "s1--s2", "s1--s2_concat", "result")
    found = {pair.name: pair for pair in find_pairs(driving, {"ours": ours, "theirs": theirs}, truth_dir=ours)}
    assert list(found) == ["s1-s2", "s2-s1", "result"]
    assert found["s2-s1"].results == {"ours": ours / "s2-s1", "theirs": theirs / "s1--s2"}
    assert found["s2-s1"].truth_path == ours / "s2-s1"
    assert "animate this pair" in found["s1-s2"].problems["theirs"]
    assert "--pairs" in found["result"].problems[""]
    assert "side by side: s1--s2_concat" in capsys.readouterr().out


def test_what_nobody_can_tell_is_refused_with_the_remedy(tmp_path, capsys):
    driving = clips(tmp_path / "test", "s1", "s2")
    (pair,) = find_pairs(driving, {"m": clips(tmp_path / "m", "s1_s2")})
    assert not pair.results or "" in pair.problems
    assert "s1 (source: s2) and s2 (source: s1)" in pair.problems[""] and "--pairs" in pair.problems[""]
    (pair,) = find_pairs(driving, {"m": clips(tmp_path / "twice", "s1--s2", "s2-s1")})
    assert "several results: s2-s1, s1--s2" in pair.problems["m"]
    find_pairs(driving, {"m": clips(tmp_path / "strange", "s1-photo")})
    assert "no known clips: photo." in capsys.readouterr().out


def test_names_of_macos_and_names_with_a_suffix_in_them(tmp_path):
    mac, other = (unicodedata.normalize(form, "Zoë") for form in ("NFD", "NFC"))
    driving = clips(tmp_path / "test", mac, "b.mp4")
    results = clips(tmp_path / "m", f"{other}-face", "b.mp4-face")
    (tmp_path / "pairs.csv").write_text(f"driving,source\n{other},face\nb.mp4,face\n", encoding="utf-8")
    for pairs in (None, tmp_path / "pairs.csv"):
        found = {pair.driving: pair for pair in find_pairs(driving, {"m": results}, pairs)}
        assert found[other].driving_path == driving / mac, "the file system's own spelling"
        assert found[other].results["m"] == results / f"{other}-face"
        assert found["b.mp4"].driving_path == driving / "b.mp4"
