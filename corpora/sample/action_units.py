"""Facial action units as smooth displacement fields anchored at landmarks.

Each unit is a list of `Bump`s: content around a place of the face moves in a direction, most at the centre and not
at all beyond a radius.  Places and directions are given for the side of the face on the left of the picture, in
units of the inter-ocular distance (IOD) and in the face's own upright axes: x outward (away from the nose),
y down.  The other side is its mirror image.  ``L`` and ``R`` before a unit's number mean the person's own left and
right, as in the Facial Action Coding System: the person's left is on the right of the picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corpora.sample.portraits import MIRROR, eye_centres


@dataclass(frozen=True)
class Bump:
    """One displaced place: landmarks whose mean it is, where from there, which way, how far around it."""

    landmarks: tuple[int, ...]  # iBUG numbers on the left side of the picture, or on the midline
    move: tuple[float, float]  # (outward, down), in units of the movement's amplitude
    radius: tuple[float, float]  # (x, y) half axes in IOD; the field falls as (1 − r²)³ and is zero from r = 1 on
    offset: tuple[float, float] = (0.0, 0.0)  # (outward, down) from the landmarks to the centre, in IOD
    midline: bool = False  # the place is on the midline: it exists once, and moves as one whichever side is asked for


# Spreads follow the muscles' insertions; the strongest bump of each unit moves by about one amplitude.
ACTION_UNITS: dict[int, tuple[Bump, ...]] = {
    1: (  # inner brow raiser: frontalis, pars medialis
        Bump((21,), (0.0, -1.0), (0.42, 0.44)),
        Bump((19, 20), (0.0, -0.45), (0.36, 0.36)),
    ),
    2: (  # outer brow raiser: frontalis, pars lateralis
        Bump((18,), (0.05, -1.0), (0.42, 0.40)),
        Bump((17,), (0.0, -0.35), (0.30, 0.30)),
    ),
    4: (  # brow lowerer: corrugator, depressor supercilii
        Bump((21,), (-0.45, 0.85), (0.42, 0.38)),
        Bump((19,), (-0.15, 0.55), (0.40, 0.34)),
    ),
    5: (Bump((37, 38), (0.0, -1.0), (0.32, 0.20)),),  # upper lid raiser: levator palpebrae
    6: (  # cheek raiser: orbicularis oculi, pars orbitalis
        Bump((40, 41), (0.05, -0.95), (0.50, 0.36), offset=(0.08, 0.34)),
        Bump((40, 41), (0.0, -0.35), (0.34, 0.18)),
        Bump((36,), (-0.35, 0.05), (0.30, 0.26), offset=(0.10, 0.05)),
    ),
    7: (  # lid tightener: orbicularis oculi, pars palpebralis
        Bump((40, 41), (0.0, -0.95), (0.34, 0.20), offset=(0.0, 0.03)),
        Bump((37, 38), (0.0, 0.45), (0.30, 0.18)),
    ),
    9: (  # nose wrinkler: levator labii superioris alaeque nasi
        Bump((31,), (-0.10, -0.95), (0.34, 0.38)),
        Bump((28, 39), (0.0, -0.45), (0.30, 0.30)),
        Bump((50,), (0.0, -0.45), (0.30, 0.22)),
        Bump((21,), (-0.15, 0.40), (0.32, 0.30)),
    ),
    10: (  # upper lip raiser: levator labii superioris
        Bump((50,), (0.0, -0.95), (0.34, 0.24)),
        Bump((49,), (0.05, -0.45), (0.28, 0.24)),
        Bump((31,), (0.10, -0.45), (0.34, 0.34), offset=(0.08, 0.0)),
    ),
    12: (  # lip corner puller: zygomaticus major
        Bump((48,), (0.65, -0.75), (0.44, 0.38)),
        Bump((41, 48), (0.12, -0.40), (0.46, 0.42), offset=(0.12, 0.0)),
    ),
    14: (  # dimpler: buccinator
        Bump((48,), (0.90, 0.05), (0.30, 0.28)),
        Bump((48,), (-0.45, 0.0), (0.30, 0.34), offset=(0.40, 0.0)),
    ),
    15: (  # lip corner depressor: depressor anguli oris
        Bump((48,), (0.15, 0.95), (0.36, 0.36), offset=(0.0, 0.03)),
    ),
    17: (  # chin raiser: mentalis
        Bump((57,), (0.0, -0.95), (0.55, 0.36), offset=(0.0, 0.28), midline=True),
        Bump((57,), (0.0, -0.40), (0.42, 0.22), midline=True),
    ),
    20: (  # lip stretcher: risorius
        Bump((48,), (0.95, 0.12), (0.42, 0.30)),
        Bump((48,), (0.35, 0.0), (0.40, 0.36), offset=(0.25, 0.0)),
    ),
    23: (  # lip tightener: orbicularis oris
        Bump((48,), (-0.80, 0.0), (0.34, 0.26)),
        Bump((51,), (0.0, 0.40), (0.36, 0.18), midline=True),
        Bump((57,), (0.0, -0.40), (0.36, 0.18), midline=True),
    ),
    25: (  # lips part: depressor labii inferioris, relaxed mentalis
        Bump((57,), (0.0, 0.95), (0.48, 0.24), offset=(0.0, 0.02), midline=True),
        Bump((51,), (0.0, -0.35), (0.40, 0.20), midline=True),
        Bump((57,), (0.0, 0.40), (0.55, 0.36), offset=(0.0, 0.28), midline=True),
    ),
    45: (  # blink, half way: relaxed levator palpebrae
        Bump((37, 38), (0.0, 1.0), (0.36, 0.22), offset=(0.0, -0.02)),
        Bump((40, 41), (0.0, -0.15), (0.30, 0.16)),
    ),
}  # fmt: skip

# Emotion: its usual combinations, units joined by "+", and the class of the three-class task.
# "others" is what CASME II calls movements without an emotion; it has no class.
EMOTIONS: dict[str, tuple[str, ...]] = {
    "happiness": ("6+12", "12", "12+25", "L12", "R12", "6+L12", "7+12"),
    "surprise": ("1+2+5", "1+2", "1+2+25", "1+2+5+25", "L1+L2", "R1+R2"),
    "disgust": ("4+9", "9", "10", "4+7+10", "9+17", "L10"),
    "repression": ("14", "15+17", "23", "17+23", "L14", "R14", "4+14"),
    "sadness": ("1+4", "1+4+15", "1+15+17", "4+15", "15"),
    "others": ("4", "4+7", "7", "20", "4+20", "45", "12+45"),
}
CLASS3 = {
    "happiness": "positive", "surprise": "surprise", "disgust": "negative", "repression": "negative",
    "sadness": "negative", "others": "",
}  # fmt: skip

_UNIT = re.compile(r"([LR]?)(\d+)")


def parse_units(text: str) -> list[tuple[int, str]]:
    """``"6+L12"`` → ``[(6, "B"), (12, "L")]``: unit numbers with their side, B for both.

    Raises:
        ValueError: not a list of known action units; the message lists them.
    """
    units = []
    for part in text.split("+"):
        match = _UNIT.fullmatch(part.strip())
        if not match or int(match[2]) not in ACTION_UNITS:
            raise ValueError(
                f"{text!r} is no list of action units: {part!r} is unknown. Legal are numbers out of "
                f"{', '.join(map(str, ACTION_UNITS))}, with L or R for one side, joined by '+' (6+L12)."
            )
        units.append((int(match[2]), match[1] or "B"))
    return units


@dataclass(frozen=True)
class FaceAxes:
    """The face's own coordinates: unit vectors of its horizontal and vertical (2,), and its IOD in pixels."""

    right: np.ndarray  # towards the right of the picture
    down: np.ndarray
    iod: float

    @staticmethod
    def of(landmarks: np.ndarray) -> FaceAxes:
        """Axes of landmarks (68, 2), from the line through the eye centres."""
        left, right = eye_centres(landmarks)
        iod = float(np.linalg.norm(right - left))
        right = (right - left) / iod
        return FaceAxes(right, np.array([-right[1], right[0]]), iod)


