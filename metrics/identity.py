"""Is it still the same person?  Distances of dlib's 128-dimensional face embeddings.

dlib's ResNet puts pictures of one person closer than 0.6 (Euclidean); a clip's own frames lie within 0.05–0.18 of
its first one (measured on real driving clips), so a drift in that range says nothing against a method.
"""

from __future__ import annotations

import numpy as np

from .canonical import MetricError
from .timing import evenly_spaced

OTHER_PERSON = 0.6  # distance from which dlib's model calls two pictures two people
LATER_FRAMES = 4


def embed(frame: np.ndarray, landmarks: np.ndarray, model: object) -> np.ndarray:
    """Face embedding (128,) float64 of a uint8 RGB frame (H, W, 3).

    Args:
        landmarks: (68, 2) pixels (x, y); they only align the face, so those of the onset serve a whole clip.
        model: ``dlib.face_recognition_model_v1``.
    """
    import dlib

    points = np.round(np.asarray(landmarks)).astype(int)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    shape = dlib.full_object_detection(
        dlib.rectangle(int(left), int(top), int(right), int(bottom)), [dlib.point(int(x), int(y)) for x, y in points]
    )
    chip = dlib.get_face_chip(np.ascontiguousarray(frame), shape, size=150)
    return np.array(model.compute_face_descriptor(chip), np.float64)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Euclidean distance of two embeddings: 0 = the same picture, 0.6 and more = another person."""
    return float(np.linalg.norm(np.asarray(first, np.float64) - second))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two embeddings: 1 = the same picture."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def later_frames(count: int) -> np.ndarray:
    """Up to four frames after the onset, evenly spread to the clip's last one."""
    return evenly_spaced(count, LATER_FRAMES + 1)[1:]


def identity_figures(frames: np.ndarray, landmarks: np.ndarray, model: object) -> dict[str, float]:
    """Drift of the identity within a clip, from frame 0 to four later frames.

    Args:
        frames: uint8 RGB (T ≥ 2, H, W, 3).
        landmarks: (68, 2) pixels of frame 0.

    Returns:
        ``id_drift``: largest distance; ``id_cosine``: smallest cosine.
    """
    if len(frames) < 2:
        raise MetricError("the identity of a clip of one frame cannot drift")
    onset = embed(frames[0], landmarks, model)
    changed = [i for i in later_frames(len(frames)) if not np.array_equal(frames[i], frames[0])]
    later = [embed(frames[i], landmarks, model) for i in changed] or [onset]
    return {
        "id_drift": max(distance(onset, other) for other in later),
        "id_cosine": min(cosine(onset, other) for other in later),
    }
