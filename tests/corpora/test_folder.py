"""Any tree of videos and folders of frames."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

import media
from corpora.cutting import Settings, _Frames
from corpora.pipeline import prepare
from corpora.splits import SplitOptions
from corpora.tree import CorpusError
from faces.crop import Crop
from tests.corpora.trees import brightness, face_frame, read, rules, write_frames
from tests.pictures import write_truncated_mp4


def test_videos_and_frame_folders(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    frames = [face_frame(1, 2 * time) for time in range(6)]
    media.write_clip(raw / "train/ann/smile.mp4", frames, 120.0)
    media.write_clip(raw / "test/bob.mp4", frames, 60.0)
    write_frames(raw / "train/ann/frown", range(8, 12), "f%d.png", subject=2)
    listing = read("folder", raw, fps=200.0)
    assert [(c.name, c.subject, c.split) for c in listing.clips] == [
        ("ann_frown", "ann", "train"),
        ("ann_smile", "ann", "train"),
        ("bob", "bob", "test"),
    ]
    listing = read("folder", raw / "test")  # a video says its rate
    crop = Settings(Crop(64, "square", 0.1))
    prepared = prepare(listing, out, "folder", crop, SplitOptions("train"))
    assert [(r.clip, r.fps, r.frames) for r in prepared.records] == [("bob", 60.0, 6)]
    assert media.open_clip(out / "train/bob").first().shape == (64, 64, 3)
    assert (np.diff(brightness(out / "train/bob")) > 0.5).all()


def test_truncated_video_and_what_is_no_clip(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    write_frames(tmp_path / "still", [3], "%d.png")
    listing = read("folder", tmp_path, fps=100.0)
    assert rules(listing, "no-frames") == ["still"]
    prepared = prepare(listing, tmp_path / "out", "folder", Settings(), SplitOptions("train"))
    assert not prepared.records
    assert {"unreadable-frame", "no-frames"} <= {notice.rule for notice in prepared.notices if notice.clip == "broken"}


def test_what_else_warns_is_not_laid_to_a_video(tmp_path):
    frames = [face_frame(1, 2 * time) for time in range(40)]
    write_truncated_mp4(tmp_path / "cut.mp4", frames, 25.0, share=0.6)
    source = _Frames(read("folder", tmp_path).clips[0])
    for _ in source:
        warnings.warn("unclosed file", ResourceWarning)
        warnings.warn("of another clip")
    assert [notice.rule for notice in source.notices] == ["unreadable-frame"]
    assert "cut.mp4: truncated or damaged" in source.notices[0].text


def test_errors(tmp_path):
    with pytest.raises(CorpusError, match="no clips in .*Found: nothing at all"):
        read("folder", tmp_path)
    write_frames(tmp_path / "a/b", range(3), "%d.png")
    with pytest.raises(CorpusError, match="do not say their rate: give it with --fps"):
        read("folder", tmp_path)
    write_frames(tmp_path / "a_b", range(3), "%d.png")
    with pytest.raises(CorpusError, match="two clips get the name 'a_b': a/b and a_b|a_b and a/b"):
        read("folder", tmp_path, fps=100.0)


def test_rates_of_recordings_that_vary(tmp_path):
    """``clips.csv`` has every recorded frame once, at a rate that gives their duration; a notice says so."""
    first, *others = [Image.fromarray(face_frame(1, 2 * time)) for time in range(6)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[20, 20, 30, 20, 30, 2000])
    prepared = prepare(read("folder", tmp_path), tmp_path / "out", "folder", Settings(), SplitOptions("train"))
    assert [(record.frames, record.fps) for record in prepared.records] == [(6, pytest.approx(1000 * 5 / 120))]
    notice = next(notice for notice in prepared.notices if notice.rule == "as-recorded")
    assert "its frame rate varies (20 to 2000 ms a frame): read as 41.67 frames a second" in notice.text


@pytest.mark.parametrize("place", ["", "ann/"])
def test_files_of_many_pages_are_clips_each(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    for name in ("s1.tif", "s2.tif"):
        first, *others = [Image.fromarray(face_frame(1, 2 * time)) for time in range(4)]
        first.save(tmp_path / place / name, save_all=True, append_images=others)
    listing = read("folder", tmp_path, fps=100.0)
    prepared = prepare(listing, tmp_path / "out", "folder", Settings(), SplitOptions("train"))
    prefix = place.replace("/", "_")
    assert [(record.clip, record.frames) for record in prepared.records] == [(f"{prefix}s1", 4), (f"{prefix}s2", 4)]


def test_what_is_left_out_is_noted(tmp_path):
    write_frames(tmp_path / "clip", range(3), "%d.png")
    write_frames(tmp_path, [7], "%d.png")
    for name in ("b.cine", "clip/IMG_1.HEIC", "clip/notes.txt", "sheet.xlsx"):
        (tmp_path / name).touch()
    notices = [notice.text for notice in read("folder", tmp_path, fps=100.0).notices if notice.rule == "no-clip"]
    assert "2 files left out" in notices[0] and ": b.cine, clip/IMG_1.HEIC. " in notices[0]
    assert "1 pictures beside the clips" in notices[1]
