"""A table of one's own for any tree of clips, ``prepare.py folder --labels sheet.xlsx``, and the one to start it from.

One row a clip, in `.xlsx`, `.xls` or `.csv`; columns go by the names in `sheets.COLUMNS`, and only the clip's must be
there: its name, its path below ``--raw``, or the end of that.  Onset, apex and offset are the numbers in the frames'
file names; of a video, the first frame is number 1.  ``labels.csv``, which is written beside ``clips.csv``, is such a
table: with what is known, and with the marks that the program proposes named in its column ``proposed``.  A mark that
is changed there, or whose cell in ``proposed`` is emptied, is the coder's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import media
from corpora import CLASSES, MARKS, ClipRecord, check_unedited, write_table
from corpora.raw import Listing, RawClip
from corpora.sheets import COLUMNS, Row, read_rows
from corpora.tree import CorpusError, RawFile
from media.names import composed

FILE = "labels.csv"
HEADER = ("clip", "subject", *MARKS, "proposed", "emotion", "action_units", "objective_class")
UNKNOWN = ("", "/", "-", "–", "na", "n/a", "nan", "none")  # cells that say that a mark is not annotated
SHOWN = 6  # problems of a table that one message names


def apply_labels(clips: Sequence[RawClip], path: Path, listing: Listing) -> list[RawClip]:
    """Clips with what the table at ``path`` says of them, cut to onset … offset where it gives these.

    Rows without a clip, clips without a row and columns that are not read are noted.

    Raises:
        CorpusError: no such table, no row of it is on disk, or cells that cannot be right; these are named.
    """
    if not path.is_file():
        raise CorpusError(f"--labels {path} is no file; expected a table of clips (.xlsx, .xls or .csv)")
    rows = read_rows(RawFile(path), ("clip",), "--labels")
    if {"onsetindex", "apexindex"} <= rows[0].cells.keys():
        raise CorpusError(
            f"--labels {path} is the clips.csv of a prepared set, whose frames count otherwise: edit {FILE} beside it, "
            "and give that"
        )
    _note_columns(rows, path, listing)
    find, problems, found = _finder(clips), [], {}
    for row in rows:
        try:
            clip = find(row)
            if clip is None:
                listing.note("listed-but-absent", row.text("clip"), f"line {row.line} of {path.name}")
            elif clip.name in found:
                listing.note("listed-twice", clip.name, f"line {row.line} of {path.name}")
            else:
                found[clip.name] = _labelled(clip, row)
        except ValueError as problem:
            problems.append(f"line {row.line}: {problem}")
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CorpusError(f"--labels {path}, {'; '.join(problems[:SHOWN])}{more}")
    if not found:
        listed, there = ", ".join(row.text("clip") for row in rows[:3]), ", ".join(clip.name for clip in clips[:3])
        raise CorpusError(f"--labels {path} lists nothing that is on disk. It lists: {listed} …; on disk: {there} …")
    for clip in clips:
        if clip.name not in found:
            listing.note("not-in-labels", clip.name, f"{clip.source} is not in {path.name}")
    return [found.get(clip.name, clip) for clip in clips]


def write_labels(out: Path, clips: Iterable[tuple[RawClip, ClipRecord]]) -> str:
    """Write ``labels.csv``; returns what is to be said where it is left as it is, being somebody's work."""
    path = out / FILE
    try:
        check_unedited(path)
        write_table(path, HEADER, (_row(*pair) for pair in clips), noted=True)
    except media.OutputError:
        return f"{path} was edited and is left as it is: --labels {path} reads it"
    return ""


def describe_marks(clip: RawClip, record: ClipRecord) -> str:
    """``onset 12, apex 20 (proposed)``, by the numbers of the table."""
    proposed = record.proposed.split()
    marks = {mark: number for mark, number in _in_table(clip, record).items() if number != ""}
    return ", ".join(f"{mark} {number}{' (proposed)' * (mark in proposed)}" for mark, number in marks.items())


def _row(clip: RawClip, record: ClipRecord) -> list:
    marks = _in_table(clip, record)
    proposed = " ".join(f"{mark} {marks[mark]}" for mark in record.proposed.split())
    labels = (record.emotion, record.action_units, record.objective_class)
    return [clip.name, clip.subject, *marks.values(), proposed, *labels]


