"""When and how far a sample face moves: the intensity curves of a clip, its head drift, its displacement fields."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from corpora.sample.action_units import SIDES, FaceAxes, parse_units, unit_field
from corpora.sample.warps import dense_grid, inverse_displacement, rotation, sixteenths

STEEPEST = 0.62  # largest differential a field may have: content must neither fold nor turn to mush
REFERENCE_SIZE = 256  # amplitudes in pixels are meant at this frame size


@dataclass(frozen=True)
class Timeline:
    """The course of one movement, independent of any face."""

    units: str  # action units, ``"6+12"``
    amplitude: float  # peak displacement in inter-ocular distances
    curves: np.ndarray  # float64 (N, n_units), intensity of each unit in each frame, 0 … 1
    sides: np.ndarray  # float64 (n_units, 2), strength of each unit on the left and the right of the picture
    spread: float  # factor on the units' radii: how far around its muscle the skin follows
    drift: np.ndarray  # float64 (N, 4): head motion (x and y shift in IOD, log scale, turn in radians), 0 at frame 0
    fps: float  # frames a second
    # Positions of these frames.
    onset: int
    apex: int
    offset: int

    def __len__(self) -> int:
        return len(self.curves)


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with no velocity and no acceleration at both ends (minimum-jerk course)."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def draw_timeline(
    rng: np.random.Generator, units: str, amplitude: float, fps: float, seconds: float, head: float = 1.0,
    variety: float = 1.0, frames: int | None = None,
) -> Timeline:  # fmt: skip
    """A random course from neutral over the apex back to (nearly) neutral.

    Args:
        amplitude: peak displacement in inter-ocular distances.
        seconds: from onset to offset.
        head: how much head drift, 0 for none; at 1 the head shifts by up to about 0.008 IOD.
        frames: exact length of the clip, instead of ``seconds``; at least 6.
        variety: how much the units' spread and balance of sides vary from the table, 0 for not at all.
    """
    lead, tail = int(rng.integers(0, 3)), int(rng.integers(0, 3))
    if frames is not None and frames < 12:
        lead, tail = 0, 0
    moving = max(int(round(seconds * fps)), 6) if frames is None else frames - 1 - lead - tail
    time = (np.arange(lead + moving + tail + 1) - lead) / moving  # 0 at the onset frame, 1 at the offset frame
    rise, hold, remains = rng.uniform(0.30, 0.42), rng.uniform(0.02, 0.12), rng.uniform(0.0, 0.12)
    curves = []
    for _ in parse_units(units):
        late = rng.uniform(0.0, 0.06)
        up = smooth_step((time - late) / (rise * rng.uniform(0.9, 1.1)))
        down = smooth_step((time - rise - hold - late) / (1 - rise - hold - late))
        curves.append(rng.uniform(0.8, 1.0) * up * (1 - (1 - remains) * down))
    curves = np.stack(curves, axis=1)
    apex = int(np.argmax((curves**2).sum(axis=1)))
    curves = curves / curves[apex].max()
    return Timeline(
        units=units, amplitude=amplitude, curves=curves, sides=_draw_sides(rng, units, variety),
        spread=float(np.exp(variety * rng.normal(0, 0.1))), drift=head * draw_drift(rng, len(time)), fps=fps,
        onset=lead, apex=apex, offset=lead + moving,
    )  # fmt: skip


def _draw_sides(rng: np.random.Generator, units: str, variety: float) -> np.ndarray:
    """Strength of each unit on both sides of the picture (n_units, 2); faces move a little unevenly."""
    weaker, loss = int(rng.integers(2)), variety * rng.uniform(0.0, 0.35)
    sides = np.array([SIDES[side] for _, side in parse_units(units)])
    sides[:, weaker] *= 1 - loss * (sides.min(axis=1) > 0)
    return sides


def draw_drift(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Slow head motion (frames, 4), starting from rest at frame 0; columns as in `Timeline.drift`."""
    time = np.linspace(0, 1, frames)
    rate, phase = rng.uniform(0.5, 1.5, 4), rng.uniform(0, 2 * np.pi, 4)
    wave = np.sin(rate * np.pi * time[:, None] * 2 + phase) - np.sin(phase)
    ramp = smooth_step(time * 3)[:, None]
    return wave * ramp * np.abs(rng.normal(0, (0.004, 0.004, 0.001, 0.001)))


def steepest_slope(field: np.ndarray) -> float:
    """Largest entry of the differential of a field (H, W, 2), per pixel."""
    return max(float(np.abs(np.gradient(field[..., i], axis=axis)).max()) for i in (0, 1) for axis in (0, 1))


def largest(field: np.ndarray) -> float:
    """Largest length in a field (H, W, 2)."""
    return float(np.sqrt(np.square(field[..., 0]) + np.square(field[..., 1])).max())


