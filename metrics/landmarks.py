"""The 68 landmarks of a clip's onset frame as the motion figures want them: steady, from one fixed procedure.

A predictor's answer changes by about half a percent of the inter-ocular distance when the face box moves a little,
as much as a micro-expression; the median over jittered boxes takes most of that away.
Source: shared definition ``metric.md`` §2, item 2.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from .canonical import MetricError, to_grey

PADDING = 0.25
LONGER_SIDE = 512
UPSAMPLE = 1
THRESHOLD = -0.5
JITTERED_BOXES = 15
JITTER = 0.03
SEED = 0


class Predictor(Protocol):
    """dlib's ``shape_predictor``: ``predictor(image, rectangle).parts()`` are 68 points with ``x`` and ``y``."""

    def __call__(self, image: np.ndarray, rectangle: object) -> object: ...


class NoFaceError(MetricError):
    """No face was found in a frame."""


def padded(image: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Pad by a quarter on every side (edges replicated), then resize the longer side to 512 pixels.

    Returns:
        the grey image, the factor it was scaled by, and the padding (x, y) in pixels of ``image``.
    """
    height, width = image.shape[:2]
    top, left = round(PADDING * height), round(PADDING * width)
    grey = cv2.copyMakeBorder(to_grey(image), top, top, left, left, cv2.BORDER_REPLICATE)
    scale = LONGER_SIDE / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), scale, np.array([left, top], np.float64)


def onset_landmarks(image: np.ndarray, predictor: Predictor, detector: object) -> np.ndarray:
    """Landmarks (68, 2) float64, pixels (x, y), of the best face in ``image`` (H, W, 3) or (H, W) uint8.

    Args:
        predictor: dlib shape predictor of the 68-point model.
        detector: ``dlib.get_frontal_face_detector()``; not safe to share between threads.

    What the definition leaves open is chosen so: grey picture, bilinear resizing, boxes shifted (not scaled) by a
    uniform ±3 % of their size, seed 0, the median taken coordinate by coordinate.

    Raises:
        NoFaceError: the detector finds nothing above its threshold.
    """
    import dlib

    grey, scale, padding = padded(image)
    boxes, scores, _ = detector.run(grey, UPSAMPLE, THRESHOLD)
    if not boxes:
        raise NoFaceError(
            "no face found in frame 0. The face should be upright, frontal and fill about half of the picture; "
            "prepare.py makes such crops."
        )
    box = boxes[int(np.argmax(scores))]
    rng = np.random.default_rng(SEED)
    shapes = []
    for shift_x, shift_y in rng.uniform(-JITTER, JITTER, (JITTERED_BOXES, 2)):
        x, y = shift_x * box.width(), shift_y * box.height()
        corners = (box.left() + x, box.top() + y, box.right() + x, box.bottom() + y)
        shape = predictor(grey, dlib.rectangle(*(int(round(value)) for value in corners)))
        shapes.append([(point.x, point.y) for point in shape.parts()])
    return np.median(np.array(shapes, np.float64), axis=0) / scale - padding
