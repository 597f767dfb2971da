"""Tables of one's own: rows find their clips, marks are checked, and proposals go to the table and come back."""

from __future__ import annotations

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

import media
from corpora import ClipRecord, read_clips, write_clips
from corpora.cutting import Settings
from corpora.pipeline import prepare
from corpora.report import write_reports
from corpora.splits import SplitOptions
from corpora.tree import CorpusError
from faces.crop import Crop
from tests.corpora.trees import read, rules, text_of, write_frames, write_sheet
from tests.faces.pictures import face_crop
from tests.pages.parser import read_page

SETTINGS, TRAIN = Settings(Crop(128, "square", 0.1)), SplitOptions("train")


@pytest.fixture
def raw(tmp_path):
    for clip in ("ann/001_smile", "ann/frown", "bob/frown", "eve/still"):
        write_frames(tmp_path / "raw" / clip, range(10, 16), "img%d.png")
    return tmp_path / "raw"


def _table(path, *rows, header="Participant;File;Onset;Apex;Offset;Expression;AU"):
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


def _read(raw, labels, **options):
    return read("folder", raw, fps=100.0, labels=labels, **options)


def test_two_columns_of_one_meaning_are_an_error(raw, tmp_path):
    header = "Subject;File;Onset;Apex;Offset;Emotion;Person"
    table = _table(tmp_path / "t.csv", "ann;ann/frown;1;2;3;anger;4", header=header)
    with pytest.raises(CorpusError, match="several columns for subject: Subject, Person. Leave one"):
        _read(raw, table)


def test_the_clips_csv_of_a_prepared_set_is_no_table_of_labels(raw, tmp_path):
    write_clips(tmp_path / "clips.csv", [ClipRecord("ann_frown", "train", "folder", "ann", "ann/frown", 100.0, 6)])
    with pytest.raises(CorpusError, match="clips.csv of a prepared set.*edit labels.csv"):
        _read(raw, tmp_path / "clips.csv")


def test_rows_find_clips_by_name_path_and_subject(raw, tmp_path):
    table = write_sheet(
        tmp_path / "coding.xlsx",
        [
            ["Subject", "Video", "Onset frame", "Apex", "OffsetFrame", "Emotion", "Action Units", "Notes"],
            ["p7", "1_smile", 11, 12, 14, "Happiness", "6+12", "nice"],  # zeros are lost in spreadsheets
            ["bob", "frown", "/", 13, None, "negative", "4", ""],
            [None, "ann\\frown", None, None, None, "anger", "", ""],
            ["", "gone", 1, 2, 3, "", "", ""],
        ],
    )
    listing = _read(raw, table)
    smile, frown, other, still = listing.clips
    assert (smile.subject, smile.onset, smile.apex, smile.offset) == ("p7", 11, 12, 14)
    assert (smile.emotion, smile.action_units) == ("happiness", "6+12")
    assert [frame.number for frame in smile.frames] == [11, 12, 13, 14]
    assert (frown.emotion, other.emotion, other.class3, other.onset, other.apex) == (
        "anger",
        "negative",
        "negative",
        None,
        13,
    )
    assert len(other.frames) == 6 and still.emotion == ""
    assert rules(listing, "listed-but-absent") == ["gone"] and rules(listing, "not-in-labels") == ["eve_still"]
    assert "not read: notes" in text_of(listing, "columns")
    assert "1 clips by the table's column; 3 clips by the first folder. 4 subjects" in text_of(listing, "subjects")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (";frown;;;;;", "line 2: 'frown' may be any of ann/frown, bob/frown: give the path"),
        (";still;9;;;;", "onset 9: eve/still has the frames 10 to 15"),
        (";still;;x;;;", "apex 'x' is no whole number; legal are a frame's number and nothing"),
        (";still;12;11;14;;", "apex 11 does not follow onset 12"),
        (";still;12;;12;;", "offset 12 does not follow onset 12"),
        ("p1;;12;;12;;", "the clip's cell is empty"),
        (";gone;;;;;", "lists nothing that is on disk. It lists: gone …; on disk: ann_001_smile"),
    ],
)
def test_what_cannot_be_right_is_named(raw, tmp_path, row, complaint):
    with pytest.raises(CorpusError) as error:
        _read(raw, _table(tmp_path / "labels.csv", row))
    assert complaint in str(error.value)


