"""Labelled sets: layout, truth, people apart, a second run, several processes, bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import media
from corpora import ClipRecord, photos, read_clips, write_clips
from corpora.check import ERROR, check
from corpora.generated import split_units
from faces.keypoint_files import load_keypoints
from faces.tracking import check_track, load_track
from scores import synthetic
from scores.drawing import draw_usual
from scores.synthetic import Recipe, build
from tests.corpora.test_portraits import contents, faces_folder
from tests.corpora.test_portraits import detector as detector

NAMES = ("anna", "ben", "carl", "dora")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return faces_folder(tmp_path_factory.mktemp("photos"), NAMES)


def made(faces, out, clips=6, share=0.3, recipe=None, **options):
    return build(faces, out, clips, draw_usual, "usual", recipe or Recipe(size=48, fps=50), share, **options)


def test_the_set_is_as_documented(faces, tmp_path):
    (said,) = made(faces, tmp_path, recipe=Recipe(size=48, fps=50, tracks=True))
    assert said.startswith("6 clips made, 0 were there: ")
    records = read_clips(tmp_path / "clips.csv")
    people = {split: {r.subject for r in records if r.split == split} for split in ("train", "test")}
    assert people["train"] and people["test"] and not people["train"] & people["test"]
    assert {*people["train"], *people["test"]} == {*NAMES}
    for record in records:
        folder, truth = tmp_path / record.split / record.clip, np.load(tmp_path / "truth" / f"{record.clip}.npz")
        assert len(media.frame_files(folder)) == record.frames == len(truth["intensity"])
        assert record.onset_index < record.apex_index < record.offset_index < record.frames
        assert str(truth["action_units"]) == record.action_units and record.corpus == "synthetic"
        points = load_keypoints(tmp_path / "keypoints", record.clip)
        assert np.allclose(truth["keypoints"][0], points, atol=1e-4)
        assert check_track(tmp_path / "keypoints", record.clip, folder, points)
        track = load_track(tmp_path / "keypoints", record.clip)
        assert np.allclose(track.points, truth["keypoints"], atol=1e-3) and len(track) == record.frames
        labelled = np.isin(truth["units"], [int(unit) for _, unit, _ in split_units(record.action_units)])
        assert np.abs(truth["intensity"][:, labelled]).max(2).sum(1).argmax() == pytest.approx(record.apex_index, abs=1)
    problems, _ = check([tmp_path], tmp_path / "keypoints")
    assert not [problem for problem in problems if problem.level == ERROR]


def test_a_second_run_makes_what_is_missing_and_more_clips_change_none(faces, tmp_path):
    made(faces, tmp_path)
    first = contents(tmp_path)
    record = read_clips(tmp_path / "clips.csv")[0]
    shutil.rmtree(tmp_path / record.split / record.clip)
    (said,) = made(faces, tmp_path)
    assert said.startswith("1 clips made, 5 were there") and contents(tmp_path) == first
    (said,) = made(faces, tmp_path, clips=7)
    assert said.startswith("1 clips made, 6 were there")
    again = contents(tmp_path)
    assert all(again[path] == data for path, data in first.items() if path.suffix in (".png", ".npz", ".pt"))
    with pytest.raises(ValueError, match="holds 1 clips that this command would not make"):
        made(faces, tmp_path)
    with pytest.raises(ValueError, match="Choose another folder with --out, or --overwrite it"):
        made(faces, tmp_path, recipe=Recipe(size=48, fps=50, seed=1))
    made(faces, tmp_path, clips=4, overwrite=True)
    assert len(read_clips(tmp_path / "clips.csv")) == len(list((tmp_path / "truth").iterdir())) == 4


def test_clips_that_another_process_is_at_are_waited_for(faces, tmp_path, monkeypatch):
    """It makes the clip while this one looks after the others."""
    plans, own = [], synthetic._make_one

    def others_first(plan, out):
        if not plans:
            plans.append(plan)
            return ""
        return own(plan, out)

    monkeypatch.setattr(synthetic, "_make_one", others_first)
    monkeypatch.setattr(synthetic.time, "sleep", lambda seconds: plans.append("slept"))
    made(faces, tmp_path)
    assert plans[1:] == ["slept"] and len(list((tmp_path / "truth").iterdir())) == 6


@pytest.mark.parametrize("count", [1, 2, 5, 200])
def test_people_for_testing(count):
    """About the share of them, at least one, never all, and the same ones whoever else there is."""
    rng = np.random.default_rng(0)
    everybody = [photos.Photo(Path(f"{i}.png"), rng.bytes(32).hex(), np.zeros((68, 2)), rng.normal(size=128))
                 for i in range(200)]  # fmt: skip
    for share in (0, 0.2, 0.9):
        people, near = synthetic.split_people(everybody[:count], share)
        assert len(people["train"]) + len(people["test"]) == count and not near and people["train"]
        assert bool(people["test"]) == (share > 0 and count > 1)
    assert 25 < len(synthetic.split_people(everybody, 0.2)[0]["test"]) < 55
    twin = photos.Photo(Path("twin.png"), "f" * 64, np.zeros((68, 2)), everybody[0].embedding)
    people, near = synthetic.split_people([everybody[0], twin], 0.2)
    assert people == {"train": [], "test": [everybody[0]]} and "twin.png" in near


def test_first_frames_of_clips_one_of_a_subject(tmp_path, faces):
    raw, records = tmp_path / "raw", []
    for subject, name in (("s1", "a"), ("s1", "b"), ("s2", "c"), ("s3", "d")):
        picture = media.read_image(faces / f"{NAMES['abcd'.index(name)]}.png")
        media.write_frame_folder(raw / "train" / name, np.stack([picture, 0 * picture]))
        records.append(ClipRecord(name, "train", "samm", subject, "", 200.0, 2))
    write_clips(raw / "clips.csv", records)
    made(raw, tmp_path / "out", clips=3, share=0)
    assert {r.subject for r in read_clips(tmp_path / "out" / "clips.csv")} == {"s1", "s2", "s3"}
    assert {r.split for r in read_clips(tmp_path / "out" / "clips.csv")} == {"train"}
