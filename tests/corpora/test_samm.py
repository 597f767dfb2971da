"""SAMM as its owners ship it: notes above the header, padded and unpadded frame numbers, apexes that lie outside."""

from __future__ import annotations

import numpy as np
import pytest

from corpora.cutting import Settings
from corpora.pipeline import prepare
from corpora.splits import SplitOptions
from tests.corpora.trees import SAMM_HEADER, brightness, read, rules, samm_row, write_frames, write_sheet

SHEET = "SAMM_Micro_FACS_Codes_v2.xlsx"


def test_sheet_with_notes_above_its_header(tmp_path):
    write_frames(tmp_path / "SAMM/006/006_1_2", range(9996, 10003), "006_%05d.jpg", subject=1)
    write_frames(tmp_path / "SAMM/007/007_7_1", range(7030, 7036), "007_%d.jpg")
    write_frames(tmp_path / "SAMM/028/028_4_1", range(5, 12), "028_%05d.jpg")
    rows = [
        samm_row("006_1_2", 9997, 9999, 10001, "4 or 7", "Anger", 3),
        samm_row("007_7_1", 7030, 7032, 7035, "1+2", "Surprise", 2),
        samm_row("028_4_1", 5, 3, 11, "R12", "Other", 2),
    ]
    write_sheet(tmp_path / SHEET, [SAMM_HEADER, *rows], notes=13)
    listing = read("samm", tmp_path)
    first, second, third = listing.clips
    assert (first.name, first.subject, first.emotion, first.class3) == ("006_1_2", "006", "anger", "negative")
    assert (first.action_units, first.objective_class, first.fps) == ("4 or 7", "3", 200.0)
    assert [frame.number for frame in first.frames] == list(range(9997, 10002))  # cut to the sheet's ends
    assert (second.class3, third.class3, third.apex) == ("surprise", "", None)
    assert rules(listing, "apex-outside") == ["028_4_1"]
    assert rules(listing, "class-of-one")  # every emotion here has one clip
    out = tmp_path / "out"
    prepare(listing, out, "samm", Settings(), SplitOptions())
    assert (np.diff(brightness(out / "train" / "006_1_2")) > 0.5).all()  # 9999 before 10000


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_sheet_saved_as_csv(tmp_path, delimiter):
    write_frames(tmp_path / "006/006_1_2", range(1, 6), "006_%05d.jpg")
    rows = [["About this file"], [], SAMM_HEADER, samm_row("006_1_2", 1, 3, 5, "4", "Anger", 3)]
    text = "\n".join(delimiter.join(map(str, row)) for row in rows)
    (tmp_path / "codes.csv").write_text(text, encoding="utf-8-sig")
    listing = read("samm", tmp_path, sheet=tmp_path / "codes.csv")
    assert [(clip.onset, clip.apex, clip.offset) for clip in listing.clips] == [(1, 3, 5)]


def test_the_sheet_may_lie_beside_the_frames(tmp_path):
    write_frames(tmp_path / "SAMM/006/006_1_2", range(1, 6), "006_%05d.jpg")
    write_sheet(tmp_path / SHEET, [SAMM_HEADER, samm_row("006_1_2", 1, 3, 5, "4", "Anger", 3)])
    (tmp_path / f"~${SHEET}").write_bytes(b"what Excel leaves while the file is open")
    assert read("samm", tmp_path / "SAMM").clips[0].apex == 3
