"""CASME II as its owners ship it: layouts, names, order of frames, and the errors known in its sheet."""

from __future__ import annotations

import numpy as np
import pytest

from corpora import read_clips
from corpora.cutting import Settings
from corpora.pipeline import prepare
from corpora.splits import SplitOptions
from corpora.tree import CorpusError
from tests.corpora.trees import (
    CASME2_HEADER,
    brightness,
    casme2_row,
    expected_tint,
    read,
    rules,
    text_of,
    tint,
    write_frames,
    write_sheet,
)

SHEET = "CASME2-coding-20140508.xlsx"


def selected(root, person, clip, numbers, **options):
    return write_frames(root / f"CASME2_RAW_selected/sub{person:02d}/{clip}", numbers, "img%d.jpg", **options)


def sheet(root, *rows, name=SHEET):
    return write_sheet(root / name, [CASME2_HEADER, *rows])


def test_frames_are_in_time_order_and_of_the_right_person(tmp_path):
    """Unpadded numbers, and one clip name of two people: the released code mixes up both."""
    for subject in (1, 2):
        selected(tmp_path, subject, "EP02_01f", range(8, 13), subject=subject)
    sheet(
        tmp_path,
        casme2_row(1, "EP02_01f", 8, 10, 12, "4+L10", "disgust"),
        casme2_row(2, "EP02_01f", 8, 9, 12, "12", "happiness"),
    )
    out = tmp_path / "out"
    prepared = prepare(read("casme2", tmp_path), out, "casme2", Settings(), SplitOptions())
    assert [record.clip for record in prepared.records] == ["sub01_EP02_01f", "sub02_EP02_01f"]
    for subject in (1, 2):
        clip = out / "train" / f"sub{subject:02d}_EP02_01f"
        assert sorted(path.name for path in clip.iterdir()) == [f"{n:07d}.png" for n in range(8, 13)]
        steps = np.diff(brightness(clip))
        assert (steps > 0.5).all(), "brighter from frame to frame"
        assert abs(tint(clip) - expected_tint(subject)) < 0.02
    first, second = read_clips(out / "clips.csv")
    assert (first.subject, first.onset, first.apex, first.offset) == ("sub01", 8, 10, 12)
    assert (first.onset_index, first.apex_index, first.offset_index) == (0, 2, 4)
    assert (first.action_units, first.emotion, first.class3, first.fps) == ("4+L10", "disgust", "negative", 200.0)
    assert (second.emotion, second.class3) == ("happiness", "positive")
    assert second.source == "CASME2_RAW_selected/sub02/EP02_01f"
    x0, y0, x1, y1 = first.box
    assert 60 < x1 - x0 < 130 and 60 < y1 - y0 < 130


def test_known_errors_are_put_right_by_named_rules(tmp_path):
    rows = [
        casme2_row(1, "EP01_01", 10, "/", 14, "12", "happiness"),
        casme2_row(2, "EP01_01", 10, 99, 14, "12", "happiness"),
        casme2_row(3, "EP01_01", 10, 12, 900, "4", "others"),
        casme2_row(4, "EP01_01", 10, 12, 14, "4", "disgust"),
        casme2_row(5, "EP01_01", 10, 12, 9, "1+2", "surprise"),
        casme2_row(6, "EP01_01", 9, 12, 14, "1", "sadness"),
        casme2_row(7, "EP01_01", "?", 12, 14, "1", "fear"),
        casme2_row(8, "EP01_01", 10, 12, 14, "1", "fear"),
        casme2_row(1, "EP01_01", 10, 11, 14, "12", "disgust"),
        casme2_row("", "EP09_09", 10, 11, 14, "12", "disgust"),
    ]
    for subject in (1, 2, 3, 5, 6, 7, 9):
        selected(tmp_path, subject, "EP01_01", range(10, 15))
    selected(tmp_path, 4, "EP01_01", (10, 11, 14))
    sheet(tmp_path, *rows)
    listing = read("casme2", tmp_path)
    clips = {clip.name: clip for clip in listing.clips}
    assert rules(listing, "apex-not-a-number") == ["sub01_EP01_01"] and clips["sub01_EP01_01"].apex is None
    assert rules(listing, "apex-outside") == ["sub02_EP01_01"] and clips["sub02_EP01_01"].apex is None
    assert rules(listing, "offset-beyond") == ["sub03_EP01_01"] and clips["sub03_EP01_01"].offset == 14
    assert rules(listing, "missing-frames") == ["sub04_EP01_01"]
    assert "2 of 5 frames: 12–13" in text_of(listing, "missing-frames")
    assert rules(listing, "apex-frame-missing") == ["sub04_EP01_01"] and clips["sub04_EP01_01"].apex == 12
    assert rules(listing, "offset-before-onset") == ["sub05_EP01_01"] and clips["sub05_EP01_01"].offset == 14
    assert rules(listing, "onset-before") == ["sub06_EP01_01"] and clips["sub06_EP01_01"].onset == 10
    assert rules(listing, "onset-not-a-number") == ["sub07_EP01_01"] and clips["sub07_EP01_01"].onset == 10
    assert rules(listing, "listed-but-absent") == ["sub08_EP01_01"]
    assert rules(listing, "listed-twice") == ["sub01_EP01_01"] and clips["sub01_EP01_01"].emotion == "happiness"
    assert rules(listing, "row-incomplete") == [""] and "line 11" in text_of(listing, "row-incomplete")
    assert rules(listing, "not-in-sheet") == ["sub09_EP01_01"] and clips["sub09_EP01_01"].emotion == ""
    assert rules(listing, "count") == [""]
    assert [clips[f"sub0{n}_EP01_01"].class3 for n in (1, 3, 4, 5, 6, 7)] == [
        "positive", "", "negative", "surprise", "", "",
    ]  # fmt: skip


