"""Geometry of the sample faces: similarities, thin-plate splines, forward fields and their inverse, sampling.

Coordinates are (x, y) in pixels with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator, RectBivariateSpline


def rotation(angle: float) -> np.ndarray:
    """Matrix (2, 2) of a turn by ``angle`` radians, from x towards y."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def similarity_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) that turns, scales and shifts the two points of ``source`` (2, 2) to those of ``target`` (2, 2)."""
    a, b = (complex(*(p[1] - p[0])) for p in (source, target))
    ratio = b / a
    matrix = np.array([[ratio.real, -ratio.imag], [ratio.imag, ratio.real]])
    return np.column_stack([matrix, target[0] - matrix @ source[0]])


def dense_grid(shape: tuple[int, int]) -> np.ndarray:
    """Pixel positions of an image of (height, width): float64 (H, W, 2)."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float64), np.arange(shape[0], dtype=np.float64))
    return np.stack([x, y], axis=-1)


def thin_plate_spline(source: np.ndarray, target: np.ndarray) -> RBFInterpolator:
    """The smoothest map of the plane, (n, 2) → (n, 2), that takes ``source`` points (n, 2) to ``target`` points."""
    return RBFInterpolator(source, target, kernel="thin_plate_spline")


def on_grid(spline: RBFInterpolator, grid: np.ndarray, step: int = 6) -> np.ndarray:
    """A spline on an axis-parallel grid (H, W, 2), computed on every ``step``-th row and column and splined itself."""
    rows, columns = (np.unique(np.append(np.arange(0, n, step), n - 1)) for n in grid.shape[:2])
    nodes = grid[np.ix_(rows, columns)]
    moved = spline(nodes.reshape(-1, 2)).reshape(nodes.shape) - nodes
    axes = np.arange(grid.shape[0]), np.arange(grid.shape[1])
    shift = [RectBivariateSpline(rows, columns, moved[..., i])(*axes) for i in (0, 1)]
    return grid + np.stack(shift, axis=-1)


def sample_image(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of ``image`` float32 (H, W[, C]) at ``points`` (h, w, 2): bicubic, the edge repeated outside."""
    return cv2.remap(image, points.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def inverse_displacement(forward: np.ndarray, iterations: int = 8) -> np.ndarray:
    """Where each pixel's content comes from.

    Args:
        forward: float32 (H, W, 2); the content at x moves to x + forward(x).  Its differential must stay below 1.

    Returns:
        v, float32 (H, W, 2): the content at y comes from y + v(y), so that v(y) = −forward(y + v(y)),
        by fixed-point iteration.
    """
    grid = dense_grid(forward.shape[:2]).astype(np.float32)
    backward = -forward
    for _ in range(iterations):
        backward = -cv2.remap(forward, grid + backward, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return backward


def sixteenths(points: np.ndarray) -> np.ndarray:
    """Points in sixteenths of a pixel, int32: as OpenCV draws them with ``shift`` 4."""
    return np.round(points * 16).astype(np.int32)
