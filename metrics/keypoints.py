"""Average key point distance (AKD) of two clips, and the jitter of the detector it is measured with.

A landmark detector moves its points on a face that does not move at all, by more than many micro-expressions; an
average key point distance is only worth what exceeds that jitter, so both are reported side by side.
All distances are pixels at 256×256: pixels of the frame × 256 / its longer side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .canonical import REFERENCE_SIZE, MetricError

CAMERA_NOISE = 1.0  # standard deviation, grey levels; that of the sample corpus and of a good camera
NOISY_COPIES = 8


def _check(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[-1] != 2 or len(points) < 2:
        raise MetricError(f"key points of a clip must be (T ≥ 2, N, 2), got {points.shape}")
    return points


def average_distance(generated: np.ndarray, truth: np.ndarray, frame_size: tuple[int, int]) -> float:
    """Mean distance of key points (T, N, 2) (x, y) over all points and frames 1 … T − 1, pixels at 256×256.

    Args:
        frame_size: (height, width) of the frames the pixels belong to.

    Raises:
        MetricError: sequences of different shapes, or of one frame.
    """
    generated, truth = _check(generated), _check(truth)
    if generated.shape != truth.shape:
        raise MetricError(f"key points of the two clips differ in shape: {generated.shape} and {truth.shape}")
    distance = np.linalg.norm(generated[1:] - truth[1:], axis=-1)
    return float(distance.mean()) * REFERENCE_SIZE / max(frame_size)


def jitter(points: np.ndarray, frame_size: tuple[int, int]) -> float:
    """Mean distance of key points (T, N, 2) of a still face from their mean positions, pixels at 256×256."""
    points = _check(points)
    return float(np.linalg.norm(points - points.mean(axis=0), axis=-1).mean()) * REFERENCE_SIZE / max(frame_size)


def detector_jitter(frame: np.ndarray, detect: Callable[[np.ndarray], np.ndarray]) -> float:
    """Jitter of ``detect`` on copies of one frame that differ by camera noise alone, pixels at 256×256.

    Args:
        frame: uint8 (H, W, 3) or (H, W).
        detect: the detector under test: clip (T, H, W, 3) or (T, H, W) → key points (T, N, 2), pixels.
    """
    grain = np.random.default_rng(0).normal(0.0, CAMERA_NOISE, (NOISY_COPIES, *frame.shape[:2]))
    noisy = frame + (grain[..., None] if frame.ndim == 3 else grain)
    return jitter(detect(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)), frame.shape[:2])