def test_raw_clips_are_cut_to_the_expression(tmp_path):
    """Frames before the onset and after the offset belong to CASME2-RAW alone."""
    write_frames(tmp_path / "CASME2_RAW/CASME2-RAW/sub1/EP01_01", range(1, 31), "img%d.jpg")
    write_frames(tmp_path / "CASME2_RAW/CASME2-RAW/sub2/EP01_01", range(1, 31), "img%d.jpg")
    write_frames(tmp_path / "CASME2_RAW/CASME2-RAW/sub3/EP01_01", range(1, 31), "img%d.jpg")
    rows = [casme2_row(n, "EP01_01", 9, 12, offset, "", "others") for n, offset in ((1, 14), (2, "x"))]
    sheet(tmp_path, *rows, name="CASME2-coding-20190701.xlsx")
    listing = read("casme2", tmp_path)
    assert [clip.name for clip in listing.clips] == ["sub01_EP01_01"]  # sub1 on disk, 1 in the sheet
    assert [frame.number for frame in listing.clips[0].frames] == list(range(9, 15))
    assert rules(listing, "no-onset") == ["sub02_EP01_01"]  # no offset: it may be anywhere
    assert rules(listing, "not-in-sheet") == ["sub03_EP01_01"]


def test_renumbered_and_unrelated_frames(tmp_path):
    selected(tmp_path, 1, "EP01_01", range(1, 6))
    selected(tmp_path, 2, "EP01_01", range(1, 8))
    sheet(tmp_path, *(casme2_row(n, "EP01_01", 46, 48, 50, "", "others") for n in (1, 2)))
    listing = read("casme2", tmp_path)
    assert rules(listing, "renumbered") == ["sub01_EP01_01"]
    assert [frame.number for frame in listing.clips[0].frames] == [46, 47, 48, 49, 50]
    assert [frame.file.name for frame in listing.clips[0].frames] == [f"img{n}.jpg" for n in range(1, 6)]
    assert rules(listing, "numbers-unrelated") == ["sub02_EP01_01"]
    assert len(listing.clips[1].frames) == 7 and listing.clips[1].apex is None


def test_several_copies_and_the_choice_between_them(tmp_path):
    numbers = range(10, 15)
    selected(tmp_path, 1, "EP01_01", numbers)
    write_frames(tmp_path / "Cropped/sub01/EP01_01", numbers, "reg_img%d.jpg")
    write_frames(tmp_path / "Cropped/sub02/EP01_01", numbers, "reg_img%d.jpg")
    sheet(tmp_path, *(casme2_row(n, "EP01_01", 10, 12, 14, "", "others") for n in (1, 2)))
    listing = read("casme2", tmp_path)
    assert [(clip.source.split("/")[0], clip.cropped) for clip in listing.clips] == [
        ("CASME2_RAW_selected", False),
        ("Cropped", True),
    ]
    assert "1 selected, 1 cropped used, 1 further copies not" in text_of(listing, "several-copies")
    assert all(clip.cropped for clip in read("casme2", tmp_path, frames="cropped").clips)
    with pytest.raises(CorpusError, match="--frames raw: no such frames of CASME II"):
        read("casme2", tmp_path, frames="raw")


def test_objective_classes_and_a_class_of_one(tmp_path):
    for subject in (1, 2, 3):
        selected(tmp_path, subject, "EP01_01", range(10, 15))
    sheet(tmp_path, *(casme2_row(n, "EP01_01", 10, 12, 14, "", "others") for n in (1, 2, 3)))
    rows = [["Subject", "Filename", "Objective Class"], [1, "EP01_01", 1], [2, "EP01_01", 1], [3, "EP01_01", 6]]
    write_sheet(tmp_path / "CASME2-ObjectiveClasses.xlsx", rows)
    listing = read("casme2", tmp_path)
    assert [clip.objective_class for clip in listing.clips] == ["1", "1", "6"]
    assert rules(listing, "class-of-one") == ["sub03_EP01_01"]


def test_without_a_sheet_on_request_alone(tmp_path):
    selected(tmp_path, 1, "EP01_01", range(10, 15))
    with pytest.raises(CorpusError, match="no coding sheet .* CASME2-coding-20140508.xlsx.*--no-sheet"):
        read("casme2", tmp_path)
    listing = read("casme2", tmp_path, use_sheet=False)
    assert len(listing.clips) == 1 and rules(listing, "no-sheet") == [""]


def test_names_without_numbers_and_numbers_that_come_twice(tmp_path):
    clip = selected(tmp_path, 1, "EP01_01", range(10, 13))
    (clip / "img11.jpg").rename(clip / "img011.jpg")
    write_frames(clip, [11], "img%d.jpg")
    (clip / "img10.jpg").rename(clip / "cover.jpg")
    write_frames(clip, [10], "img%d.jpg")
    (clip / "Thumbs.db").write_bytes(b"x")
    (clip / "._img10.jpg").write_bytes(b"x")
    listing = read("casme2", tmp_path, use_sheet=False)
    assert [frame.number for frame in listing.clips[0].frames] == [10, 11, 12]
    assert text_of(listing, "frame-without-number") == "cover.jpg"
    assert len(rules(listing, "frame-twice")) == 1
