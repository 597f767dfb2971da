"""Coding sheets that cannot be used: the error names the file, what is wrong with it and the remedy."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from corpora.sheets import read_rows
from corpora.tree import CorpusError, RawFile
from tests.corpora.trees import CASME2_HEADER, casme2_row, read, write_frames, write_sheet


def fails(path, *parts):
    with pytest.raises(CorpusError) as error:
        read_rows(RawFile(path))
    for part in (path.name, *parts):
        assert part in str(error.value)


def test_cells_are_read_as_what_they_mean(tmp_path):
    rows = [casme2_row(1, " EP01_01 ", 10.0, "/", "14", "4", "Disgust"), [None] * 9]
    row, *rest = read_rows(RawFile(write_sheet(tmp_path / "sheet.xlsx", [CASME2_HEADER, *rows], notes=3)))
    assert not rest and row.line == 5
    assert (row.text("subject"), row.text("clip"), row.text("emotion")) == ("1", "EP01_01", "Disgust")
    assert (row.number("onset"), row.number("apex"), row.number("offset")) == (10, None, 14)
    assert row.text("objective_class") == ""


def test_the_header_may_be_on_a_later_page(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["About"])
    for row in (CASME2_HEADER, casme2_row(1, "EP01_01", 1, 2, 3, "4", "disgust")):
        page = book["codes"] if "codes" in book.sheetnames else book.create_sheet("codes")
        page.append(row)
    book.save(tmp_path / "sheet.xlsx")
    assert len(read_rows(RawFile(tmp_path / "sheet.xlsx"))) == 1


def test_truncated(tmp_path):
    path = write_sheet(tmp_path / "sheet.xlsx", [CASME2_HEADER, casme2_row(1, "EP01_01", 1, 2, 3, "4", "disgust")])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    fails(path, "damaged, locked or not completely downloaded", "Fetch it again")
    path.write_bytes(b"")
    fails(path, "0 bytes")
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    fails(path, "damaged, locked or not completely downloaded")


def test_locked_with_a_password(tmp_path):
    """A protected .xlsx is an OLE container with a stream of that name."""
    path = tmp_path / "sheet.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + "EncryptedPackage".encode("utf-16-le"))
    fails(path, "locked with a password", "save it without one")


def test_open_in_another_program(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(RawFile, "open", refuse)
    fails(tmp_path / "sheet.xlsx", "may not be read", "close it in other programs")


def test_empty_and_foreign(tmp_path):
    fails(write_sheet(tmp_path / "a.xlsx", []), "is empty; expected a header with Filename, Subject")
    fails(write_sheet(tmp_path / "b.xlsx", [CASME2_HEADER]), "has a header, but no row below it")
    fails(write_sheet(tmp_path / "c.xlsx", [["Name", "Price"], ["a", 3]]), "no header", "its first row is: Name, Price")
    (tmp_path / "d.csv").write_bytes("Subject,Filename\n1,\xe9\n".encode("latin-1"))
    fails(tmp_path / "d.csv", "no CSV file in UTF-8")
    (tmp_path / "e.xlsx").write_bytes(b"\xff\xfd\x00nothing known")
    fails(tmp_path / "e.xlsx", "in no known format")


def test_a_sheet_that_lists_nothing_on_disk(tmp_path):
    write_frames(tmp_path / "CASME2_RAW_selected/sub01/EP01_01", range(3), "img%d.jpg")
    write_sheet(tmp_path / "CASME2-coding.xlsx", [CASME2_HEADER, casme2_row(7, "EP99_99", 1, 2, 3, "", "others")])
    with pytest.raises(CorpusError, match="nothing that is on disk. It lists: 7 EP99_99 …; on disk: sub01_EP01_01 …"):
        read("casme2", tmp_path)
    with pytest.raises(CorpusError, match="--sheet .*absent.xlsx is no file"):
        read("casme2", tmp_path, sheet=tmp_path / "absent.xlsx")


def test_two_sheets_are_mentioned(tmp_path):
    write_frames(tmp_path / "CASME2_RAW_selected/sub01/EP01_01", range(3), "img%d.jpg")
    for name, apex in (("CASME2-coding-20140508.xlsx", 0), ("CASME2-coding-20190701.xlsx", 1)):
        write_sheet(tmp_path / name, [CASME2_HEADER, casme2_row(1, "EP01_01", 0, apex, 2, "", "others")])
    listing = read("casme2", tmp_path)
    assert listing.clips[0].apex == 1  # the later one
    assert [notice.rule for notice in listing.notices if "20140508" in notice.text] == ["several-sheets"]


def test_the_old_binary_format():
    """``coding.xls`` was written with xlwt 1.3: a note, an empty row, a header and one row of made-up numbers."""
    (row,) = read_rows(RawFile(Path(__file__).parent / "coding.xls"))
    assert (row.line, row.text("subject"), row.text("clip")) == (4, "006", "006_1_2")
    assert (row.number("onset"), row.number("apex"), row.number("offset")) == (5562, 5588, 5632)


@pytest.mark.parametrize("cell", ["A1048576", "XFD3", "XFD1048576"])
def test_a_lonely_cell_far_away_costs_nothing(tmp_path, cell):
    """A slip of the hand in a spreadsheet program; empty cells up to there are not looked at."""
    book = openpyxl.Workbook()
    for row in (CASME2_HEADER, casme2_row(1, "EP01_01", 1, 2, 3, "4", "disgust")):
        book.active.append(row)
    book.active[cell] = " "
    book.save(tmp_path / "sheet.xlsx")
    (row,) = read_rows(RawFile(tmp_path / "sheet.xlsx"))
    assert row.text("clip") == "EP01_01"


def test_a_csv_field_without_an_end(tmp_path):
    (tmp_path / "sheet.csv").write_text("Subject,Filename\n1," + "x" * 200_000)
    fails(tmp_path / "sheet.csv", "damaged", "field larger")


def test_cells_merged_downwards_hold_for_each_of_their_rows(tmp_path):
    book = openpyxl.Workbook()
    page = book.active
    rows = [CASME2_HEADER, casme2_row(1, "a", 1, 2, 3, "4", "x"), casme2_row(None, "b", 1, 2, 3, None, "y")]
    for row in [*rows, casme2_row(None, "c", 1, 2, 3, "12", "z"), casme2_row(2, "d", 1, 2, 3, "4", "x")]:
        page.append(row)
    for place in ("A2:A4", "H2:H3", "B1:C1"):  # subject, action units; of the header, sideways
        page.merge_cells(place)
    book.save(tmp_path / "sheet.xlsx")
    found = read_rows(RawFile(tmp_path / "sheet.xlsx"))
    assert [row.text("subject") for row in found] == ["1", "1", "1", "2"]
    assert [row.text("action_units") for row in found] == ["4", "4", "12", "4"]


def test_csv_as_spreadsheets_write_it(tmp_path):
    text = "Subject;Filename;OnsetFrame\r\n1;Zoë;3\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        (row,) = read_rows(RawFile(tmp_path / "a.csv"))
        assert (row.text("subject"), row.text("clip"), row.number("onset")) == ("1", "Zoë", 3)
