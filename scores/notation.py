"""Scores as text: which action units move, on which side, how much, and when.

    6+12                          both together, usual strength, usual timing
    L12B                          the person's left, FACS intensity B
    6+12B*0.7 @ 0.1:0.25:0.6      onset : apex : offset in seconds; 12 at 0.7 times intensity B
    6@0.1:0.2:0.5 + 12@0.15:0.3:0.6
    1+2 @ 0.1:0.2:0.4 ; 45 @ 0.8:0.9:1.1 ; 12 @ 2.0:2.2:2.6

Units are joined by ``+``, events by ``;``.  The time after the last unit of an event is that of all its units that have
none of their own.  Movements that overlap add up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpora.sample.action_units import ACTION_UNITS

# How far the strongest place of a unit moves at intensity E, in inter-ocular distances: as far as its field can go on a
# usual face without folding it, at most a tenth.
REACH = dict.fromkeys(ACTION_UNITS, 0.1) | {
    2: 0.055, 5: 0.065, 7: 0.045, 10: 0.075, 14: 0.085, 17: 0.05, 23: 0.08, 25: 0.07, 45: 0.06,
}  # fmt: skip
# Share of the reach at FACS's intensities: trace, slight, marked, severe, maximum.  A and B are micro-expressions.
INTENSITIES = {"A": 0.15, "B": 0.3, "C": 0.5, "D": 0.75, "E": 1.0}
USUAL_INTENSITY, USUAL_TIME = "B", (0.1, 0.25, 0.6)
MOST_FACTOR, LONGEST = 10.0, 3600.0  # of an intensity; seconds

_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_UNIT = re.compile(rf"([LR]?)(\d+)([A-E]?)(?:\s*\*\s*({_NUMBER}))?")
_TIME = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})\s*:\s*({_NUMBER})")
LEGAL_UNIT = "[L or R]unit[A to E][*factor], such as 6, L12, 4C or 12B*0.7, joined by '+'"
LEGAL_TIME = "onset:apex:offset in seconds, each after the one before (0.1:0.25:0.6)"


class ScoreError(ValueError):
    """A score that cannot be played; the message names the place in it and what is legal there."""


def peak_of(unit: int, intensity: str = USUAL_INTENSITY, factor: float = 1.0) -> float:
    """Peak displacement of a unit in inter-ocular distances, at its strongest place."""
    return REACH[unit] * INTENSITIES[intensity] * factor


@dataclass(frozen=True)
class Movement:
    """One action unit going up and down once."""

    unit: int  # a key of `ACTION_UNITS`
    side: str  # "B" for both, or the person's own "L" or "R"
    peak: float  # displacement of its strongest place at the apex, in inter-ocular distances
    # Seconds from the clip's start.
    onset: float
    apex: float
    offset: float
    intensity: str = ""  # the letter that was written, "" where there was none

    @property
    def label(self) -> str:
        """As ``clips.csv`` has it: ``L12B``."""
        return f"{self.side if self.side != 'B' else ''}{self.unit}{self.intensity}"


@dataclass(frozen=True)
class Score:
    """Movements, and the text that they were written as."""

    text: str
    movements: tuple[Movement, ...]

    @property
    def action_units(self) -> str:
        """What moves, as ``clips.csv`` has it: ``6+L12B``."""
        return "+".join(dict.fromkeys(movement.label for movement in self.movements))


def check_unit(text: str) -> int:
    """The number of a unit.

    Raises:
        ScoreError: there is no shape for it.
    """
    if not text.isdecimal() or int(text) not in ACTION_UNITS:
        raise ScoreError(f"{text!r} is no action unit that has a shape; legal: {', '.join(map(str, ACTION_UNITS))}")
    return int(text)


def check_times(onset: float, apex: float, offset: float) -> None:
    """Raises a ScoreError where these are no times of a movement, in seconds."""
    if not 0 <= onset < apex < offset <= LONGEST:
        shown = f"{onset:g}:{apex:g}:{offset:g}"
        raise ScoreError(f"{shown!r} is no possible timing; legal: {LEGAL_TIME}, at most {LONGEST:g}")


def parse_score(text: str) -> Score:
    """Read a score; see the head of this file.

    Raises:
        ScoreError: it is none; the message names the column, what stands there, and what is legal.
    """
    movements: list[Movement] = []
    start = 0
    for event in text.split(";"):
        movements += _event(text, event, start)
        start += len(event) + 1
    return Score(text.strip(), tuple(movements))


def _event(text: str, event: str, start: int) -> list[Movement]:
    """The movements of one event that begins at ``start`` of the text."""
    parts = []
    for part in event.split("+"):
        unit, at, time = part.partition("@")
        found = _unit(text, unit, start)
        parts.append((found, _time(text, time, start + len(unit) + 1) if at else None))
        start += len(part) + 1
    common = parts[-1][1] or USUAL_TIME
    return [
        Movement(unit, side, peak_of(unit, letter or USUAL_INTENSITY, factor), *(time or common), letter)
        for (unit, side, letter, factor), time in parts
    ]


def _unit(text: str, part: str, start: int) -> tuple[int, str, str, float]:
    """Unit, side, letter and factor of ``part`` at ``start`` of the text."""
    start += len(part) - len(part.lstrip())
    part = part.strip()
    found = _UNIT.match(part)
    if not part:
        raise _error(text, start, f"a unit is missing; legal: {LEGAL_UNIT}")
    if not found or found.end() < len(part):
        rest = part[found.end() :].strip() if found else part
        problem = f"{rest!r} does not belong here; legal: {LEGAL_UNIT}, then @ {LEGAL_TIME}"
        raise _error(text, start + len(part) - len(rest), problem)
    side, number, letter, factor = found.groups()
    try:
        unit = check_unit(number)
    except ScoreError as error:
        raise _error(text, start + found.start(2), str(error)) from None
    amount = float(factor or 1)
    if not 0 < amount <= MOST_FACTOR:
        raise _error(text, start + found.start(4), f"factor {factor!r}; legal: above 0, at most {MOST_FACTOR:g}")
    return unit, side or "B", letter, amount


def _time(text: str, part: str, start: int) -> tuple[float, float, float]:
    start += len(part) - len(part.lstrip())
    part = part.strip()
    found = _TIME.fullmatch(part)
    if not found:
        raise _error(text, start, f"{part!r} is no timing; legal: {LEGAL_TIME}")
    times = tuple(map(float, found.groups()))
    try:
        check_times(*times)
    except ScoreError as error:
        raise _error(text, start, str(error)) from None
    return times


def _error(text: str, place: int, problem: str) -> ScoreError:
    return ScoreError(f"score {text!r}, column {place + 1}: {problem}")
