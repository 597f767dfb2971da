"""Training sets from portraits: layout, truth, identities apart, and that a second run does only what is missing."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import media
from corpora import photos, portraits, read_clips
from corpora.check import ERROR, check
from corpora.photos import Photo
from corpora.sample.portraits import canonical_shape
from faces.keypoint_files import load_keypoints
from modules.facial_prior import select_keypoints
from prepare import main

SIZE, CLIPS = 48, 2


def faces_folder(folder, names):
    """Photos of noise: what moves is not looked at, only that it moves as it should."""
    folder.mkdir(exist_ok=True)
    for name in names:
        rng = np.random.default_rng([*name.encode()])
        small = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
        media.write_image(folder / f"{name}.png", media.resize_frame(small, 500, 500))
    return folder


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    """Each photo is the canonical face, of a person of its own."""

    def find(path):
        embedding = np.random.default_rng([*path.name.encode()]).normal(size=128)
        return {
            "size": [500, 500], "faces": 1, "score": 2.0, "attempt": "plain",
            "landmarks": canonical_shape().tolist(), "embedding": embedding.tolist(),
        }  # fmt: skip

    monkeypatch.setattr(photos, "find_face", find)


def build(root, **options):
    return portraits.build(root / "faces", root / "out", **{"held_out": "f*", "clips": CLIPS, "size": SIZE, **options})


@pytest.fixture
def root(tmp_path):
    faces_folder(tmp_path / "faces", ("anna", "ben", "carl", "f1", "f2", "f3"))
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_set_is_as_documented(root):
    assert "12 clips written, 0 were there: 3 faces to train with, 3 to test with; 0 photos left out" in build(root)
    out = root / "out"
    records = read_clips(out / "clips.csv")
    assert sorted({r.subject for r in records if r.split == "train"}) == ["anna", "ben", "carl"]
    assert [r.subject for r in records if r.split == "test"] == ["f1", "f2", "f3"]
    for record in records:
        folder = out / record.split / record.clip
        assert len(media.frame_files(folder)) == record.frames
        assert record.onset_index < record.apex_index < record.offset_index < record.frames
        assert record.source == f"{record.subject}.png"
        assert load_keypoints(out / "keypoints", record.clip).shape == (18, 2)
    assert {r.frames for r in records if r.split == "train"} == {portraits.TRAIN_FRAMES}
    rows = list(csv.DictReader((out / "pairs.csv").open()))
    tests = {r.clip: r for r in records if r.split == "test"}
    assert {row["source"] for row in rows} == {row["driving"] for row in rows} == set(tests)
    for row in rows:
        assert tests[row["source"]].subject != tests[row["driving"]].subject
        truth = media.open_clip(out / "truth" / f"{row['driving']}-{row['source']}")
        assert len(truth) == tests[row["driving"]].frames
        source = media.open_clip(out / "test" / row["source"])
        np.testing.assert_array_equal(truth.first(), source.first())
        apex = tests[row["driving"]].apex_index
        moved = np.abs(truth.read([apex])[0].astype(int) - truth.first())
        assert moved.max() > 20, "and then it moves"
    problems, _ = check([out], out / "keypoints")
    assert not [str(problem) for problem in problems if problem.level == ERROR]
    assert (out / "left_out.csv").read_text() == "file,reason\n"


def test_a_second_run_makes_what_is_missing_with_the_same_bytes(root):
    build(root)
    before = contents(root / "out")
    clip = next((root / "out" / "train").iterdir())
    shutil.rmtree(clip)
    (root / "out" / "keypoints" / f"{clip.name}.pt").unlink()
    next(next((root / "out" / "truth").iterdir()).iterdir()).unlink()
    assert build(root).startswith("2 clips written, 10 were there")
    assert contents(root / "out") == before
    assert build(root).startswith("0 clips written, 12 were there")


def test_photos_come_and_go_and_the_others_stay_as_they_are(root):
    build(root)
    before = contents(root / "out" / "train")
    (root / "faces" / "ben.png").unlink()
    faces_folder(root / "faces", ["aaron"])
    assert build(root).startswith("2 clips written, 10 were there")
    after = contents(root / "out" / "train")
    people = {path.parts[0].split("_")[0] for path in after}
    assert people == {"aaron", "anna", "carl"}, "clips of photos that are gone would be trained on"
    assert all(before[path] == content for path, content in after.items() if path in before)


def test_other_settings_are_another_set(root):
    build(root)
    with pytest.raises(ValueError, match="holds a set made with .*Choose another folder with --out, or --overwrite it"):
        build(root, size=64)
    assert build(root, size=64, clips=1, overwrite=True).startswith("9 clips written")
    assert media.open_clip(next((root / "out" / "train").iterdir())).first().shape == (64, 64, 3)
    (root / "out" / "portraits.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged: .*--overwrite makes it again"):
        build(root, size=64)
    frame = next((root / "out" / "train").iterdir()) / "0000000.png"
    Image.new("RGB", (64, 64)).save(frame)
    with pytest.raises(media.OutputError, match="holds 0000000.png, which this program did not write"):
        build(root, size=64, clips=1, overwrite=True)
    (root / "out" / "portraits.json").unlink()
    with pytest.raises(ValueError, match="holds another data set: choose another folder"):
        build(root)


@pytest.mark.parametrize("clips", [0, len(portraits.MOVEMENTS) + 1])
def test_illegal_numbers_of_clips(root, clips):
    with pytest.raises(ValueError, match=f"--clips is {clips}; legal are 1 to {len(portraits.MOVEMENTS)}"):
        build(root, clips=clips)
    assert not (root / "out").exists()


@pytest.mark.parametrize(("pattern", "testing"), [("f1*", 1), ("*", 6), ("x*", 0)])
def test_both_parts_need_faces(root, pattern, testing):
    with pytest.raises(ValueError, match=f"6 photos of .* can be used, {testing} of them to test with: at least two"):
        build(root, held_out=pattern)
    assert not (root / "out" / "portraits.json").exists()  # the command that is put right is not told of other settings


def test_a_killed_overwrite_leaves_nothing_of_other_settings(root, monkeypatch):
    build(root)
    with monkeypatch.context() as patch:
        patch.setattr(portraits, "run_parallel", lambda *rest: iter([][0]))
        with pytest.raises(IndexError):
            build(root, size=64, overwrite=True)
    build(root, size=64)
    folders = [path for part in ("train", "test", "truth") for path in (root / "out" / part).iterdir()]
    assert {media.open_clip(path).first().shape for path in folders} == {(64, 64, 3)}


# ------------------------------------------------------------------------------------------------------ plans
def photo(number: int) -> Photo:
    return Photo(Path(f"{number}.jpg"), f"{number:064x}"[::-1], canonical_shape(), np.zeros(128))


def test_training_is_strong_and_tests_are_micro_expressions():
    train = [plan for n in range(40) for plan in portraits.plan_clips(photo(n), "train", 3, seed=0)]
    test = [plan for n in range(40) for plan in portraits.plan_clips(photo(n), "test", 1, seed=0)]
    low, high = portraits.MICRO
    assert all(low <= plan.amplitude_px <= high for plan in test)
    peaks = np.array([plan.amplitude_px for plan in train])
    assert low <= peaks.min()
    assert peaks.max() <= 4 * high
    assert 0.2 < np.mean(peaks > 2 * high) < 0.45, "a third is four times as strong"
    for n in range(0, 120, 3):
        assert len({(plan.emotion, plan.units) for plan in train[n : n + 3]}) == 3, "no movement twice on a face"
    assert {plan.emotion for plan in test} == {plan.emotion for plan in train} == set(portraits.EMOTIONS)


def test_key_points_are_those_of_the_face_in_its_frame():
    plan = portraits.plan_clips(photo(5), "train", 1, seed=3)[0]
    points = select_keypoints(torch.from_numpy(plan.identity.landmarks_in(SIZE, plan.key)))
    assert points.min() > 0
    assert points.max() < SIZE


def test_the_command(root, capsys):
    arguments = [
        "portraits",
        "--faces",
        str(root / "faces"),
        "--out",
        str(root / "out"),
        "--size",
        "48",
        "--workers",
        "1",
    ]
    assert main([*arguments, "--held-out", "f*", "--clips", "1"]) == 0
    assert "9 clips written" in capsys.readouterr().out
    assert main([*arguments, "--held-out", "nobody*", "--out", str(root / "other")]) == 2
    assert "--held-out PATTERN" in capsys.readouterr().err
