"""What moves in every frame of a played score: curves, sides, head and blinks, on no particular face yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corpora.sample.action_units import SIDES
from corpora.sample.motion import draw_drift, smooth_step
from scores.notation import Movement, Score, ScoreError, peak_of
from scores.tables import FrameScore

FPS = 100.0  # of scores that say nothing about their rate
TAIL = 0.1  # seconds after the last offset
# Most natural variety, at variety 1.
UNEVEN, SETTLING, HOLD, SNAP, SPREAD = 0.3, 0.15, 0.25, 0.25, 0.1
BLINK_UNIT, BLINK_RATE, BLINK = 45, 0.15, (0.08, 0.22)  # blinks a second; seconds to the closed eye, and to the end


@dataclass(frozen=True)
class Part:
    """One movement of one unit."""

    unit: int
    sides: tuple[float, float]  # share of the curve on the left and right of the picture, the greater one is 1
    curve: np.ndarray  # float64 (N,), displacement of its strongest place in each frame, in inter-ocular distances
    labelled: bool = True  # it belongs to the expression; a blink that nobody wrote does not


@dataclass(frozen=True)
class Performance:
    """A score with its frames: what a face is to do, and the labels of it."""

    text: str  # the score
    action_units: str
    fps: float
    parts: tuple[Part, ...]
    spread: float  # factor on the units' radii: how far around its muscle the skin follows
    drift: np.ndarray  # float64 (N, 4): head motion, as in `corpora.sample.motion.Timeline`
    # Frames.
    onset: int
    apex: int
    offset: int

    def __len__(self) -> int:
        return len(self.drift)

    @property
    def units(self) -> tuple[int, ...]:
        """The U units that move at all, rising."""
        return tuple(sorted({part.unit for part in self.parts}))

    def intensities(self) -> np.ndarray:
        """(N, U, 2): displacement of the person's left and right, at the strongest place of each unit, in every frame,
        in inter-ocular distances."""
        total = np.zeros((len(self), len(self.units), 2))
        for part in self.parts:
            total[:, self.units.index(part.unit)] += part.curve[:, None] * np.array(part.sides[::-1])
        return total


def perform(
    score: Score | FrameScore, fps: float = FPS, variety: float = 0.0, seed: tuple[int, ...] | int = 0
) -> Performance:
    """Decide what moves in every frame.

    Args:
        fps: frames a second.
        variety: natural variation, 0 for none: sides and spread that differ, a snap and a settling in the course of a
            movement, a slight head drift, blinks.  Onset, apex, offset and peak stay as they are written.
        seed: of the variation.

    Raises:
        ScoreError: a movement is faster than the frames.
    """
    rng = np.random.default_rng(seed)
    spread = float(np.exp(variety * rng.normal(0, SPREAD)))
    if isinstance(score, FrameScore):
        parts, count = _followed(score, fps), round(float(score.times[-1]) * fps) + 1
    else:
        count = int(np.ceil((max(movement.offset for movement in score.movements) + TAIL) * fps)) + 1
        parts = [_part(movement, np.arange(count) / fps, fps, variety, rng) for movement in score.movements]
    parts += _blinks(parts, count, fps, variety, rng)
    drift = variety * draw_drift(rng, count)
    return Performance(score.text, score.action_units, fps, tuple(parts), spread, drift, *_marks(score, parts, fps))


def _part(movement: Movement, time: np.ndarray, fps: float, variety: float, rng: np.random.Generator) -> Part:
    rise, fall = movement.apex - movement.onset, movement.offset - movement.apex
    if min(rise, fall) * fps < 1:
        raise ScoreError(
            f"{movement.label} at {movement.onset:g}:{movement.apex:g}:{movement.offset:g} s goes up or down in less "
            f"than a frame of {fps:g} a second: give it more time, or more frames a second (--fps)"
        )
    snap, hold, settling, loss = variety * rng.random(4) * (SNAP, HOLD, SETTLING, UNEVEN)
    weaker = int(rng.integers(2))
    sides = np.array(SIDES[movement.side])
    if sides.min() > 0:
        sides[weaker] *= 1 - min(loss, 1)
    up = smooth_step(np.clip((time - movement.onset) / rise, 0, 1) ** (1 - min(snap, 0.5)))
    settled = 1 - min(settling, 0.5) * smooth_step((time - movement.apex) / (0.5 * fall))
    hold = min(hold, 0.5)
    down = smooth_step((time - movement.apex - hold * fall) / ((1 - hold) * fall))
    return Part(movement.unit, tuple(sides), movement.peak * up * settled * (1 - down))


def _followed(score: FrameScore, fps: float) -> list[Part]:
    """What both sides of a unit have in common, and what one has beyond it."""
    time = np.arange(round(float(score.times[-1]) * fps) + 1) / fps
    parts = []
    for index, unit in enumerate(score.units):
        left, right = (np.interp(time, score.times, score.peaks[:, index, side]) for side in (0, 1))
        common = np.where(left * right > 0, np.where(np.abs(left) < np.abs(right), left, right), 0)
        for side, curve in (("B", common), ("L", left - common), ("R", right - common)):
            if curve.any():
                parts.append(Part(unit, SIDES[side], curve))
    if not parts:
        raise ScoreError(f"nothing moves in {score.text}: all units stay as in its first frame")
    return parts


def _blinks(parts: list[Part], count: int, fps: float, variety: float, rng: np.random.Generator) -> list[Part]:
    """Blinks that nobody wrote, where the score has none itself."""
    number, places = int(rng.poisson(variety * BLINK_RATE * count / fps)), rng.random(8)
    room = count / fps - BLINK[1] - 2 / fps
    if room <= 0 or any(part.unit == BLINK_UNIT for part in parts):
        return []
    closed, peak = BLINK[0] / BLINK[1], peak_of(BLINK_UNIT, "E")
    blinks = []
    for place in places[:number]:
        share = (np.arange(count) / fps - 1 / fps - place * room) / BLINK[1]
        course = smooth_step(share / closed) * (1 - smooth_step((share - closed) / (1 - closed)))
        blinks.append(Part(BLINK_UNIT, SIDES["B"], peak * course, labelled=False))
    return blinks


def _marks(score: Score | FrameScore, parts: list[Part], fps: float) -> tuple[int, int, int]:
    """Onset, apex (where most moves) and offset, in frames; a blink that nobody wrote is none of it."""
    energy = sum(part.curve**2 for part in parts if part.labelled)
    apex = int(energy.argmax())
    if isinstance(score, Score):
        onset = min(movement.onset for movement in score.movements)
        offset = max(movement.offset for movement in score.movements)
        return round(onset * fps), apex, round(offset * fps)
    strong = energy > 0.01 * energy[apex]  # a tenth of the way
    before, after = np.flatnonzero(~strong[:apex]), np.flatnonzero(~strong[apex:])
    onset, offset = before[-1] if len(before) else 0, apex + after[0] if len(after) else len(energy) - 1
    return int(onset), apex, int(offset)
