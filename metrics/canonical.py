"""The canonical face of the motion figures: upright, eye centres 96 pixels apart, one similarity a clip.

Everything a metric measures happens in this frame, so its units (inter-ocular distances, IOD) and axes (x to the
image's right, y down, in the face's upright pose) mean the same for every face, crop and size.
Source: shared definition ``metric.md`` §2, items 3, 4, 6 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

CANVAS_HEIGHT, CANVAS_WIDTH = 288, 256
IOD = 96.0  # inter-ocular distance in canonical pixels
REFERENCE_SIZE = 256  # of a picture's longer side, for distances in a clip's own pixels
EYE_CENTRES = np.array([[80.0, 104.0], [176.0, 104.0]])  # image-left and image-right eye, (x, y)

HEAD_RADIUS = 0.11 * IOD
REGION_RADIUS = 0.13 * IOD
MIN_COVERAGE = 0.6  # a region with less of its disc inside the picture is not measured

LIDS = ("lid_L", "lid_R")
REGIONS = (
    "brow_in_L", "brow_in_R", "brow_mid_L", "brow_mid_R", "brow_out_L", "brow_out_R", "infra_L", "infra_R",
    "wing_L", "wing_R", "cheek_L", "cheek_R", "mouth_L", "mouth_R", "lip_up", "lip_lo", "chin",
) + LIDS  # fmt: skip


class MetricError(ValueError):
    """A clip that cannot be measured; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class CanonicalFace:
    """Where one clip's face lies: one similarity, fixed by frame 0, for all its frames.

    Attributes:
        matrix: (2, 3) affine, image pixels (x, y) → canonical pixels; a similarity without reflection.
        landmarks: (68, 2) canonical (x, y).
        inside: (288, 256) bool, canonical pixels that lie in the picture (the rest is replicated border).
        iod_px: distance of the eye centres in pixels of the clip's own frames.
    """

    matrix: np.ndarray
    landmarks: np.ndarray
    inside: np.ndarray
    iod_px: float

    def hull(self) -> np.ndarray:
        """(288, 256) bool: the convex hull of the 68 landmarks, within the picture."""
        mask = np.zeros((CANVAS_HEIGHT, CANVAS_WIDTH), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(self.landmarks).astype(np.int32)), 1)
        return (mask > 0) & self.inside


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    """(2, 2): means of landmarks 36–41 and 42–47, in the units of ``landmarks`` (68, 2)."""
    return np.stack([landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)])


