"""Corpora of micro-expressions: a corpus's folders and coding sheet, or the built-in sample faces → clips.

Every corpus ends in the same layout: ``<root>/{train,test}/<clip>/<frame>.png`` and ``<root>/clips.csv``, one row a
clip, which this module reads and writes.

The way there: a corpus's own module (`casme2`, `samm`, `smic_hs`, `megc2021`, `folder`) turns a `tree` of files and
its coding sheet (`sheets`; for any tree, `labels`) into a list of `raw` clips, and notices by named `rules`; `splits`
sends each clip to train or test; `pipeline` writes them in parallel, each as `cutting` says, and `spotting` measures
those that nobody has coded; `report` says what was done.  `check` looks a finished data set over.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import functools
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import media
from media.names import composed, name_problem

# Frames a second of the cameras the corpora were recorded with.
CORPUS_FPS = {"casme2": 200.0, "samm": 200.0, "smic_hs": 100.0}
CLASSES = ("positive", "negative", "surprise")
SPLITS = ("train", "test")
MARKS = ("onset", "apex", "offset")


@dataclass(frozen=True)
class ClipRecord:
    """One row of ``clips.csv``; empty text where a corpus does not say."""

    clip: str  # name of the clip's folder, unique in the data set
    split: str  # ``train`` or ``test``
    corpus: str  # ``casme2``, ``samm``, ``smic_hs``, ``sample`` …
    subject: str  # the person
    source: str  # where the raw clip came from
    fps: float  # frames a second
    frames: int  # number of frames in the written folder
    # Frame numbers of the corpus itself, None where not annotated …
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    # … and the same frames as positions in the written folder, from 0.
    onset_index: int | None = None
    apex_index: int | None = None
    offset_index: int | None = None
    action_units: str = ""  # ``1+2+25``, with L or R before a number for one side
    emotion: str = ""  # lower case, in the corpus's own words
    class3: str = ""  # ``positive``, ``negative`` or ``surprise``
    # What was cut from the raw frames, (x0, y0, x1, y1) in their pixels, right and lower edges exclusive.
    box: tuple[int, int, int, int] | None = None
    identity: str = ""  # what a sample face is made of
    objective_class: str = ""  # CASME II and SAMM: the class by action units, 1 to 7
    # Which of ``onset``, ``apex``, ``offset`` no coder gave: proposed from the motion of the face, ``onset apex``.
    proposed: str = ""


COLUMNS = tuple(field.name for field in fields(ClipRecord))
_LATER = ("objective_class", "proposed")  # columns that lists of earlier versions lack
_REQUIRED = ("clip", "split", "corpus", "fps", "frames")
_WHOLE = int, lambda number: True, "is no whole number; leave it empty where it is not annotated"
# How a column's text is read, which values are legal, and what is said of others; a column not named here holds any
# text.
_RULES = {
    "clip": (str, lambda name: not name_problem(name, foreign=True), "is no name that a clip can have"),
    "split": (str, lambda split: split in SPLITS, f"is no split; legal are {', '.join(SPLITS)}"),
    "class3": (str, lambda name: name in CLASSES, f"is no class; legal are {', '.join(CLASSES)} and nothing"),
    "fps": (float, lambda rate: 0 < rate < float("inf"), "is no positive number"),
    "frames": (int, lambda count: count > 0, "is no positive whole number"),
    "box": (
        lambda text: tuple(int(part) for part in text.split()),
        lambda box: len(box) == 4 and box[0] < box[2] and box[1] < box[3],
        "is no box; legal are four whole numbers 'x0 y0 x1 y1' with x0 < x1 and y0 < y1",
    ),
    **dict.fromkeys((*MARKS, *(f"{mark}_index" for mark in MARKS)), _WHOLE),
    "proposed": (str, lambda text: set(text.split()) <= set(MARKS), f"names no marks; legal are {', '.join(MARKS)}"),
}


def write_table(path: str | Path, columns: Iterable[str], rows: Iterable[Iterable], noted: bool = False) -> None:
    """Write a CSV file atomically: UTF-8, a header and the rows; ``noted`` for :func:`check_unedited`."""
    with media.atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        if noted:  # until it has its name, a killed process may leave the earlier one
            if Path(path).is_file() and not _note(path).is_file() and _digest(Path(path)) != _digest(temporary):
                raise media.OutputError(
                    f"{path} is there, and nothing says that this program wrote it: it is left as it is. Move it out "
                    "of the folder, and run the command again"
                )
            before, now = [_digest(Path(path))] if Path(path).is_file() else [], _digest(temporary)
            _write_note(path, [*before, now])
    if noted:
        _write_note(path, [now])


def check_unedited(*tables: Path) -> None:
    """Refuse to write tables anew that somebody has changed since they were written and noted.

    Raises:
        OutputError: somebody has.
    """
    for table in tables:
        if table.is_file() and _note(table).is_file() and _digest(table) not in _note(table).read_text().split():
            raise media.OutputError(
                f"{table} was changed after this program wrote it, and would be written anew: it is left as it is. "
                "Move it out of the folder, run the command again, and carry your changes over"
            )


def _write_note(table: str | Path, digests: Iterable[str]) -> None:
    with media.atomic_path(_note(table)) as temporary:
        temporary.write_text("".join(f"{digest}\n" for digest in digests))


def _note(table: str | Path) -> Path:
    return Path(table).with_name(f".{Path(table).name}.sha256")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file atomically."""
    with media.atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


