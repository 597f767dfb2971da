"""Geometry of the sample faces: similarities, thin-plate splines, forward fields and their inverse, sampling.

Coordinates are (x, y) in pixels with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline


@dataclass(frozen=True)
class Similarity:
    """x → matrix · x + offset, with matrix (2, 2) a rotation times a scale, offset (2,)."""

    matrix: np.ndarray
    offset: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (…, 2) → (…, 2)."""
        return points @ self.matrix.T + self.offset

    def inverse(self) -> Similarity:
        matrix = np.linalg.inv(self.matrix)
        return Similarity(matrix, -matrix @ self.offset)

    @property
    def scale(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def similarity_between(source: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity that takes the two points of ``source`` (2, 2) to those of ``target`` (2, 2)."""
    a, b = (complex(*(p[1] - p[0])) for p in (source, target))
    ratio = b / a
    matrix = np.array([[ratio.real, -ratio.imag], [ratio.imag, ratio.real]])
    return Similarity(matrix, target[0] - matrix @ source[0])


def dense_grid(shape: tuple[int, int]) -> np.ndarray:
    """Pixel positions of an image of (height, width): float64 (H, W, 2)."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float64), np.arange(shape[0], dtype=np.float64))
    return np.stack([x, y], axis=-1)


class ThinPlateSpline:
    """The smoothest map of the plane that takes ``source`` points (n, 2) to ``target`` points (n, 2)."""

    def __init__(self, source: np.ndarray, target: np.ndarray):
        self._centre, self._unit = source.mean(axis=0), source.std()
        self._source = (source - self._centre) / self._unit
        n = len(source)
        affine = np.concatenate([np.ones((n, 1)), self._source], axis=1)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = self._kernel(self._source)
        system[:n, n:], system[n:, :n] = affine, affine.T
        self._weights = np.linalg.solve(system, np.concatenate([target - source, np.zeros((3, 2))]))

    def _kernel(self, points: np.ndarray) -> np.ndarray:
        square = ((points[:, None] - self._source[None]) ** 2).sum(axis=-1)
        return square * np.log(np.maximum(square, 1e-20))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (…, 2) → (…, 2)."""
        flat = (points.reshape(-1, 2) - self._centre) / self._unit
        basis = np.concatenate([self._kernel(flat), np.ones((len(flat), 1)), flat], axis=1)
        return points + (basis @ self._weights).reshape(points.shape)

    def on_grid(self, grid: np.ndarray, step: int = 6) -> np.ndarray:
        """`apply` on an axis-parallel grid (H, W, 2), computed on every ``step``-th row and column and splined."""
        rows, columns = (np.unique(np.append(np.arange(0, n, step), n - 1)) for n in grid.shape[:2])
        nodes = grid[np.ix_(rows, columns)]
        moved = self.apply(nodes) - nodes
        axes = np.arange(grid.shape[0]), np.arange(grid.shape[1])
        shift = [RectBivariateSpline(rows, columns, moved[..., i])(*axes) for i in (0, 1)]
        return grid + np.stack(shift, axis=-1)


def sample_image(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of ``image`` float32 (H, W[, C]) at ``points`` (h, w, 2): bicubic, the edge repeated outside."""
    x, y = (np.ascontiguousarray(points[..., i], dtype=np.float32) for i in (0, 1))
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def inverse_displacement(forward: np.ndarray, iterations: int = 8) -> np.ndarray:
    """Where each pixel's content comes from.

    Args:
        forward: float32 (H, W, 2); the content at x moves to x + forward(x).  Its differential must stay below 1.

    Returns:
        v, float32 (H, W, 2): the content at y comes from y + v(y), so that v(y) = −forward(y + v(y)),
        by fixed-point iteration.
    """
    height, width = forward.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    backward = -forward
    for _ in range(iterations):
        backward = -cv2.remap(
            forward, x + backward[..., 0], y + backward[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return backward
