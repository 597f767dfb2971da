"""Raw clips → crops: one crop a clip, what is left out or resumed, and that nothing half-written remains."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import media
from corpora import read_clips
from corpora.check import check
from corpora.cutting import Settings
from corpora.pipeline import prepare
from corpora.report import write_reports
from corpora.rules import Notice
from corpora.splits import SplitOptions
from corpora.tree import CorpusError
from faces import largest_face
from faces.crop import Crop, to_gray
from tests.corpora.trees import face_frame, read, write_frames
from tests.faces.pictures import dlib_detector, face_crop, noise

SMALL = Settings(Crop(32))


def make_raw(root: Path, subjects=(1, 2, 3), frames: int = 3) -> Path:
    for subject in subjects:
        write_frames(root / f"HS/s{subject}/micro/negative/s{subject}_ne_01", range(frames), "image%06d.png", subject)
    return root


def run(raw: Path, out: Path, settings: Settings = SMALL, split: SplitOptions = SplitOptions(), **options):  # noqa: B008
    return prepare(read("smic_hs", raw), out, "smic_hs", settings, split, **options)


def rules_of(prepared, clip):
    return [notice.rule for notice in prepared.notices if notice.clip == clip]


def contents(folder: Path) -> dict[str, bytes]:
    """All files, but for the dates of the frames in the records."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: re.sub(rb'("written": "\w+) \w+"', rb'\1"', data) for name, data in files.items()}


@pytest.fixture
def raw(tmp_path) -> Path:
    return make_raw(tmp_path / "raw")


# ------------------------------------------------------------------------------------------ the crop
@pytest.mark.parametrize(
    "crop",
    [Crop(48), Crop(48, "square", 0.25), Crop(48, "square", 0.25, "eyes", gray=True), Crop(48, "whole")],
    ids=str,
)
def test_all_frames_are_cut_as_the_onset(raw, tmp_path, crop):
    out = tmp_path / "out"
    run(raw, out, Settings(crop))
    frames = media.open_clip(out / "train/s1_ne_01").read_all()
    matrix = crop.matrix(largest_face(dlib_detector(0), face_frame(1, 0)), (200, 200))
    assert np.array_equal(frames, [crop.apply(face_frame(1, time), matrix) for time in range(3)])
    assert crop.gray == np.array_equal(frames[0], to_gray(frames[0]))
    entry = json.loads((out / "onsets/s1_ne_01.json").read_text())
    assert np.allclose(entry["matrix"], matrix) and np.array(entry["landmarks"]).shape == (68, 2)
    assert list(read_clips(out / "clips.csv")[0].box) == entry["box"]
    assert media.read_image(out / "onsets/s1_ne_01.png").shape == (160, 160, 3)


def test_frames_that_are_cropped_already_are_resized_only_unless_asked(tmp_path):
    clip = tmp_path / "SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01"
    write_frames(clip, range(2), "reg_image%06d.png", 1)
    prepared = run(tmp_path, tmp_path / "out", Settings(Crop(200, adapt=True)))
    assert np.array_equal(media.open_clip(tmp_path / "out/train/s1_ne_01").first(), face_frame(1, 0))
    assert rules_of(prepared, "s1_ne_01") == ["already-cropped"]
    run(tmp_path, tmp_path / "cut", Settings(Crop(200)))
    assert not np.array_equal(media.open_clip(tmp_path / "cut/train/s1_ne_01").first(), face_frame(1, 0))


def test_a_face_that_fills_its_frames_is_seen_to_be_cut_already(tmp_path):
    raw, face = tmp_path / "raw", face_crop("hopper", 96, "square", 0.1)
    for number in range(2):
        media.write_image(raw / "HS/s1/micro/negative/s1_ne_01" / f"image{number:06d}.png", face)
    prepared = run(raw, tmp_path / "out", Settings(Crop(96, adapt=True)))
    assert np.array_equal(media.open_clip(tmp_path / "out/train/s1_ne_01").first(), face)
    assert rules_of(prepared, "s1_ne_01") == ["already-cropped"]


def test_a_doubtful_face_is_left_out_unless_asked_for(tmp_path, monkeypatch):
    """It comes first in the report, in its own colour, and the summary counts it."""
    detector = dlib_detector(0)

    class Doubting:
        def detect(self, image):
            faces = detector.detect(image)
            return [replace(face, doubt="it may be a badge") for face in faces] if image[0, 0, 0] == 255 else faces

    monkeypatch.setattr(Settings, "make_detector", lambda self: Doubting())
    raw = make_raw(tmp_path / "raw", (1, 2))
    for file in (raw / "HS/s2/micro/negative/s2_ne_01").iterdir():
        frame = media.read_image(file).copy()
        frame[0, 0] = 255
        media.write_image(file, frame)
    prepared = run(raw, tmp_path / "out")
    assert [record.clip for record in prepared.records] == ["s1_ne_01"]
    assert rules_of(prepared, "s2_ne_01") == ["doubtful-face"]
    assert "1 left out" in prepared.summary() and "1 doubtful faces: s2_ne_01" in prepared.summary()
    assert prepared.entries["s2_ne_01"]["doubt"] == "it may be a badge"
    write_reports(tmp_path / "out", "faces", prepared, {})
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.index("onsets/s2_ne_01.png") < page.index("onsets/s1_ne_01.png")
    kept = run(raw, tmp_path / "kept", Settings(Crop(32), keep_doubtful=True))
    assert [record.clip for record in kept.records] == ["s1_ne_01", "s2_ne_01"]
    assert rules_of(kept, "s2_ne_01") == ["doubtful-face"]


