"""Motion fields in a clip's own pixels: measured flow, end-point error, the regions that move."""

from __future__ import annotations

import math

import numpy as np

from .canonical import MetricError, to_grey
from .flow import make_dis

MOVING_PX = 0.25  # displacement that counts as movement, pixels at 256×256
REFERENCE_SIZE = 256


def clip_flow(frames: np.ndarray) -> np.ndarray:
    """Flow from frame 0 to every frame: (T, H, W, 2) float32, (x, y) pixels, 0 for frame 0 (DIS, see `flow`).

    ``frames``: uint8 (T, H, W, 3) or (T, H, W).
    """
    dis, onset = make_dis(), to_grey(frames[0])
    flows = np.zeros((*np.shape(frames)[:3], 2), np.float32)
    for t in range(1, len(frames)):
        flows[t] = dis.calc(onset, to_grey(frames[t]), None)
    return flows


def moving_pixels(flow: np.ndarray, threshold: float = MOVING_PX) -> np.ndarray:
    """Bool (T, H, W): where a field (T, H, W, 2) in pixels moves by at least ``threshold`` px at 256×256."""
    return np.linalg.norm(flow, axis=-1) >= threshold * max(flow.shape[1:3]) / REFERENCE_SIZE


def end_point_error(flow: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean distance of two motion fields (T, H, W, 2), pixels at 256×256, over frames 1 … T − 1.

    Args:
        mask: bool (T, H, W) or (H, W), the pixels that count; all by default.

    Returns:
        the error, NaN where no pixel counts.

    Raises:
        MetricError: fields of different shapes, or of one frame.
    """
    if flow.shape != truth.shape or flow.ndim != 4 or flow.shape[-1] != 2 or len(flow) < 2:
        raise MetricError(f"two fields of one shape (T ≥ 2, H, W, 2) are needed, got {flow.shape} and {truth.shape}")
    error = np.linalg.norm(flow[1:].astype(np.float64) - truth[1:], axis=-1)
    if mask is not None:
        counted = np.broadcast_to(mask[1:] if mask.ndim == 3 else mask, error.shape)
        error = error[counted]
    if error.size == 0:
        return math.nan
    return float(error.mean()) * REFERENCE_SIZE / max(flow.shape[1:3])
