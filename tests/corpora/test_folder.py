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
from tests.corpora.trees import PLAIN, brightness, face_frame, read, rules, text_of, write_frames
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


def test_a_given_rate_goes_over_the_recorded_one_and_says_so(tmp_path):
    media.write_clip(tmp_path / "raw" / "a.mp4", [face_frame(1, 2 * time) for time in range(4)], 25)
    prepared = prepare(
        read("folder", tmp_path / "raw", fps=200.0), tmp_path / "out", "folder", Settings(), SplitOptions("train")
    )
    assert [record.fps for record in prepared.records] == [200]
    (notice,) = [notice for notice in prepared.notices if notice.rule == "rate-overruled"]
    assert notice.text == "the file says 25 frames a second, 200 are given"


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


def named(folder, *names):
    """A clip of plain pictures of these names, read as a corpus: its frames' names and numbers, and the listing."""
    folder.mkdir(parents=True)
    for name in names:
        media.write_image(folder / name, PLAIN)
    listing = read("folder", folder.parent, fps=50.0)
    return [(frame.file.name, frame.number) for frame in listing.clips[0].frames], listing


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("frame_00001_0.png", "frame_00002_0.png", "frame_00003_0.png"), [1, 2, 3]),
        (("00008_256.png", "00009_256.png", "00010_256.png"), [8, 9, 10]),
        (("img_1_t0020.png", "img_2_t0040.png", "img_3_t0060.png"), [1, 2, 3]),  # both rise: the denser one
        (("t_1.980.png", "t_2.000.png", "t_2.020.png"), [0, 1, 2]),
        (("RGB-11-26-00-940.png", "RGB-11-26-00-980.png", "RGB-11-26-01-020.png"), [0, 1, 2]),
        (("img9.png", "img10.png", "img11.png"), [9, 10, 11]),
        (("٩.png", "١٠.png", "١١.png"), [9, 10, 11]),
        (("take2_5.png", "take2_10.jpg", "take2_15.png"), [5, 10, 15]),
    ],
)
def test_the_number_that_rises_is_the_frames_and_natural_order_rules(tmp_path, names, numbers):
    found, listing = named(tmp_path / "raw" / "clip", *names)
    assert found == list(zip(names, numbers, strict=True))
    assert not rules(listing, "missing-frames"), "steps that are all alike leave nothing out"
    assert bool(rules(listing, "numbered-by-order")) == (numbers == [0, 1, 2])


def test_copies_and_strangers_among_frames_are_left_out(tmp_path):
    strangers = "img50 (1).png", "sheet_2013.png"
    found, listing = named(tmp_path / "raw" / "clip", "img49.png", "img50.png", "img51.png", "img53.png", *strangers)
    assert [number for _, number in found] == [49, 50, 51, 53]
    assert len(rules(listing, "frame-named-otherwise")) == 2
    assert "1 of 5 frames: 52" in text_of(listing, "missing-frames")


def test_numbers_beyond_all_bounds(tmp_path):
    found, listing = named(tmp_path / "raw" / "clip", "1.png", "2.png", f"{10**60}.png")
    assert len(found) == 3 and "frames: 3–999" in text_of(listing, "missing-frames")


def test_folders_and_files_of_systems_are_no_clips_and_no_frames(tmp_path):
    for folder in ("clip/@eaDir/1.png", "#recycle/clip", "$RECYCLE.BIN", "@Recycle/old", "~snapshot/x"):
        media.write_frame_folder(tmp_path / "raw" / folder, [PLAIN, PLAIN])
    found, listing = named(tmp_path / "raw" / "clip2", "1.png", "2.png", "._1.png")
    assert [clip.name for clip in listing.clips] == ["clip2"] and len(found) == 2