# ------------------------------------------------------------------------------------------ what is not as it should be
def test_unreadable_frames_are_left_out_and_named(raw, tmp_path):
    folder = raw / "HS/s1/micro/negative/s1_ne_01"
    (folder / "image000001.png").write_bytes(b"not a picture")
    Image.fromarray(noise(20, 30)).save(raw / "HS/s2/micro/negative/s2_ne_01/image000002.png")
    for path in (raw / "HS/s3/micro/negative/s3_ne_01").iterdir():
        path.write_bytes(b"")
    prepared = run(raw, tmp_path / "out")
    assert [(r.clip, r.frames, r.offset, r.offset_index) for r in prepared.records] == [
        ("s1_ne_01", 2, 2, 1),
        ("s2_ne_01", 2, 2, 1),
    ]
    assert [file.name for file in media.frame_files(tmp_path / "out/train/s1_ne_01")] == ["0000000.png", "0000002.png"]
    assert rules_of(prepared, "s1_ne_01") == ["unreadable-frame"]
    assert rules_of(prepared, "s2_ne_01") == ["frame-size"]
    assert rules_of(prepared, "s3_ne_01") == ["unreadable-frame"] * 3 + ["no-frames"]
    text = next(n.text for n in prepared.notices if n.clip == "s1_ne_01")
    assert "image000001.png" in text and "Fetch or unpack this file again" in text
    assert not (tmp_path / "out/train/s3_ne_01").exists()


def replace_frames(raw, subject, frames):
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(raw / f"HS/s{subject}/micro/negative/s{subject}_ne_01/image{number:06d}.png")


def test_no_face(raw, tmp_path):
    replace_frames(raw, 2, [noise(200, 200)] * 3)
    prepared = run(raw, tmp_path / "skip")
    assert [record.clip for record in prepared.records] == ["s1_ne_01", "s3_ne_01"]
    assert rules_of(prepared, "s2_ne_01") == ["no-face"]
    assert (tmp_path / "skip/onsets/s2_ne_01.png").is_file()  # to be looked at
    prepared = run(raw, tmp_path / "whole", Settings(Crop(200, "square", 0.2), on_missing="whole"))
    assert np.array_equal(media.open_clip(tmp_path / "whole/train/s2_ne_01").first(), noise(200, 200))
    assert rules_of(prepared, "s2_ne_01") == ["no-face"]
    with pytest.raises(CorpusError, match="no face in the onset frame of s2_ne_01 .*--on-missing skip"):
        run(raw, tmp_path / "error", Settings(on_missing="error"))
    with pytest.raises(ValueError, match="legal are skip, whole, error"):
        Settings(on_missing="template")


def test_face_in_a_later_frame_and_several_faces(raw, tmp_path):
    replace_frames(raw, 1, [noise(200, 200)])
    replace_frames(raw, 3, [np.concatenate([face_frame(3, t), face_frame(2, t)], axis=1) for t in range(3)])
    prepared = run(raw, tmp_path / "out")
    assert rules_of(prepared, "s1_ne_01") == ["face-in-later-frame"]
    assert rules_of(prepared, "s3_ne_01") == ["several-faces"]
    assert len(prepared.records) == 3 and prepared.records[0].frames == 3


# ------------------------------------------------------------------------------------------ resuming
def test_a_second_run_does_what_is_missing(raw, tmp_path):
    out = tmp_path / "out"
    assert run(raw, out).written == 3
    first = contents(out)
    assert run(raw, out).written == 0
    assert contents(out) == first
    shutil.rmtree(out / "train/s2_ne_01")
    (out / "train/s1_ne_01/0000001.png").unlink()
    assert run(raw, out).written == 2
    assert contents(out) == first
    make_raw(raw, subjects=(4,))
    assert run(raw, out).written == 1
    replace_frames(raw, 4, [face_frame(4, 9)])  # the raw clip has changed
    assert run(raw, out).written == 1


def test_notices_of_earlier_runs_are_kept(raw, tmp_path):
    replace_frames(raw, 2, [noise(200, 200)] * 3)
    run(raw, tmp_path / "out")
    again = run(raw, tmp_path / "out")
    assert again.written == 0 and rules_of(again, "s2_ne_01") == ["no-face"]