def test_a_table_without_a_clip_column_says_what_it_has(raw, tmp_path):
    with pytest.raises(
        CorpusError, match="no header with Filename; its first row is: Who.*Name its columns for --labels"
    ):
        _read(raw, _table(tmp_path / "labels.csv", "a;b", header="Who;Where"))
    with pytest.raises(CorpusError, match="is no file"):
        _read(raw, tmp_path / "none.csv")


def _moving(tmp_path):
    """A clip whose mouth corner moves and comes back, strongest at position 7 of 16."""
    still = face_crop("astronaut", 200, "square", 0.4)
    rows, columns = np.mgrid[:200, :200].astype(np.float32)
    spot = np.exp(-((columns - 80) ** 2 + (rows - 138) ** 2) / (2 * 18**2))

    height = np.exp(-((np.arange(16) - 7) ** 2) / (2 * 2.0**2))
    frames = [
        cv2.remap(
            still, columns, (rows + 5 * h * spot).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for h in height
    ]
    media.write_clip(tmp_path / "raw/smile.mp4", frames, 50.0)
    return tmp_path / "raw", tmp_path / "out"


def test_proposals_go_to_the_table_and_come_back(tmp_path):
    raw, out = _moving(tmp_path)
    prepared = prepare(_read(raw, None), out, "folder", SETTINGS, TRAIN)
    [record] = read_clips(out / "clips.csv")
    assert record.proposed == "onset apex offset" and abs(record.apex_index - 7) <= 1
    assert record.onset_index < 5 and record.offset_index > 9
    assert {"proposed", "empty-split"} <= {notice.rule for notice in prepared.notices}
    labels = out / "labels.csv"
    with open(labels, newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert int(row["apex"]) == record.apex + 1  # a video's first frame is number 1

    # Given back as it is: still proposals.  Corrected: the coder's, and what was not touched is proposed again.
    assert prepare(_read(raw, labels), out, "folder", SETTINGS, TRAIN).records == [record]
    labels.write_text(labels.read_text().replace(f",{row['apex']},{row['offset']},", f",6,{row['offset']},", 1))
    prepared = prepare(_read(raw, labels), out, "folder", SETTINGS, TRAIN)
    [corrected] = prepared.records
    assert corrected.apex == 5 and corrected.proposed == "onset offset" and corrected.frames == 16
    assert "labels-kept" in {notice.rule for notice in prepared.notices} and ",6," in labels.read_text()

    # Confirmed whole: cut to onset … offset, and nothing is proposed any more.
    table = _table(tmp_path / "mine.csv", ";smile.mp4;4;8;13;happiness;12")
    [cut] = prepare(_read(raw, table), out, "folder", SETTINGS, TRAIN).records
    assert (cut.onset, cut.apex, cut.offset) == (3, 7, 12) and cut.frames == 10 and cut.proposed == ""
    assert (cut.onset_index, cut.apex_index, cut.offset_index) == (0, 4, 9)
    assert replace(cut, emotion="").emotion == "" and cut.emotion == "happiness"


def test_marks_beyond_a_videos_end_are_noted(tmp_path):
    raw, out = _moving(tmp_path)
    table = _table(tmp_path / "mine.csv", ";smile;4;8;99;;")
    prepared = prepare(_read(raw, table), out, "folder", SETTINGS, TRAIN)
    assert any(n.rule == "offset-beyond" and "the video has 16 frames" in n.text for n in prepared.notices)
    assert prepared.records[0].offset_index == 12


def test_the_report_plays_clips_beside_their_curves(tmp_path):
    raw, out = _moving(tmp_path)
    prepared = prepare(_read(raw, None), out, "folder", SETTINGS, TRAIN)
    write_reports(out, "Mine", prepared, SETTINGS.as_dict("folder"))
    page = read_page(out / "report.html")
    assert ("canvas", "data-sheet", "onsets/smile.jpg") in page.attributes and (out / "onsets/smile.jpg").is_file()
    assert "polyline" in page.tags and ("line", "class", "apex proposed") in page.attributes
