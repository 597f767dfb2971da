"""SMIC-HS in its three copies: raw, cropped and extended, with both spellings of the subjects' folders."""

from __future__ import annotations

import pytest

from corpora.tree import CorpusError
from tests.corpora.trees import SMIC_HEADER, read, rules, text_of, write_frames, write_sheet


def raw(root, subject, emotion, clip, numbers):
    return write_frames(root / f"SMIC_all_raw/HS/{subject}/micro/{emotion}/{clip}", numbers, "image%06d.bmp")


def test_raw_clips_and_what_is_left_out(tmp_path):
    raw(tmp_path, "s1", "negative", "s1_ne_01", range(100, 110))
    raw(tmp_path, "s3", "positive", "s3_po_08", (200, 201, 204, 205))
    raw(tmp_path, "s3", "negative", "s3_sur_01", range(10, 13))
    raw(tmp_path, "s5", "negative", "s5_ne_01", [7])
    write_frames(tmp_path / "SMIC_all_raw/HS/s1/non_micro/s1_non_01", range(5), "image%06d.bmp")
    write_frames(tmp_path / "SMIC_all_raw/VIS/s1/micro/negative/s1_ne_01", range(5), "image%06d.bmp")
    write_frames(tmp_path / "SMIC_all_raw/NIR/s1/micro/negative/s1_ne_01", range(5), "image%06d.bmp")
    listing = read("smic_hs", tmp_path)
    assert [(clip.name, clip.subject, clip.emotion, clip.class3) for clip in listing.clips] == [
        ("s1_ne_01", "s1", "negative", "negative"),
        ("s3_po_08", "s3", "positive", "positive"),
        ("s3_sur_01", "s3", "surprise", "surprise"),
    ]
    first = listing.clips[0]
    assert (first.onset, first.offset, first.apex, first.fps, first.cropped) == (100, 109, None, 100.0, False)
    assert "2 of 6 frames: 202–203" in text_of(listing, "missing-frames")
    assert rules(listing, "label-conflict") == ["s3_sur_01"]
    assert rules(listing, "no-frames") == ["s5_ne_01"]
    assert "3 folders" in text_of(listing, "not-micro")
    with pytest.raises(CorpusError, match="is SMIC's VIS part, not the high-speed one: give the folder HS"):
        read("smic_hs", tmp_path / "SMIC_all_raw/VIS")
    assert not rules(listing, "several-copies")


def test_cropped_copy(tmp_path):
    folder = tmp_path / "SMIC_all_cropped/HS/s18/micro/surprise/s18_sur_03"
    write_frames(folder, range(1, 12), "reg_image%06d.bmp")
    listing = read("smic_hs", tmp_path)
    assert listing.clips[0].cropped and len(listing.clips[0].frames) == 11
    raw(tmp_path, "s18", "surprise", "s18_sur_03", range(1, 12))
    assert not read("smic_hs", tmp_path).clips[0].cropped
    assert read("smic_hs", tmp_path, frames="cropped").clips[0].cropped


def test_extended_clips_are_cut_once_for_each_expression(tmp_path):
    root = tmp_path / "SMIC-E_raw image/HS_long/SMIC-HS-E"
    write_frames(root / "s01/s1_ne_01", range(1, 61), "image%06d.jpg")
    write_frames(root / "s02/s2_po_01", range(1, 61), "image%06d.jpg")
    write_frames(root / "s02/s2_po_02", range(1, 61), "image%06d.jpg")
    rows = [
        [1, "s1_ne_01", 20, 29, 10, 40, 44, 5, None, None, None, 1, 60, 60, "negative"],
        [2, "s2_po_01", 10, 12, 3, None, None, None, None, None, None, 1, 60, 60, "positive"],
        [3, "s3_po_01", 10, 12, 3, None, None, None, None, None, None, 1, 60, 60, "positive"],
    ]
    sheet = write_sheet(tmp_path / "SMIC-HS-E_annotation_2019.xlsx", [SMIC_HEADER, *rows])
    listing = read("smic_hs", tmp_path)
    assert [(c.name, c.frames[0].number, c.frames[-1].number) for c in listing.clips] == [
        ("s1_ne_01", 20, 29),
        ("s1_ne_01_2", 40, 44),
        ("s2_po_01", 10, 12),
    ]
    assert [clip.subject for clip in listing.clips] == ["s1", "s1", "s2"]
    assert rules(listing, "not-in-sheet") == ["s2_po_02"]
    assert rules(listing, "listed-but-absent") == ["s3_po_01"]
    sheet.unlink()
    with pytest.raises(CorpusError, match="no coding sheet"):
        read("smic_hs", tmp_path)