def locate_face(landmarks: np.ndarray, height: int, width: int) -> CanonicalFace:
    """The canonical frame of a clip from the landmarks (68, 2), pixels (x, y), of its frame 0.

    Args:
        height, width: size of the clip's frames in pixels.

    Raises:
        MetricError: landmarks of another shape, not finite, or both eyes in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
        raise MetricError(f"landmarks must be 68 finite (x, y) pixels, got an array of shape {landmarks.shape}")
    left, right = eye_centres(landmarks)
    gap = right - left
    iod_px = float(np.hypot(*gap))
    if iod_px < 8.0:
        raise MetricError(
            f"the eyes are {iod_px:.1f} pixels apart; at least 8 are needed. Crop the face larger, "
            "or check that the landmarks belong to this clip."
        )
    cos, sin = gap * (IOD / iod_px**2)
    linear = np.array([[cos, sin], [-sin, cos]])
    matrix = np.column_stack([linear, EYE_CENTRES[0] - linear @ left])
    white = np.full((height, width), 255, np.uint8)
    inside = cv2.warpAffine(white, matrix, (CANVAS_WIDTH, CANVAS_HEIGHT), flags=cv2.INTER_LINEAR) >= 250
    return CanonicalFace(matrix, landmarks @ linear.T + matrix[:, 2], inside, iod_px)


def to_grey(frame: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) or grey (H, W) → uint8 (H, W) by the ITU-R 601 weights."""
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def canonical_frame(frame: np.ndarray, face: CanonicalFace) -> np.ndarray:
    """One frame in the canonical pose: uint8 (288, 256), grey, bicubic, borders replicated."""
    size = (CANVAS_WIDTH, CANVAS_HEIGHT)
    return cv2.warpAffine(to_grey(frame), face.matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Stretch:
    """One linear intensity stretch a clip: grey ``low`` → 20, ``high`` → 235."""

    low: float
    high: float

    def apply(self, canonical: np.ndarray) -> np.ndarray:
        """uint8 (288, 256) → uint8: stretched in float, clipped to 20…235, blurred (σ = 1 px), then rounded."""
        values = 20.0 + (canonical.astype(np.float32) - self.low) * np.float32(215.0 / (self.high - self.low))
        return np.round(cv2.GaussianBlur(np.clip(values, 20.0, 235.0), (0, 0), 1.0)).astype(np.uint8)


def fit_stretch(onset: np.ndarray, face: CanonicalFace) -> Stretch:
    """The stretch of a clip: 1st and 99th percentile of its canonical frame 0 inside the face hull.

    Raises:
        MetricError: the face lies outside the picture or has no contrast.
    """
    hull = face.hull()
    if not hull.any():
        raise MetricError("the face lies outside the picture; check that the landmarks belong to this clip")
    low, high = np.percentile(onset[hull], [1, 99])
    if high - low < 4:
        raise MetricError(
            f"the face has no contrast: 98 % of its pixels lie within {high - low:.0f} grey levels of 255. "
            "Check that the clip is not blank."
        )
    return Stretch(float(low), float(high))


def region_centres(landmarks: np.ndarray) -> np.ndarray:
    """Centres of ``REGIONS`` (19, 2) in canonical pixels, from canonical landmarks (68, 2); L and R are image sides."""
    points, x, y = landmarks, np.array([IOD, 0.0]), np.array([0.0, IOD])
    lower_lid_l, lower_lid_r = points[[40, 41]].mean(axis=0), points[[46, 47]].mean(axis=0)
    return np.stack(
        [
            points[21], points[22], points[19], points[24], points[17], points[26],  # brows: inner, middle, outer
            lower_lid_l + 0.17 * y, lower_lid_r + 0.17 * y,
            points[31] - 0.06 * x, points[35] + 0.06 * x,
            (lower_lid_l + points[48]) / 2 - 0.15 * x, (lower_lid_r + points[54]) / 2 + 0.15 * x,
            points[48] - 0.03 * x, points[54] + 0.03 * x,
            points[51], points[57], points[57] + 0.28 * y,
            points[[37, 38]].mean(axis=0), points[[43, 44]].mean(axis=0),
        ]
    )  # fmt: skip


def head_centres(landmarks: np.ndarray) -> np.ndarray:
    """Centres (10, 2) of the discs whose motion is the head's: the nose bridge and the rims of the eye sockets."""
    points, x, y = landmarks, np.array([IOD, 0.0]), np.array([0.0, IOD])
    return np.stack(
        [
            points[27], points[28], points[29], points[30],
            (points[27] + points[39]) / 2, (points[27] + points[42]) / 2,
            points[36] - 0.16 * x + 0.05 * y, points[45] + 0.16 * x + 0.05 * y,
            points[39] + 0.16 * y, points[42] + 0.16 * y,
        ]
    )  # fmt: skip


def disc(centre: np.ndarray, radius: float) -> np.ndarray:
    """(288, 256) bool: canonical pixels within ``radius`` of ``centre`` (x, y)."""
    rows, columns = np.ogrid[:CANVAS_HEIGHT, :CANVAS_WIDTH]
    return (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2


def points_in(mask: np.ndarray) -> np.ndarray:
    """(n, 2) float64 (x, y) of the True pixels, row by row."""
    return np.argwhere(mask)[:, ::-1].astype(np.float64)


def head_points(face: CanonicalFace) -> np.ndarray:
    """(n, 2) float64 (x, y): the pixels of the picture whose motion is the head's."""
    discs = [disc(centre, HEAD_RADIUS) for centre in head_centres(face.landmarks)]
    return points_in(np.any(discs, axis=0) & face.inside)
