"""The two yardsticks as clips: "still", the target that does not move, and "warp", the practical ceiling.

The warp carries the driving clip's own measured motion over to the target by its landmarks and moves the target's
first frame with it.  It is optimistic as a ceiling, because the same flow estimator makes and measures it, and it can
neither open a mouth nor close an eye.  Source: shared definition ``metric.md`` §5 ("oracle").
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from .canonical import CANVAS_HEIGHT, CANVAS_WIDTH, IOD, CanonicalFace, head_points, locate_face
from .flow import Similarity, canonical_flows, fit_similarity

SMOOTHING = 3.0  # canonical pixels
CARRIERS = slice(17, 68)  # landmarks of the spline: all but the jaw line
SPLINE_STEP = 8
INVERSION_STEPS = 6
FOREHEAD, MARGIN, FADE = 0.35 * IOD, 0.12 * IOD, 0.08 * IOD


def still_clip(target: np.ndarray, count: int) -> np.ndarray:
    """``count`` times the target frame (H, W, 3): a read-only view (count, H, W, 3)."""
    return np.broadcast_to(target, (count, *target.shape))


def warp_clip(
    target: np.ndarray,
    target_landmarks: np.ndarray,
    driving: np.ndarray,
    driving_landmarks: np.ndarray,
    amplitude: float = 1.0,
    head: bool = True,
) -> Iterator[np.ndarray]:
    """The target's first frame moved by the driving clip's own motion.

    Args:
        target: uint8 (H, W, 3).  driving: uint8 (T, h, w, 3), frame 0 the onset.
        target_landmarks, driving_landmarks: (68, 2), pixels of their own pictures.
        amplitude: factor on the face's own motion; the head's stays as it is.
        head: whether the head moves along.

    Yields:
        T frames like ``target``; frame 0 is the target itself.

    The face's motion beyond the head's, smoothed (σ = 3 canonical px), is read at the places a thin-plate spline on
    landmarks 17–67 gives, in IOD and upright axes, faded out outside the target's face; the head's similarity acts
    about the target's own nose and eye sockets, on the whole picture.
    """
    carrier = _Carrier(locate_face(target_landmarks, *target.shape[:2]))
    source = locate_face(driving_landmarks, *driving.shape[1:3])
    places = carrier.places_in(source)
    points = head_points(source)
    index = tuple(points[:, ::-1].T.astype(int))
    yield target.copy()
    for flow in itertools.islice(canonical_flows(driving, source), 1, None):
        motion = fit_similarity(points, flow[index])
        local = cv2.GaussianBlur((flow - motion.at(_grid())).astype(np.float32), (0, 0), SMOOTHING)
        carried = cv2.remap(local, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield carrier.move(target, amplitude * carried, motion if head else None)


def _grid() -> np.ndarray:
    """(288, 256, 2) float64: (x, y) of every canonical pixel."""
    x, y = np.meshgrid(np.arange(CANVAS_WIDTH, dtype=np.float64), np.arange(CANVAS_HEIGHT, dtype=np.float64))
    return np.stack([x, y], axis=-1)


class _Carrier:
    """Moves the picture of one target face by motion given in its canonical frame."""

    def __init__(self, face: CanonicalFace):
        self.face = face
        self.weight = _face_weight(face)
        self.head_centre = head_points(face).mean(axis=0)

    def places_in(self, source: CanonicalFace) -> np.ndarray:
        """(288, 256, 2) float32: for each canonical pixel of the target, where it lies in the driving face."""
        spline = RBFInterpolator(self.face.landmarks[CARRIERS], source.landmarks[CARRIERS], kernel="thin_plate_spline")
        rows = np.arange(0, CANVAS_HEIGHT + SPLINE_STEP, SPLINE_STEP, dtype=np.float64)
        columns = np.arange(0, CANVAS_WIDTH + SPLINE_STEP, SPLINE_STEP, dtype=np.float64)
        nodes = np.stack(np.meshgrid(columns, rows), axis=-1)  # (h, w, 2)
        coarse = spline(nodes.reshape(-1, 2)).reshape(nodes.shape).astype(np.float32)
        at = (_grid() / SPLINE_STEP).astype(np.float32)
        return cv2.remap(coarse, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def move(self, target: np.ndarray, local: np.ndarray, head: Similarity | None) -> np.ndarray:
        """``target`` (H, W, 3) moved by ``local`` (288, 256, 2) canonical pixels, and by the head's motion."""
        height, width = target.shape[:2]
        linear, offset = self.face.matrix[:, :2], self.face.matrix[:, 2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        arrived = np.stack([x, y], axis=-1) @ linear.T + offset  # canonical place of every pixel of the result
        field = (local * self.weight[..., None]).astype(np.float32)
        if head is not None:
            head = Similarity(head.shift, head.scale, head.rotation, self.head_centre)
        origin = arrived
        for _ in range(INVERSION_STEPS):  # origin + motion(origin) = arrived
            at = origin.astype(np.float32)
            motion = cv2.remap(field, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
            origin = arrived - motion - (head.at(origin) if head is not None else 0.0)
        places = ((origin - offset) @ np.linalg.inv(linear).T).astype(np.float32)
        return cv2.remap(target, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _face_weight(face: CanonicalFace) -> np.ndarray:
    """(288, 256) float32: 1 on the face, forehead included, fading to 0 around it."""
    points = np.concatenate([face.landmarks, face.landmarks[17:27] - [0.0, FOREHEAD]])
    mask = np.zeros(face.inside.shape, np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1.0)
    size = 2 * round(MARGIN) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return cv2.GaussianBlur(mask, (0, 0), FADE)
