"""The two public-domain portraits the sample faces are made of, brought to one common shape.

Eileen Collins (``skimage.data.astronaut``, NASA) and Grace Hopper (``grace_hopper.jpg`` of matplotlib's sample data,
United States Navy) ship inside dependencies.  Each becomes an `Atlas`: its picture warped to the canonical face, in
which the eyes, the nose and the closed lips of both lie at the same places, so that they can be mixed region by
region without double features.

Coordinates are (x, y) in pixels with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data

import faces
import media
from corpora.sample.warps import dense_grid, on_grid, sample_image, similarity_between, thin_plate_spline
from faces.crop import transform_points

NAMES = ("hopper", "collins")
CANONICAL_SIZE = 500  # pixels, square
CANONICAL_IOD = 120.0  # inter-ocular distance of the canonical face, in pixels
CANONICAL_EYES = (250.0, 205.0)  # the point between the eyes
EYE_CENTRES = CANONICAL_EYES + CANONICAL_IOD / 2 * np.array([(-1.0, 0.0), (1.0, 0.0)])

# The iBUG landmark on the other side of the face.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46,
     39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip

# Where the head is in each portrait (x0, y0, x1, y1), and its outline with hat or hair, neck and shoulders.
_HEAD_BOX = {"hopper": (110, 20, 430, 400), "collins": (120, 0, 330, 220)}
_OUTLINE = {
    "hopper": (
        (69, 369), (98, 367), (132, 349), (175, 337), (197, 315), (192, 301), (181, 299), (168, 288), (159, 275),
        (158, 264), (163, 249), (157, 230), (152, 207), (155, 191), (157, 184), (149, 167), (149, 147), (155, 124),
        (159, 107), (167, 90), (173, 64), (184, 38), (218, 18), (269, 15), (315, 30), (341, 50), (356, 81),
        (368, 90), (372, 124), (372, 144), (371, 175), (374, 185), (376, 198), (372, 221), (366, 247), (362, 269),
        (359, 287), (351, 302), (341, 308), (332, 309), (336, 324), (355, 339), (384, 351), (418, 364), (469, 381),
        (469, 509), (69, 509),
    ),
    "collins": (
        (99, 187), (122, 178), (126, 167), (136, 157), (149, 151), (166, 148), (185, 148), (183, 137), (182, 132),
        (174, 129), (172, 122), (170, 116), (163, 111), (156, 101), (154, 87), (153, 70), (158, 54), (170, 43),
        (190, 34), (194, 24), (206, 18), (224, 16), (234, 16), (249, 18), (265, 26), (280, 36), (290, 44),
        (296, 61), (301, 77), (302, 90), (298, 104), (290, 117), (282, 129), (280, 134), (274, 137), (268, 136),
        (265, 143), (260, 157), (255, 177), (272, 181), (294, 197), (314, 222), (332, 257), (99, 257),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Portrait:
    """A photograph with its landmarks."""

    image: np.ndarray  # float32 (H, W, 3) in [0, 1]
    landmarks: np.ndarray  # float64 (68, 2), pixels of ``image``
    head: np.ndarray  # float32 (H, W), 1 on head and shoulders, 0 on the background


@dataclass(frozen=True)
class Atlas:
    """A portrait in the canonical shape: image float32 (S, S, 3), head float32 (S, S), as in `Portrait`."""

    image: np.ndarray
    head: np.ndarray

    def mirrored(self) -> Atlas:
        """The same face, left and right exchanged (the canonical shape is symmetric)."""
        return Atlas(self.image[:, ::-1].copy(), self.head[:, ::-1].copy())


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    """Centres (2, 2) of the eyes of landmarks (68, 2), the one on the left of the picture first."""
    return np.stack([landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)])


def portrait_file(name: str) -> Path:
    """The file of a portrait inside the installed packages."""
    if name == "hopper":
        return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return Path(skimage.data.__file__).parent / "astronaut.png"


@functools.cache
def load_portrait(name: str) -> Portrait:
    """A portrait by its name, with landmarks of the dlib detector.

    Raises:
        RuntimeError: no face is found in it, which means that the installed file is another picture.
        faces.DetectorUnavailable: dlib or its landmark model is not installed.
    """
    path = portrait_file(name)
    image = media.read_image(path)
    x0, y0, x1, y1 = _HEAD_BOX[name]
    face = faces.largest_face(faces.make_detector("dlib"), np.ascontiguousarray(image[y0:y1, x0:x1]))
    if face is None:
        raise RuntimeError(f"no face found in {path}: not the portrait that scikit-image or matplotlib ships")
    head = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(head, [np.array(_OUTLINE[name], np.int32)], 255)
    head = cv2.erode(head, np.ones((5, 5), np.uint8))  # hair's fringe shows the old background
    soft = cv2.GaussianBlur(head.astype(np.float32) / 255.0, (0, 0), 1.2)
    landmarks = face.landmarks.astype(np.float64) + (x0, y0)
    return Portrait(image.astype(np.float32) / 255.0, landmarks, soft)


# ------------------------------------------------------------------------------------------- the canonical face
def upright(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks turned upright and scaled so that the eye centres lie at their canonical places."""
    return transform_points(similarity_between(eye_centres(landmarks), EYE_CENTRES), landmarks)


