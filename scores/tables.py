"""Scores as tables, in CSV: a row a movement, or a row a frame.

Movements: ``clip, unit, side, intensity, onset, apex, offset``; ``side`` is L, R or empty for both, ``intensity`` A to
E, ``C*0.7`` or empty for the usual, times are seconds from the clip's start.  ``clip`` says which score a row belongs
to and may be left out where there is one.

Frames: ``timestamp`` (seconds) and a column a unit, from its intensity in the first frame, at which the face is as in
the photo.  ``AU06_r`` holds intensities of 0 to 5 on both sides, as OpenFace writes them (0 none, 1 A … 5 E);
``AU06_L`` and ``AU06_R`` hold peak displacements of the person's left and right in inter-ocular distances, as the
truth of a played score has them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora import open_table
from corpora.sample.action_units import ACTION_UNITS
from scores.notation import (
    INTENSITIES,
    LEGAL_TIME,
    LONGEST,
    REACH,
    USUAL_INTENSITY,
    USUAL_TIME,
    Movement,
    Score,
    ScoreError,
    check_times,
    check_unit,
    peak_of,
)

TIMES = ("onset", "apex", "offset")
_FRAME_COLUMN = re.compile(r"AU(\d+)_([rLR])")
_INTENSITY = re.compile(r"([A-E]?)(?:\*(\d+\.?\d*|\.\d+))?")
LEGAL = (
    "unit, side, intensity, onset, apex, offset (and clip, where there are several scores) for a row a movement; "
    "timestamp and AU01_r … or AU01_L, AU01_R … for a row a frame"
)


@dataclass(frozen=True)
class FrameScore:
    """Units followed frame by frame.

    Attributes:
        text: what it is called.
        times: (T,) seconds from 0, rising.
        units: the U action units.
        peaks: (T, U, 2) displacement at the strongest place since the first frame, of the person's left and right, in
            inter-ocular distances.
        notice: what was left out, "" for nothing.
    """

    text: str
    times: np.ndarray
    units: tuple[int, ...]
    peaks: np.ndarray
    notice: str = ""

    @property
    def action_units(self) -> str:
        """The units that move at least as far as half an intensity A somewhere: ``6+L12``."""
        labels = []
        for unit, curves in zip(self.units, np.moveaxis(self.peaks, 1, 0), strict=True):
            left, right = np.abs(curves).max(axis=0) > peak_of(unit, "A", 0.5)
            if left or right:
                labels.append(f"{'' if left and right else 'L' if left else 'R'}{unit}")
        return "+".join(labels)


def read_scores(path: str | Path) -> dict[str, Score | FrameScore]:
    """The scores of a CSV file, by the names of their clips.

    Raises:
        ScoreError: it is none; the message names line and column, what stands there, and what is legal.
    """
    path = Path(path)
    if not path.is_file():
        raise ScoreError(f"no such table of a score: {path}")
    with open_table(path, ScoreError) as table:
        columns = table.fieldnames or []
        rows = [(f"{path}, line {table.line_num}", row) for row in table]
        if "timestamp" in columns and any(map(_FRAME_COLUMN.fullmatch, columns)):
            return {path.stem: _frames(path, columns, rows)}
        if not {"unit", *TIMES} <= set(columns):
            raise ScoreError(f"{path} has the columns {', '.join(columns) or '(none)'}; needed are {LEGAL}")
    movements: dict[str, list[Movement]] = {}
    for where, row in rows:
        name = (row.get("clip") or "").strip() or path.stem
        movements.setdefault(name, []).append(_movement(where, row))
    if not movements:
        raise ScoreError(f"{path} has no row; needed are {LEGAL}")
    return {name: Score(f"{path.name}:{name}", tuple(rows)) for name, rows in movements.items()}


def _movement(where: str, row: dict[str, str | None]) -> Movement:
    text = {name: (row.get(name) or "").strip() for name in ("unit", "side", "intensity", *TIMES)}
    try:
        unit = check_unit(text["unit"])
    except ScoreError as error:
        raise ScoreError(f"{where}, column 'unit': {error}") from None
    if text["side"] not in ("", "B", "L", "R"):
        raise ScoreError(f"{where}, column 'side': {text['side']!r}; legal: L, R, and B or nothing for both")
    found = _INTENSITY.fullmatch(text["intensity"].replace(" ", ""))
    factor = float(found[2] or 1) if found else 0
    if factor <= 0:
        raise ScoreError(f"{where}, column 'intensity': {text['intensity']!r}; legal: A to E, C*0.7, or nothing")
    times = USUAL_TIME
    if any(text[name] for name in TIMES):
        times = tuple(_number(where, name, text[name], LONGEST) for name in TIMES)
    try:
        check_times(*times)
    except ScoreError as error:
        raise ScoreError(f"{where}, columns onset, apex, offset: {error}") from None
    peak = peak_of(unit, found[1] or USUAL_INTENSITY, factor)
    return Movement(unit, text["side"] or "B", peak, *times, found[1])


def _number(where: str, name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        legal = LEGAL_TIME if name in TIMES else f"a number from 0 to {most:g}"
        raise ScoreError(f"{where}, column {name!r}: {text!r}; legal: {legal}")
    return value


def _frames(path: Path, columns: list[str], rows: list[tuple[str, dict[str, str | None]]]) -> FrameScore:
    """A table of a row a frame."""
    found = {name: match for name in columns if (match := _FRAME_COLUMN.fullmatch(name))}
    shapeless = sorted({int(match[1]) for match in found.values()} - set(ACTION_UNITS))
    found = {name: match for name, match in found.items() if int(match[1]) in ACTION_UNITS}
    if len({(row.get("face_id") or "").strip() for _, row in rows}) > 1:
        raise ScoreError(f"{path} has several faces in its column 'face_id': keep the rows of one")
    seen = [(where, row) for where, row in rows if (row.get("success") or "1").strip() not in ("0", "0.0")]
    if len(seen) < 2 or not found:
        raise ScoreError(f"{path} has {len(seen)} frames with a face and {len(found)} units that have a shape; needed "
                         "are two frames and a unit")  # fmt: skip
    times = np.array([_number(where, "timestamp", (row["timestamp"] or "").strip(), LONGEST) for where, row in seen])
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        raise ScoreError(f"{seen[back[0] + 1][0]}, column 'timestamp': {times[back[0] + 1]:g} comes after "
                         f"{times[back[0]]:g}; times have to rise")  # fmt: skip
    units = tuple(sorted({int(match[1]) for match in found.values()}))
    peaks = np.zeros((len(seen), len(units), 2))
    for name, match in found.items():
        unit, kind = int(match[1]), match[2]
        values = [_number(where, name, (row[name] or "").strip(), 5 if kind == "r" else 1) for where, row in seen]
        if kind == "r":
            values = REACH[unit] * np.interp(values, range(6), (0, *INTENSITIES.values()))
        sides = slice(None) if kind == "r" else "LR".index(kind)
        peaks[:, units.index(unit), sides] = np.array(values)[:, None] if kind == "r" else values
    notice = [f"AU{', AU'.join(map(str, shapeless))} left out, which have no shape"] * bool(shapeless)
    notice += [f"{len(rows) - len(seen)} frames without a face bridged"] * (len(seen) < len(rows))
    return FrameScore(path.name, times - times[0], units, peaks - peaks[:1], "; ".join(notice))
