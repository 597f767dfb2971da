"""Scores made up: from a documented distribution, from what a corpus shows, or from a table.

The usual distribution, of micro-expressions as the corpora have them: an emotion out of
`corpora.sample.action_units.EMOTIONS`, all alike; one of its combinations of units, all alike; one FACS intensity for
all of its units, A, B or C by `INTENSITY_SHARES`, times a factor of each unit's own; 0.2 to 0.5 seconds from onset to
offset, 30 to 45 % of them to the apex; units that begin up to 20 ms after one another.

Of a corpus, clips are drawn as its ``clips.csv`` lists them, each as often as any other: emotion, units, sides and,
where they are written, intensities of one row, its duration and apex by up to a tenth longer or shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora import ClipRecord, read_clips
from corpora.generated import split_units
from corpora.sample.action_units import ACTION_UNITS, CLASS3, EMOTIONS
from scores.notation import Score, ScoreError, parse_score
from scores.tables import FrameScore, read_scores

INTENSITY_SHARES = {"A": 0.3, "B": 0.5, "C": 0.2}
FACTOR = (0.8, 1.2)
ONSET, DURATION, APEX, LAG = (0.04, 0.1), (0.2, 0.5), (0.3, 0.45), 0.02  # seconds; apex: share of the duration
STRETCH, SHORTEST = 0.1, 0.12  # share; seconds


@dataclass(frozen=True)
class Drawn:
    """A score with the labels of what it means; "" where nobody says."""

    score: Score | FrameScore
    emotion: str = ""
    class3: str = ""


Draw = Callable[[np.random.Generator], Drawn]


def draw_usual(rng: np.random.Generator) -> Drawn:
    """A micro-expression of the usual distribution."""
    emotion = list(EMOTIONS)[int(rng.integers(len(EMOTIONS)))]
    units = EMOTIONS[emotion][int(rng.integers(len(EMOTIONS[emotion])))]
    duration, apex = rng.uniform(*DURATION), rng.uniform(*APEX)
    return Drawn(parse_score(_written(rng, units.split("+"), duration, apex * duration)), emotion, CLASS3[emotion])


def _written(rng: np.random.Generator, units: list[str], duration: float, rise: float) -> str:
    """The text of a score; ``units`` with or without their intensities, times in seconds."""
    onset = rng.uniform(*ONSET)
    letter = str(rng.choice(list(INTENSITY_SHARES), p=list(INTENSITY_SHARES.values())))
    lag = min(LAG, rise / 4)
    parts = []
    for unit in units:
        amount = f"{unit if unit[-1].isalpha() else unit + letter}*{rng.uniform(*FACTOR):.2f}"
        parts.append(f"{amount}@{onset + rng.uniform(0, lag):.3f}:{onset + rise:.3f}:{onset + duration:.3f}")
    return "+".join(parts)


def of_corpus(path: Path) -> tuple[Draw, str]:
    """What draws as a corpus's ``clips.csv`` has it, and what of it cannot be played, in a line ("" for nothing).

    Raises:
        ValueError: no such list, or no row that can be played.
    """
    rows, shapeless, without = [], set(), 0
    for record in read_clips(path):
        units, unknown = playable(record.action_units)
        shapeless |= unknown
        if units and record.offset_index is not None and record.onset_index is not None:
            rows.append((record, units))
        else:
            without += 1
    if not rows:
        raise ScoreError(f"{path}: none of its {without} rows has action units that can be played, onset and offset")
    notes = [f"units without a shape left out: {', '.join(sorted(shapeless))}"] * bool(shapeless)
    notes += [f"{without} rows without units, onset or offset left out"] * bool(without)

    def draw(rng: np.random.Generator) -> Drawn:
        record, units = rows[int(rng.integers(len(rows)))]
        duration, rise = _course(rng, record)
        return Drawn(parse_score(_written(rng, units, duration, rise)), record.emotion, record.class3)

    return draw, "; ".join(notes)


def _course(rng: np.random.Generator, record: ClipRecord) -> tuple[float, float]:
    """Seconds from onset to offset, and to the apex."""
    frames = max(record.offset_index - record.onset_index, 4)
    apex = (record.apex_index or 0) - record.onset_index
    if not 2 <= apex <= frames - 2:  # not annotated, or at an end
        apex = rng.uniform(*APEX) * frames
    stretch = rng.uniform(1 - STRETCH, 1 + STRETCH, 2)
    duration = max(stretch[0] * frames / record.fps, SHORTEST)
    return duration, float(np.clip(stretch[1] * apex / frames * duration, 0.4 * SHORTEST, duration - 0.4 * SHORTEST))


def playable(action_units: str) -> tuple[list[str], set[str]]:
    """The units of a label that have a shape, as scores write them, and the others."""
    units, unknown = [], set()
    for side, unit, intensity in split_units(action_units):
        if int(unit) in ACTION_UNITS:
            units.append(f"{side}{int(unit)}{intensity}")
        else:
            unknown.add(unit)
    return units, unknown


def of_table(path: Path) -> Draw:
    """What draws the scores of a table, each as often as any other."""
    scores = list(read_scores(path).values())
    return lambda rng: Drawn(scores[int(rng.integers(len(scores)))])