SIDES = {"B": (1.0, 1.0), "R": (1.0, 0.0), "L": (0.0, 1.0)}  # share of the picture's left and right side


def unit_field(
    unit: int, sides: Sequence[float], landmarks: np.ndarray, grid: np.ndarray, spread: float = 1.0
) -> np.ndarray:
    """Forward displacement of one action unit at amplitude one.

    Args:
        unit: a key of `ACTION_UNITS`.
        sides: its strength on the left and on the right of the picture, as in `SIDES`; what lies on the midline takes
            the greater.
        landmarks: (68, 2), pixels.
        grid: (H, W, 2), positions in the same pixels.
        spread: factor on all radii.

    Returns:
        float64 (H, W, 2): (x, y) displacement in amplitudes.
    """
    axes = FaceAxes.of(landmarks)
    field = np.zeros(grid.shape)
    for bump in ACTION_UNITS[unit]:
        for sign, strength in ((1.0, max(sides)),) if bump.midline else zip((-1.0, 1.0), sides, strict=True):
            if strength > 0:
                field += strength * _bump_field(bump, sign, landmarks, grid, axes, spread)
    return field


def _bump_field(
    bump: Bump, sign: float, landmarks: np.ndarray, grid: np.ndarray, axes: FaceAxes, spread: float
) -> np.ndarray:
    """One bump on the left (sign −1) or right (+1) of the picture: (H, W, 2)."""
    numbers = list(bump.landmarks) if sign < 0 or bump.midline else MIRROR[list(bump.landmarks)]
    outward = sign * axes.right
    centre = landmarks[numbers].mean(axis=0) + axes.iod * (bump.offset[0] * outward + bump.offset[1] * axes.down)
    x, y = ((grid - centre) @ axis / axes.iod for axis in (axes.right, axes.down))
    square = (x / (spread * bump.radius[0])) ** 2 + (y / (spread * bump.radius[1])) ** 2
    weight = np.clip(1 - square, 0, 1) ** 3
    return weight[..., None] * (bump.move[0] * outward + bump.move[1] * axes.down)