def _in_table(clip: RawClip, record: ClipRecord) -> dict[str, int | str]:
    numbers = {mark: getattr(record, mark) for mark in MARKS}
    return {mark: "" if number is None else number + _shift(clip) for mark, number in numbers.items()}


def _shift(clip: RawClip) -> int:
    """What the table's frame numbers are higher by than the program's, which counts a video's frames from 0."""
    return 0 if clip.video is None else 1


# ------------------------------------------------------------------------------------------------------ reading
def _note_columns(rows: Sequence[Row], path: Path, listing: Listing) -> None:
    unread = [name for name in rows[0].cells if name not in (*COLUMNS, "proposed", "", "none")]
    absent = [name for name in (*MARKS, "emotion") if name not in rows[0].cells]
    if unread or absent:
        parts = [f"not read: {', '.join(unread)}"] if unread else []
        parts += [f"no column for {', '.join(absent)}"] if absent else []
        known = "; ".join(f"{name} ({', '.join(spellings)})" for name, spellings in COLUMNS.items())
        listing.note("columns", "", f"{path.name}: {'; '.join(parts)}. Legal are: {known}")


def _finder(clips: Sequence[RawClip]) -> Callable[[Row], RawClip | None]:
    """Which clip a row means: by its name or the end of its path, else by either without the zeros before numbers."""
    spellings = (str, _without_zeros)
    indices: list[dict[str, list[RawClip]]] = [defaultdict(list) for _ in spellings]
    for clip in clips:
        parts = _parts(clip.source)
        names = {"/".join(parts[i:]) for i in range(len(parts))} | {clip.name.lower()}
        for spell, index in zip(spellings, indices, strict=True):
            for name in set(map(spell, names)):
                index[name].append(clip)

    def find(row: Row) -> RawClip | None:
        if not row.text("clip"):
            raise ValueError("the clip's cell is empty (of merged cells, .csv and .xls keep the first row's alone)")
        name, subject = "/".join(_parts(row.text("clip"))), _without_zeros(row.text("subject").lower())
        found = indices[0].get(name) or indices[1].get(_without_zeros(name), [])
        if len(found) > 1:
            found = [clip for clip in found if subject in map(_without_zeros, _parts(clip.source)[:-1])] or found
        if len(found) > 1:
            paths = ", ".join(clip.source for clip in found)
            raise ValueError(f"{row.text('clip')!r} may be any of {paths}: give the path")
        return found[0] if found else None

    return find


def _parts(path: str) -> list[str]:
    """A clip's path in lower case, part by part, without a file's suffix."""
    parts = [part for part in composed(path).replace("\\", "/").lower().split("/") if part not in ("", ".")]
    return [*parts[:-1], media.clip_name(parts[-1])] if parts else [""]


def _without_zeros(text: str) -> str:
    return re.sub(r"\d+", lambda number: str(int(number[0])), text)


def _labelled(clip: RawClip, row: Row) -> RawClip:
    """A clip with what its row says.

    Raises:
        ValueError: a mark that cannot be right.
    """
    emotion = row.text("emotion").lower()
    clip = replace(
        clip, **dict(_marks(clip, row)), emotion=emotion, class3=emotion if emotion in CLASSES else "",
        action_units=row.text("action_units"), objective_class=row.text("objective_class"),
        subject=row.text("subject") or clip.subject,
    )  # fmt: skip
    return replace(clip, frames=tuple(frame for frame in clip.frames if clip.uses(frame.number)))


def _marks(clip: RawClip, row: Row) -> Iterator[tuple[str, int]]:
    """The coder's marks, by the program's numbers."""
    first = clip.frames[0].number if clip.frames else _shift(clip)
    last = clip.frames[-1].number if clip.frames else None  # a video's is known when all of it is read
    words = row.text("proposed").split()
    proposed, before = dict(zip(words[::2], words[1::2], strict=False)), None
    for mark in MARKS:
        text, number = row.text(mark), row.number(mark)
        if text.lower() in UNKNOWN or proposed.get(mark) == text:
            continue
        if number is None:
            raise ValueError(f"{mark} {text!r} is no whole number; legal are a frame's number and nothing")
        if number < first or (last is not None and number > last):
            raise ValueError(f"{mark} {number}: {clip.source} has the frames {first} to {last or 'its last one'}")
        if before is not None and number < before[1] + ("apex" not in (mark, before[0])):
            raise ValueError(f"{mark} {number} does not follow {before[0]} {before[1]}")
        before = mark, number
        yield mark, number - _shift(clip)