@functools.lru_cache(maxsize=32)
def _listed(root: Path) -> dict[str, ClipRecord]:
    path = root / "clips.csv"
    return {record.clip: record for record in read_clips(path)} if path.is_file() else {}


def clip_record(clip: media.Clip) -> ClipRecord | None:
    """The clip's row in its data set's ``clips.csv``; None where there is none."""
    return path_record(clip.path)


def path_record(path: Path) -> ClipRecord | None:
    """The row of the clip at ``path``: ``clips.csv`` lies in the folder above the clip's, or in the clip's own."""
    folder = Path(os.path.abspath(path)).parent
    for place in (folder.parent, folder):
        if record := _listed(place).get(media.clip_name(path)):
            return record
    return None


def write_clips(path: str | Path, records: Iterable[ClipRecord], noted: bool = False) -> None:
    """Write ``clips.csv``, one row a clip in the order given; ``noted`` for :func:`check_unedited`.

    Raises:
        ValueError: two records of one clip name.
    """
    records = list(records)
    double = next((name for name, count in Counter(record.clip for record in records).items() if count > 1), None)
    if double is not None:
        raise ValueError(f"two clips are called {double!r}; every row of {path} needs a name of its own")
    write_table(path, COLUMNS, ([_to_text(getattr(record, name)) for name in COLUMNS] for record in records), noted)


def decode_csv(data: bytes) -> str:
    """The text of a CSV file, names in it composed (`media.names`): UTF-8, or UTF-16 with a byte order mark.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return composed(data.decode("utf-16" if marked else "utf-8-sig"))


@contextlib.contextmanager
def open_table(path: str | Path, error: type[ValueError] = ValueError) -> Iterator[csv.DictReader]:
    """A CSV file as spreadsheets write it, to read its rows by column.

    It is in UTF-8, or UTF-16 with a byte order mark; columns are separated by commas, semicolons or tabs, whichever its
    first line has most of.

    Raises:
        ``error``: it is in another encoding, or no CSV.
    """
    try:
        text = decode_csv(Path(path).read_bytes())
        separator = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        table.fieldnames = [name.strip() for name in table.fieldnames or ()]
        yield table
    except (UnicodeDecodeError, csv.Error) as problem:
        raise error(
            f"{path} is no CSV file in UTF-8 ({problem}): save it again in this encoding (in Excel: CSV UTF-8)"
        ) from problem


def read_clips(path: str | Path) -> list[ClipRecord]:
    """Read ``clips.csv``.  Columns may come in any order, and further ones are ignored.

    Raises:
        ValueError: no such file, another encoding than UTF-8, a missing column, or a value that is not what its
            column holds; the message names file, line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no such clip list: {path}. prepare.py writes one beside the clips.")
    with open_table(path) as rows:
        missing = [name for name in COLUMNS if name not in (*(rows.fieldnames or ()), *_LATER)]
        if missing:
            raise ValueError(f"{path}, line 1: no column {missing[0]!r}. Expected columns: {', '.join(COLUMNS)}.")
        records, lines = [], {}
        for row in rows:
            record = _parse_row(row, f"{path}, line {rows.line_num}")
            if record.clip in lines:
                raise ValueError(
                    f"{path}, line {rows.line_num}, column 'clip': {record.clip!r} is already in line "
                    f"{lines[record.clip]}; every clip needs a name of its own"
                )
            lines[record.clip] = rows.line_num
            records.append(record)
    return records


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(str(number) for number in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _parse_row(row: dict[str, str | None], where: str) -> ClipRecord:
    values: dict = {}
    for name in COLUMNS:
        text = (row.get(name) or "").strip()
        try:
            values[name] = _parse_value(name, text)
        except ValueError as error:
            raise ValueError(f"{where}, column {name!r}: {text!r} {error}") from None
    return ClipRecord(**values)


def _parse_value(name: str, text: str) -> object:
    if not text and name in _REQUIRED:
        raise ValueError("must not be empty")
    if not text:
        return getattr(ClipRecord, name, "")  # the field's default
    parse, is_legal, complaint = _RULES.get(name, (str, bool, ""))
    with contextlib.suppress(ValueError):
        value = parse(text)
        if is_legal(value):
            return value
    raise ValueError(complaint)
