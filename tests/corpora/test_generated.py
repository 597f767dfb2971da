"""Generated clips as a data set: whose labels, whose face, and what is not overwritten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corpora import ClipRecord, read_clips, write_clips
from corpora.generated import UNIT_REGIONS, GeneratedSet, generated_record, units_of_regions
from media import write_frame_folder
from modules.motion_control import REGIONS

DRIVING = ClipRecord(
    "sub01_EP02", "test", "casme2", "sub01", "raw/EP02", 200.0, 60, 46, 60, 90, 0, 14, 44, "4+L12", "happiness",
    "positive", (1, 2, 3, 4), objective_class="1",
)  # fmt: skip
SOURCE = ClipRecord("s3_po_05", "test", "smic_hs", "s3", "", 100.0, 30, emotion="surprise", class3="surprise")


def record(**changes) -> ClipRecord:
    return generated_record("a-b", DRIVING, SOURCE, 100.0, 22, (0, 7, 21), **changes)


# ------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize(
    ("units", "regions", "left"),
    [
        ("1+2+25", None, "1+2+25"),
        ("1+2+25", ("brows",), "1+2"),
        ("1+2+25", ("mouth",), "25"),
        ("4+L12", ("mouth:right",), "L12"),  # the picture's right is the person's left
        ("4+L12", ("mouth:left",), ""),
        ("6+12", ("mouth:left",), "R12"),
        ("6+12", ("mouth:left", "mouth:right"), "12"),
        ("R4+12C", ("brows", "mouth"), "R4+12C"),
        ("51+4", ("brows",), "4"),  # a turn of the head belongs to no region
        ("", ("brows",), ""),
        ("4 or 5", ("brows",), ""),
    ],
)
def test_action_units_are_those_that_still_move(units, regions, left):
    assert units_of_regions(units, regions) == left


def test_every_region_has_its_units():
    assert set(UNIT_REGIONS) == set(REGIONS)
    units = [unit for parts in UNIT_REGIONS.values() for unit in parts]
    assert len(units) == len(set(units))


def test_labels_of_the_driving_clip_and_subject_of_the_source():
    row = record()
    assert (row.emotion, row.class3, row.action_units) == ("happiness", "positive", "4+L12")
    assert (row.subject, row.corpus, row.split, row.clip) == ("s3", "generated", "train", "a-b")
    assert (row.fps, row.frames) == (100.0, 22)
    assert (row.onset_index, row.apex_index, row.offset_index) == (0, 7, 21)
    assert (row.onset, row.apex, row.offset, row.box) == (None, None, None, None), "numbers of the driving corpus"
    assert row.source == "s3_po_05 (smic_hs) driven by sub01_EP02 (casme2)"


def test_what_does_not_move_has_no_label():
    part = record(regions=["brows"])
    assert (part.action_units, part.emotion, part.objective_class) == ("4", "happiness", "")
    assert record(regions=["brows", "mouth"]).objective_class == "1"
    for still in (record(amplify=0), record(regions=["nose"])):
        assert (still.action_units, still.emotion, still.class3, still.objective_class) == ("", "neutral", "", "")


# ------------------------------------------------------------------------------------------ the list
def test_rows_are_added_and_replaced(tmp_path):
    made = GeneratedSet(tmp_path / "set")
    assert not made.holds("a-b")
    made.folder("a-b").mkdir(parents=True)
    made.add(record())
    assert made.holds("a-b") and not made.holds("c-d")
    made.add(generated_record("c-d", DRIVING, SOURCE, 100.0, 5, (None, None, None)))
    made.add(record(amplify=0))
    rows = read_clips(tmp_path / "set" / "clips.csv")
    assert [(row.clip, row.emotion) for row in rows] == [("a-b", "neutral"), ("c-d", "happiness")]
    assert not made.holds("c-d"), "a row without frames is no clip"
    assert GeneratedSet(tmp_path / "set").holds("a-b")


def test_processes_see_what_others_add(tmp_path):
    one, other = GeneratedSet(tmp_path), GeneratedSet(tmp_path)
    for number, made in enumerate((one, other, one)):
        name = f"clip{number}"
        write_frame_folder(made.folder(name), np.zeros((1, 8, 8, 3), np.uint8))
        assert not one.holds(name) and not other.holds(name)
        made.add(replace(record(), clip=name))
        assert one.holds(name) and other.holds(name)
    assert [row.clip for row in read_clips(tmp_path / "clips.csv")] == ["clip0", "clip1", "clip2"]


def test_recorded_data_are_not_mixed_up(tmp_path):
    write_clips(tmp_path / "clips.csv", [DRIVING])
    with pytest.raises(ValueError, match=r"data set of casme2.*dataset_out another folder"):
        GeneratedSet(tmp_path)
