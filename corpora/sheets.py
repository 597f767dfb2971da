"""Coding sheets: ``.xlsx``, ``.xls`` or ``.csv`` → one row a clip, whatever stands above the header."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import openpyxl
import xlrd
from openpyxl.utils import range_boundaries

from corpora import decode_csv
from corpora.raw import Listing
from corpora.tree import CorpusError, RawFile, Tree
from media.names import composed, is_passed_over

SHEET_SUFFIXES = (".xlsx", ".xlsm", ".xls", ".csv")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how .xlsx and .xls files begin
# Names that the columns go by, in lower case without anything but letters and digits.
COLUMNS = {
    "subject": ("subject", "sub", "subjectid", "participant", "participantid", "person"),
    "clip": ("filename", "file", "clip", "video", "clipname", "videoname"),
    "onset": ("onsetframe", "onset", "onsetf", "onset1f"),
    "apex": ("apexframe", "apex", "apexf", "apex1f"),
    "offset": ("offsetframe", "offset", "offsetf", "offset1f"),
    "action_units": ("actionunits", "actionunit", "aus", "au", "facs"),
    "emotion": ("estimatedemotion", "emotion", "label", "expression"),
    "objective_class": ("objectiveclasses", "objectiveclass"),
}


@dataclass(frozen=True)
class Row:
    """A row of a coding sheet: its cells by the names of :data:`COLUMNS`, or by their own headings.

    ``line`` counts from 1 as spreadsheets do.
    """

    line: int
    cells: dict[str, object]

    def text(self, name: str) -> str:
        """A cell as text without surrounding blanks; whole numbers without a decimal point; empty if absent."""
        value = self.cells.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return composed(str(value)).strip()

    def number(self, name: str) -> int | None:
        """A cell as a whole number; None where it holds none."""
        try:
            value = float(self.text(name))
        except ValueError:
            return None
        return int(value) if value.is_integer() else None


def find_sheet(tree: Tree, patterns: Iterable[str], chosen: Path | None, example: str, listing: Listing) -> RawFile:
    """The coding sheet of a corpus: the ``chosen`` one, or one in its tree or beside it; several are noted.

    Args:
        patterns: of the file's name in lower case.
        example: a name as the corpus's owners ship it, for the message.

    Raises:
        CorpusError: there is none.
    """
    if chosen is not None:
        if not chosen.is_file():
            raise CorpusError(f"--sheet {chosen} is no file; expected a coding sheet such as {example}")
        return RawFile(chosen)
    found = sheets_in(tree, patterns)
    if not found:
        beside = sorted(tree.root.resolve().parent.iterdir())
        found = [RawFile(path) for path in beside if path.is_file() and _is_sheet(path.name, patterns)]
    if not found:
        raise CorpusError(
            f"no coding sheet in {tree.root} or beside it; expected one such as {example}. Name it with --sheet FILE, "
            "or import the frames without annotations with --no-sheet"
        )
    if len(found) > 1:
        others = ", ".join(file.label for file in found[:-1])
        listing.note("several-sheets", "", f"{found[-1].label} is used, not {others}; choose with --sheet")
    return found[-1]


def sheets_in(tree: Tree, patterns: Iterable[str]) -> list[RawFile]:
    """The sheets of a corpus that go by one of the patterns, in natural order."""
    return [file for _, file in tree.files() if _is_sheet(file.name, patterns)]


def _is_sheet(name: str, patterns: Iterable[str]) -> bool:
    low = name.lower()
    matches = low.endswith(SHEET_SUFFIXES) and any(fnmatch(low, pattern) for pattern in patterns)
    return matches and not is_passed_over(name)


def read_rows(file: RawFile, required: Iterable[str] = ("subject", "clip"), option: str = "--sheet") -> list[Row]:
    """Rows below the header, which is the first row that has all the ``required`` columns.

    ``option`` is that which names the sheet, for the message.

    Raises:
        CorpusError: the file is locked, broken or empty, or has no such header.
    """
    required, seen = set(required), []
    for table in _tables(file):
        for number, cells in enumerate(table, start=1):
            names = [_column(cell) for cell in cells]
            if required <= set(names):
                twice = sorted({name for name in COLUMNS if names.count(name) > 1})
                if twice and option == "--labels":
                    own = ", ".join(str(cell) for cell, name in zip(cells, names, strict=True) if name == twice[0])
                    raise CorpusError(f"{file.label} has several columns for {twice[0]}: {own}. Leave one of them")
                below = enumerate(table[number:], start=number + 1)
                rows = (Row(line, dict(zip(names, own, strict=False))) for line, own in below if any(map(_holds, own)))
                found = [row for row in rows if any(map(row.text, row.cells))]
                if not found:
                    raise CorpusError(f"the coding sheet {file.label} has a header, but no row below it")
                return found
            seen = seen or [text for cell in cells if (text := str(cell).strip()) not in ("", "nan", "None")][:8]
    if not seen:
        raise CorpusError(f"the coding sheet {file.label} is empty; expected a header with {_spelt(required)}")
    raise CorpusError(
        f"the coding sheet {file.label} has no header with {_spelt(required)}; its first row is: {', '.join(seen)}. "
        + ("Give the corpus's own sheet with --sheet FILE" if option == "--sheet" else f"Name its columns for {option}")
    )


def _holds(cell: object) -> bool:
    return cell is not None and cell != ""


def _spelt(required: Iterable[str]) -> str:
    return ", ".join({"subject": "Subject", "clip": "Filename"}.get(name, name) for name in sorted(required))


def _column(heading: object) -> str:
    plain = re.sub(r"[^a-z0-9]", "", str(heading).lower())
    return next((name for name, spellings in COLUMNS.items() if plain in spellings), plain)


def _tables(file: RawFile) -> Sequence[Sequence[Sequence]]:
    """The tables of a file, each as rows of cells."""
    try:
        with file.open() as stream:
            data = stream.read()
    except PermissionError as error:
        raise CorpusError(
            f"the coding sheet {file.label} may not be read ({error.strerror}): close it in other programs, or change "
            "its permissions"
        ) from error
    if not data:
        raise CorpusError(f"the coding sheet {file.label} is empty (0 bytes): fetch it again")
    if not data.startswith((_ZIP, _OLE)):
        return [_read_csv(data, file)]
    tables = _read_workbook(data, file)
    return list(map(_fill_merged, tables, _merged_cells(data))) if data.startswith(_ZIP) else tables


def _merged_cells(data: bytes) -> list[list[tuple[int, int, int]]]:
    """Cells of an ``.xlsx`` file that are merged downwards: (column, first row, last row) from 0, for each page."""
    pages = []
    for page in openpyxl.load_workbook(io.BytesIO(data), read_only=True).worksheets:
        with page._get_source() as source:  # the other way of reading knows them too, but makes every empty cell
            found = re.findall(rb'<(?:\w+:)?mergeCell [^>]*ref="([A-Z]+\d+:[A-Z]+\d+)"', source.read())
        bounds = [range_boundaries(place.decode()) for place in found]
        pages.append([(column - 1, first - 1, last - 1) for column, first, _, last in bounds if last > first])
    return pages


def _fill_merged(table: Sequence[Sequence], merged: Iterable[tuple[int, int, int]]) -> Sequence[Sequence]:
    """What stands once for several rows, a subject above all, in each of them."""
    rows = [list(row) for row in table]
    for column, first, last in merged:
        for row in rows[first + 1 : last + 1]:
            if column < min(len(row), len(rows[first])):
                row[column] = rows[first][column]
    return rows


def _read_csv(data: bytes, file: RawFile) -> list[list]:
    try:
        text = decode_csv(data)
    except UnicodeDecodeError as error:
        what = "no CSV file in UTF-8" if file.name.lower().endswith(".csv") else "a spreadsheet in no known format"
        raise CorpusError(
            f"the coding sheet {file.label} is {what} ({error}): it is damaged, or save it as .xlsx or UTF-8 .csv"
        ) from error
    separator = max(",;\t", key=text.count)
    try:
        return list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise CorpusError(f"the coding sheet {file.label} is damaged ({error}): fetch it again") from error


def _read_workbook(data: bytes, file: RawFile) -> list[list[tuple]]:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise CorpusError(f"the coding sheet {file.label} is locked with a password: save it without one")
    try:
        if data.startswith(_ZIP):
            # Cells as they come: how far the sheet says that it goes, and all the empty ones up to there, is ignored.
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            for page in book.worksheets:
                page.reset_dimensions()
            return [list(page.iter_rows(values_only=True)) for page in book.worksheets]
        with (
            open(os.devnull, "w") as log,
            xlrd.open_workbook(file_contents=data, logfile=log, ragged_rows=True) as book,
        ):
            return [[tuple(page.row_values(i)) for i in range(page.nrows)] for page in book.sheets()]
    except Exception as error:  # openpyxl and xlrd raise a different type for every way a file can be broken
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(
            f"cannot read the coding sheet {file.label} ({reason}): it is damaged, locked or not completely "
            "downloaded. Fetch it again, or save it as .csv and give that with --sheet"
        ) from error