def test_processes_write_what_one_does(raw, tmp_path):
    run(raw, tmp_path / "one")
    run(raw, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_interruption_leaves_no_half_written_clip(raw, tmp_path, monkeypatch):
    out, calls = tmp_path / "out", []

    def interrupted(self, frame, matrix):
        calls.append(1)
        if len(calls) == 5:  # the second of three frames of the second clip
            raise KeyboardInterrupt
        return np.zeros((32, 32, 3), np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(Crop, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(raw, out)
    assert [path.name for path in (out / "train").iterdir()] == ["s1_ne_01"]
    (left := out / "train/.s2_ne_01.0123456789ab-1.x.part").mkdir()  # what a killed process of another machine leaves
    os.utime(left, (0, 0))
    assert run(raw, out).written == 2
    assert sorted(path.name for path in (out / "train").iterdir()) == ["s1_ne_01", "s2_ne_01", "s3_ne_01"]


def test_another_split_moves_the_clips(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    prepared = run(raw, out, split=SplitOptions("subject", test_subjects=("s2",)))
    assert prepared.written == 0
    assert [path.name for path in (out / "test").iterdir()] == ["s2_ne_01"]
    assert [record.split for record in read_clips(out / "clips.csv")] == ["train", "test", "train"]


def test_other_settings_need_overwrite_and_foreign_clips_are_safe(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    with pytest.raises(CorpusError, match="made with other settings .*'size': 32.*now.*'size': 48.*--overwrite"):
        run(raw, out, Settings(Crop(48)))
    write_frames(out / "train/mine", [1], "%d.png")
    prepared = run(raw, out, Settings(Crop(48)), overwrite=True)
    assert prepared.written == 3 and media.open_clip(out / "train/s1_ne_01").first().shape == (48, 48, 3)
    assert (out / "train/mine/1.png").is_file()
    assert rules_of(prepared, "mine") == ["stale-clip"]
    write_frames(tmp_path / "foreign/train/clip", [1], "%d.png")
    for content in (None, "{}", '{"scripts": {"prepare": "husky"}}'):  # a file of that name is no sign of ours
        if content is not None:
            (tmp_path / "foreign/prepare.json").write_text(content)
        with pytest.raises(media.OutputError, match="holds .*, which this program did not write"):
            run(raw, tmp_path / "foreign", overwrite=True)


@pytest.mark.parametrize("damage", ["{", "[]", '{"crop": 1}', ""])
def test_damaged_settings_are_overcome_by_overwrite(raw, tmp_path, damage):
    run(raw, out := tmp_path / "out")
    first = contents(out / "train")
    (out / "prepare.json").write_text(damage)
    with pytest.raises(CorpusError, match="prepare.json is damaged.*--overwrite"):
        run(raw, out)
    assert run(raw, out, overwrite=True).written == 3 and contents(out / "train") == first


def test_frames_that_were_changed_since_are_left_and_named(raw, tmp_path):
    """The user's, by what they hold: another picture under the name of a frame, and a frame of another clip."""
    run(raw, out := tmp_path / "out")
    frame = out / "train/s1_ne_01/0000001.png"
    for picture in (noise(32, 32), None):
        if picture is None:
            shutil.copy(out / "train/s2_ne_01/0000001.png", frame)
        else:
            Image.fromarray(picture).save(frame)
        before = contents(out)
        with pytest.raises(media.OutputError, match="the frames of .*s1_ne_01 were changed after"):
            run(raw, out)
        assert contents(out) == before
    (out / "train/s1_ne_01").rename(tmp_path / "mine")
    assert run(raw, out).written == 1
    Image.fromarray(noise(32, 32)).save(frame)
    (frame.parent / "0000002.png").unlink()
    for overwrite in (False, True):
        with pytest.raises(media.OutputError, match="s1_ne_01 holds 0000001.png, which this program did not write"):
            run(raw, out, overwrite=overwrite)
    shutil.rmtree(frame.parent)
    run(raw, out)
    shutil.copytree(out, moved := tmp_path / "moved")  # all dates are new
    assert run(raw, moved).written == 0


def test_a_clip_in_both_splits_is_refused(raw, tmp_path):
    run(raw, out := tmp_path / "out")
    shutil.copytree(out / "train/s2_ne_01", out / "test/s2_ne_01")
    before = contents(out)
    for overwrite in (False, True):
        with pytest.raises(CorpusError, match="train/s2_ne_01 and .*test/s2_ne_01 are both.*into train"):
            run(raw, out, overwrite=overwrite)
    assert contents(out) == before
    assert {(p.level, p.kind) for p in check([out])[0]} >= {("error", "leak")}
    shutil.rmtree(out / "test/s2_ne_01")
    Image.fromarray(noise(32, 32)).save(out / "test/s2_ne_01.png")  # not in the way of a folder of frames
    with pytest.raises(CorpusError, match="s2_ne_01.png are both there"):
        run(raw, out)


def test_an_unknown_rule_is_a_bug():
    with pytest.raises(ValueError, match="unknown rule"):
        Notice("something", "", "")


def test_a_clip_with_a_dot_in_its_name_is_made_once(tmp_path):
    for name in ("take", "take.v2"):
        write_frames(tmp_path / f"raw/s1/{name}", range(3), "%d.png", 1)
    for written in (2, 0):
        listing = read("folder", tmp_path / "raw", fps=100.0)
        prepared = prepare(listing, tmp_path / "out", "folder", SMALL, SplitOptions("train"))
        assert (prepared.written, len(prepared.records)) == (written, 2)
