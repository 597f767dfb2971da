"""The challenge's test set, straight from its zip archive, and the list of pairs that the project ships."""

from __future__ import annotations

import zipfile

import numpy as np

from animation.pairs import read_pairs
from corpora import read_clips
from corpora.cutting import Settings
from corpora.pipeline import prepare
from corpora.splits import CHALLENGE_FILE, SplitOptions, read_challenge
from media import open_clip
from tests.conftest import ROOT
from tests.corpora.trees import brightness, expected_tint, read, rules, tint, write_frames

FOLDERS = {"casme2": "casme2_challenge", "samm": "SAMM_challenge", "smic_hs": "Smic_challenge"}
FACES = ("normalized_westernMale", "normalized_asianFemale")


def challenge(root, leave_out=()):
    for number, entry in enumerate(read_challenge(CHALLENGE_FILE)):
        if entry.clip not in leave_out:
            folder = root / "source_samples" / FOLDERS[entry.corpus] / entry.clip
            write_frames(folder, range(8, 12), "img%d.jpg", subject=number)
    for number, face in enumerate(FACES, start=1):
        write_frames(root / "target_template_face", [number], f"{face}.jpg%.0s", subject=number)
    return root


def test_the_shipped_lists():
    entries = read_challenge(CHALLENGE_FILE)
    assert len(entries) == 9
    for corpus in FOLDERS:
        own = [entry for entry in entries if entry.corpus == corpus]
        assert sorted(entry.class3 for entry in own) == ["negative", "positive", "surprise"]
    names = [entry.clip for entry in entries]
    pairs = read_pairs(ROOT / "data" / "megc2021_pairs.csv", [*names, *FACES])
    assert {(pair.driving, pair.source) for pair in pairs} == {(name, face) for name in names for face in FACES}
    assert len(pairs) == 18 and all(pair.reference == 0 for pair in pairs)


def test_the_archive_becomes_the_papers_test_tree(tmp_path):
    tree = challenge(tmp_path / "MEGC2021_generation")
    archive = tmp_path / "MEGC2021_generation.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(tree.rglob("*.jpg")):
            file.write(path, path.relative_to(tmp_path))
        file.writestr("__MACOSX/MEGC2021_generation/._x.jpg", b"x")
    out = tmp_path / "out"
    prepared = prepare(read("megc2021", archive), out, "megc2021", Settings(), SplitOptions())
    assert not (out / "train").exists()
    names = [entry.clip for entry in read_challenge(CHALLENGE_FILE)]
    assert sorted(path.name for path in (out / "test").iterdir()) == sorted([*names, *FACES])
    read_pairs(ROOT / "data" / "megc2021_pairs.csv", [path.name for path in (out / "test").iterdir()])
    for number, name in enumerate(names):
        assert (np.diff(brightness(out / "test" / name)) > 0.5).all()
        assert abs(tint(out / "test" / name) - expected_tint(number)) < 0.02
    assert [len(open_clip(out / "test" / face)) for face in FACES] == [1, 1]
    rates = {record.clip: record.fps for record in read_clips(out / "clips.csv")}
    assert (rates["EP19_06f"], rates["018_3_1"], rates["s3_po_05"]) == (200.0, 200.0, 100.0)
    assert not prepared.notices


def test_what_is_absent_is_named(tmp_path):
    challenge(tmp_path, leave_out=("EP01_13", "s20_sur_01"))
    (tmp_path / "target_template_face" / "normalized_asianFemale.jpg").unlink()
    listing = read("megc2021", tmp_path)
    assert sorted(rules(listing, "challenge-clip-absent")) == ["EP01_13", "normalized_asianFemale", "s20_sur_01"]