def mirrored(landmarks: np.ndarray) -> np.ndarray:
    """Canonical landmarks (68, 2) of the face with left and right exchanged."""
    return landmarks[MIRROR] * (-1.0, 1.0) + (2 * CANONICAL_EYES[0], 0.0)


@functools.cache
def portrait_shape(name: str) -> np.ndarray:
    """Landmarks (68, 2) of a portrait with its lips closed, in canonical position, its asymmetry kept."""
    aligned = upright(load_portrait(name).landmarks)
    return MouthCloser(aligned).close(aligned)


@functools.cache
def canonical_shape() -> np.ndarray:
    """Landmarks (68, 2) of the canonical face: the symmetric mean of the portraits, lips closed."""
    mean = np.mean([portrait_shape(name) for name in NAMES], axis=0)
    return (mean + mirrored(mean)) / 2


def control_points(landmarks: np.ndarray) -> np.ndarray:
    """Points that steer a warp of a face with closed lips: the outer landmarks, the lip line, a ring outside.

    Args:
        landmarks: (68, 2) in canonical position.

    Returns:
        (81, 2): inner lips are replaced by three points of the line between them, since points that coincide
        leave a spline undetermined.
    """
    line = (landmarks[[61, 62, 63]] + landmarks[[67, 66, 65]]) / 2
    angles = np.deg2rad(np.arange(0, 360, 20))
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (2.5, 2.6) * CANONICAL_IOD
    centre = np.array(CANONICAL_EYES) + (0.0, 0.35 * CANONICAL_IOD)
    return np.concatenate([landmarks[:60], line, ring + centre])


class MouthCloser:
    """Brings parted lips together: what lies between the inner lip outlines vanishes into the lip line.

    Above the line the picture moves down and below it up, by the local gap and fading out towards nose and chin.
    """

    def __init__(self, landmarks: np.ndarray):
        self._x, self._upper = landmarks[60:65].T
        self._lower = np.maximum(landmarks[[60, 67, 66, 65, 64], 1], self._upper)
        self._line = self._upper + 0.45 * (self._lower - self._upper)

    def source(self, points: np.ndarray) -> np.ndarray:
        """Where points (…, 2) of the closed face lie on the open one."""
        x, y = points[..., 0], points[..., 1]
        line, upper, lower = (np.interp(x, self._x, v) for v in (self._line, self._upper, self._lower))
        inside = (x > self._x[0]) & (x < self._x[-1])
        above = np.clip(1 - (line - y) / (0.30 * CANONICAL_IOD), 0, 1) ** 2 * (upper - line) * (y < line)
        below = np.clip(1 - (y - line) / (0.45 * CANONICAL_IOD), 0, 1) ** 2 * (lower - line) * (y >= line)
        return np.stack([x, y + inside * (above + below)], axis=-1)

    def close(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (68, 2) after closing; the inner outlines meet on the lip line."""
        closed = landmarks.copy()
        for _ in range(30):
            closed[48:60] += landmarks[48:60] - self.source(closed[48:60])
        line = np.stack([self._x, self._line], axis=1)
        closed[60:65], closed[65:68] = line, line[3:0:-1]
        return closed


@functools.cache
def atlas(name: str) -> Atlas:
    """A portrait warped to the canonical shape, its lips closed."""
    portrait = load_portrait(name)
    aligned = upright(portrait.landmarks)
    spline = thin_plate_spline(control_points(canonical_shape()), control_points(portrait_shape(name)))
    points = MouthCloser(aligned).source(on_grid(spline, dense_grid((CANONICAL_SIZE, CANONICAL_SIZE))))
    points = transform_points(similarity_between(aligned[[36, 45]], portrait.landmarks[[36, 45]]), points)
    return Atlas(sample_image(portrait.image, points), sample_image(portrait.head, points))