class FaceMotion:
    """The movement of a face: forward fields weighted frame by frame, and where each pixel of a frame comes from.

    The content at x of frame 0 is at x + d(x) + m(x)·(S(x + d(x)) − x − d(x)) in frame t: d the expression, S the
    similarity of the head about the point between the eyes, m the head's mask, so that the background rests.

    Args:
        landmarks: (68, 2) in pixels of the frame.
        head: (H, W) in [0, 1].
        fields: float32 (H, W, 2) each, displacements at weight 1, (x, y) in pixels.
        weights: (N, n_fields), of each field in each frame.
        drift: (N, 4), as in `Timeline`.
    """

    def __init__(
        self, landmarks: np.ndarray, head: np.ndarray, fields: list[np.ndarray], weights: np.ndarray, drift: np.ndarray
    ):
        self._axes = FaceAxes.of(landmarks)
        self.pivot = landmarks[[36, 39, 42, 45]].mean(axis=0)
        self._grid = dense_grid(head.shape).astype(np.float32)
        self.fields, self.weights, self._drift = fields, weights, drift
        self._scale = 1.0
        spread = 0.12 * self._axes.iod
        self.head = np.clip(cv2.GaussianBlur(head, (0, 0), spread), 0, 1)[..., None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.weights)

    def _combined(self, t: int) -> np.ndarray:
        """Displacement by the fields at frame t, before it is scaled."""
        total = np.zeros_like(self._grid)
        for weight, field in zip(self.weights[t], self.fields, strict=True):
            if weight:
                total += np.float32(weight) * field
        return total

    def expression(self, t: int) -> np.ndarray:
        """Displacement by the fields alone, frame 0 → t: float32 (H, W, 2), (x, y) in pixels."""
        return self._combined(t) * np.float32(self._scale)

    def head_motion(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """The head's displacement at frame t, M·(p − pivot) + shift, in pixels: M (2, 2), shift (2,)."""
        shift_x, shift_y, log_scale, turn = self._drift[t]
        matrix = np.exp(log_scale) * rotation(turn) - np.eye(2)
        return matrix, self._axes.iod * (shift_x * self._axes.right + shift_y * self._axes.down)

    def displacement(self, t: int) -> np.ndarray:
        """The whole displacement, head drift included, frame 0 → t: float32 (H, W, 2), (x, y) in pixels."""
        local = self.expression(t)
        matrix, shift = self.head_motion(t)
        x, y = (self._grid[..., i] + local[..., i] - np.float32(self.pivot[i]) for i in (0, 1))
        drift = np.stack([matrix[i, 0] * x + matrix[i, 1] * y + shift[i] for i in (0, 1)], axis=-1)
        return local + self.head * drift.astype(np.float32)

    def origin(self, t: int) -> np.ndarray:
        """Where the content of each pixel of frame t was in frame 0: float32 (H, W, 2), positions in pixels."""
        return self._grid + inverse_displacement(self.displacement(t))


class Motion(FaceMotion):
    """The movement of one timeline on one face.

    Args:
        landmarks, head: as above.
        timeline: amplitudes in it are in the inter-ocular distances of *this* face.
    """

    def __init__(self, landmarks: np.ndarray, head: np.ndarray, timeline: Timeline):
        self.timeline = timeline
        grid, inside = dense_grid(head.shape).astype(np.float32), inner_face(landmarks, head)[..., None]
        fields = [
            (unit_field(unit, sides, landmarks, grid, timeline.spread) * inside).astype(np.float32)
            for (unit, _), sides in zip(parse_units(timeline.units), timeline.sides, strict=True)
        ]
        super().__init__(landmarks, head, fields, timeline.curves, timeline.drift)
        peak = max(largest(self._combined(t)) for t in range(len(timeline)))
        steepest = steepest_slope(self._combined(timeline.apex))
        self._scale = min(timeline.amplitude * self._axes.iod / peak, STEEPEST / steepest)
        self.peak = self._scale * peak / self._axes.iod  # in inter-ocular distances; at most timeline.amplitude


def face_outline(landmarks: np.ndarray) -> np.ndarray:
    """Outline (27, 2) of the face of landmarks (68, 2).

    It is that of the jaw, closed above the brows by as much as the brows are above the eyes; at the chin it runs a
    little lower, since the chin's skin moves on the bone.
    """
    axes = FaceAxes.of(landmarks)
    above = landmarks[26:16:-1] - 0.45 * axes.iod * axes.down
    jaw = landmarks[:17].copy()
    jaw[6:11] += 0.12 * axes.iod * axes.down
    return np.concatenate([jaw, above])


def inner_face(landmarks: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Where an expression may move the face: 1 inside, 0 at and beyond its outline, and at the frame's edge.

    Args:
        landmarks: (68, 2), pixels.
        head: (H, W) in [0, 1], the mask of the head; the background is outside the face whatever the landmarks say.

    Returns:
        float64 (H, W) in [0, 1].
    """
    mask = np.zeros(head.shape, np.uint8)
    cv2.fillPoly(mask, [sixteenths(face_outline(landmarks))], 255, shift=4)
    mask[[0, -1]], mask[:, [0, -1]], mask[head < 0.5] = 0, 0, 0
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    return smooth_step((distance - 1) / (0.18 * FaceAxes.of(landmarks).iod))
