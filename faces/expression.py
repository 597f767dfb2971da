"""Which frame of a clip shows the expression of another picture."""

from __future__ import annotations

import numpy as np


def _shape(points: np.ndarray) -> np.ndarray:
    """Key points (..., K, 2) as complex numbers (..., K), without position and size."""
    points = np.asarray(points, np.float64)
    shape = points[..., 0] + 1j * points[..., 1]
    shape = shape - shape.mean(axis=-1, keepdims=True)
    return shape / np.linalg.norm(shape, axis=-1, keepdims=True)


def shape_distance(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How far key points (T, K, 2) are from ``target`` (K, 2) in shape alone: (T,), 0 (equal) to 1.

    Position, size and turn are taken out (full Procrustes distance).
    """
    inner = np.abs(_shape(points) @ _shape(target).conj())
    return np.sqrt(np.clip(1.0 - inner**2, 0.0, None))


def nearest_expression(points: np.ndarray, target: np.ndarray) -> int:
    """The frame of key points (T, K, 2) whose shape is nearest to ``target`` (K, 2); the first of equal ones."""
    return int(shape_distance(points, target).argmin())
