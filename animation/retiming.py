"""When a driving clip's movement happens in the result: another frame rate, duration or apex.

A result's frames show *positions* in the driving clip: frame numbers from 0, and fractions between frames, where the
movement is interpolated.

    Retiming(output_fps=200)                    # another rate, the same duration
    Retiming("0:20:60")                         # onset, apex and offset in these frames of the result
    Retiming("0s:0.1s:0.3s", output_fps=100)    # the same in seconds
    Retiming("curve.csv")                       # columns time (seconds), position (driving frames)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora import open_table

_TIME = r"\d+(?:\.\d*)?|\.\d+"
_MARKS = re.compile(rf"({_TIME})(s?):({_TIME})(s?):({_TIME})(s?)")
LEGAL = (
    "onset:apex:offset in frames of the result (0:20:60) or in seconds (0s:0.1s:0.3s), or a CSV file with the columns "
    "time (seconds) and position (driving frames)"
)


class RetimingError(ValueError):
    """A timing that cannot be used; the message says what is wrong and what would be legal."""


@dataclass(frozen=True)
class Marks:
    """Where a movement begins, is strongest and has ended: frame numbers from 0, fractions allowed.

    Raises:
        RetimingError: they are not in this order, one after another.
    """

    onset: float
    apex: float
    offset: float

    def __post_init__(self) -> None:
        if not 0 <= self.onset < self.apex < self.offset:
            raise RetimingError(
                f"onset {self.onset:g}, apex {self.apex:g} and offset {self.offset:g} should follow one another"
            )


@dataclass(frozen=True)
class Curve:
    """Positions (N,) in driving frames at ``times`` (N,), seconds from 0; linear in between."""

    times: np.ndarray
    positions: np.ndarray


def read_curve(path: str | Path) -> Curve:
    """Read a curve file: CSV with the columns ``time`` (seconds, from 0, rising) and ``position`` (driving frames).

    Positions may stand still, jump back or run backwards.

    Raises:
        RetimingError: no such file, or no curve; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise RetimingError(f"retime: no such curve file: {path}")
    with open_table(path, RetimingError) as reader:
        columns = reader.fieldnames or []
        if not {"time", "position"} <= set(columns):
            raise RetimingError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; a curve has time (seconds) and "
                "position (driving frames)"
            )
        rows = [_curve_row(row, f"{path}, line {reader.line_num}") for row in reader]
    if len(rows) < 2:
        raise RetimingError(f"{path} has {len(rows)} rows; a curve needs at least two")
    times, positions = np.array(rows).T
    if times[0] != 0:
        raise RetimingError(f"{path}: the first time is {times[0]:g}; a curve starts at 0")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        row = int(back[0])
        raise RetimingError(f"{path}: time {times[row + 1]:g} comes after {times[row]:g}; times have to rise")
    return Curve(times, positions)


def _curve_row(row: dict[str, str | None], where: str) -> tuple[float, float]:
    values = []
    for name in ("time", "position"):
        text = (row[name] or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise RetimingError(f"{where}: {name} is {text!r}; legal: a number from 0")
        values.append(value)
    return values[0], values[1]


class Retiming:
    """A change of timing as ``animate_params.retime`` and ``output_fps`` ask for it.

    Args:
        retime: see the head of this file; None: the driving clip's own timing.
        output_fps: frames a second of the result; None: the driving clip's own.

    Raises:
        RetimingError: a text that is neither, a curve that is none.
    """

    def __init__(self, retime: str | None = None, output_fps: float | None = None):
        self.output_fps = output_fps
        self.marks: tuple[tuple[float, bool], ...] | None = None  # value, whether it is in seconds
        self.curve: Curve | None = None
        if retime is None:
            return
        found = _MARKS.fullmatch(retime.replace(" ", ""))
        if found:
            parts = found.groups()
            self.marks = tuple((float(parts[i]), parts[i + 1] == "s") for i in (0, 2, 4))
            self._new_marks(1000.0 if any(second for _, second in self.marks) else 1.0)  # their order, before any work
        elif Path(retime).suffix.lower() == ".csv":
            self.curve = read_curve(retime)
        else:
            raise RetimingError(f"retime is {retime!r}; legal: {LEGAL}")

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return self.marks is not None or self.curve is not None or self.output_fps is not None

    def rate(self, fps: float) -> float:
        """Frames a second of the result of a driving clip of ``fps``."""
        return self.output_fps or fps

    def _new_marks(self, rate: float) -> Marks:
        same = len({seconds for _, seconds in self.marks}) == 1
        if not same:
            raise RetimingError("retime: give onset, apex and offset all in frames (0:20:60) or all in seconds")
        return Marks(*(value * rate if seconds else value for value, seconds in self.marks))

    def positions(self, frames: int, fps: float, marks: Marks | None = None) -> np.ndarray:
        """Positions (N,) in the driving clip that the result's frames show: float64 in 0 … frames − 1.

        With new marks, what lies before the onset is left out: the result's frames before its own onset show the
        onset.  Between the marks time runs evenly, and after the offset at the clip's own speed.

        Args:
            frames: of the driving clip.
            fps: its rate.
            marks: of the driving clip; needed to move them.

        Raises:
            RetimingError: a curve or marks that lie outside the clip.
        """
        rate = self.rate(fps)
        if self.curve is not None:
            return self._along_curve(frames, rate)
        if self.marks is None:
            count = max(1, round(frames * rate / fps))
            return np.minimum(np.arange(count) * (fps / rate), frames - 1.0)
        if marks.offset > frames - 1:
            raise RetimingError(f"the driving clip's offset is frame {marks.offset:g}, but it has {frames} frames")
        new = self._new_marks(rate)
        rest = (frames - 1 - marks.offset) * rate / fps  # frames of the result after its offset
        end = new.offset + rest
        at = np.arange(math.floor(end + 1e-6) + 1)
        knots = [new.onset, new.apex, new.offset] + ([end] if rest > 0 else [])
        values = [marks.onset, marks.apex, marks.offset] + ([frames - 1] if rest > 0 else [])
        return np.interp(at, knots, values)

    def _along_curve(self, frames: int, rate: float) -> np.ndarray:
        highest = float(self.curve.positions.max())
        if highest > frames - 1:
            raise RetimingError(
                f"the curve goes to position {highest:g}, but the driving clip has {frames} frames: 0 to {frames - 1}"
            )
        count = math.floor(self.curve.times[-1] * rate + 1e-6) + 1
        return np.interp(np.arange(count) / rate, self.curve.times, self.curve.positions)


def moved_marks(positions: np.ndarray, *marks: float | None) -> tuple[int | None, ...]:
    """In which frame of the result each driving position is shown: the nearest, the last one where it holds."""

    def place(mark: float) -> int:
        distance = np.abs(positions - mark)
        first = int(distance.argmin())
        held = np.flatnonzero(distance[first:] > distance[first] + 1e-9)
        return first + int(held[0]) - 1 if len(held) else len(positions) - 1

    return tuple(None if mark is None else place(mark) for mark in marks)
