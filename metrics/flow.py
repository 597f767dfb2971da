"""Optical flow from the onset frame, the head's share of it, and its distance from a known motion field.

Source: shared definition ``metric.md`` §2, items 5 and 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .canonical import REFERENCE_SIZE, CanonicalFace, MetricError, canonical_frame, fit_stretch, to_grey

IRLS_ITERATIONS = 12
TUKEY = 4.685
RAYLEIGH_MEDIAN = 1.177  # median length of a two-dimensional residual whose components have σ = 1
MOVING_PX = 0.25  # displacement that counts as movement, pixels at 256×256


def make_dis() -> cv2.DISOpticalFlow:
    """DIS flow (Kroeger et al., ECCV 2016): preset MEDIUM with every number that matters set, finest scale 0.

    One object serves one thread at a time.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setPatchSize(8)
    dis.setPatchStride(3)
    dis.setGradientDescentIterations(25)
    dis.setVariationalRefinementIterations(5)
    return dis


def flow_settings() -> dict[str, int | str]:
    """The settings of :func:`make_dis` as OpenCV reports them back, for the record of an evaluation."""
    dis = make_dis()
    return {
        "method": "DIS",
        "finest_scale": dis.getFinestScale(),
        "patch_size": dis.getPatchSize(),
        "patch_stride": dis.getPatchStride(),
        "gradient_descent_iterations": dis.getGradientDescentIterations(),
        "variational_iterations": dis.getVariationalRefinementIterations(),
    }


def canonical_flows(frames: np.ndarray, face: CanonicalFace) -> Iterator[np.ndarray]:
    """Flow from frame 0 to every frame, itself included: (288, 256, 2) canonical pixels (x, y), 0 for equal frames.

    ``frames``: uint8 (T, H, W, 3) or (T, H, W).
    """
    onset = canonical_frame(frames[0], face)
    stretch, dis = fit_stretch(onset, face), make_dis()
    onset = stretch.apply(onset)
    for frame in frames:
        if np.array_equal(frame, frames[0]):
            yield np.zeros((*onset.shape, 2), np.float32)  # what the flow of equal frames is
        else:
            yield dis.calc(onset, stretch.apply(canonical_frame(frame, face)), None)


def clip_flow(frames: np.ndarray) -> np.ndarray:
    """Flow from frame 0 to every frame: (T, H, W, 2) float32, (x, y) pixels of its own, 0 for frame 0.

    ``frames``: uint8 (T, H, W, 3) or (T, H, W).
    """
    dis, onset = make_dis(), to_grey(frames[0])
    flows = np.zeros((*np.shape(frames)[:3], 2), np.float32)
    for t in range(1, len(frames)):
        flows[t] = dis.calc(onset, to_grey(frames[t]), None)
    return flows


def moving_pixels(flow: np.ndarray) -> np.ndarray:
    """Bool (T, H, W): where a field (T, H, W, 2) in pixels moves by at least 0.25 px at 256×256."""
    return np.linalg.norm(flow, axis=-1) >= MOVING_PX * max(flow.shape[1:3]) / REFERENCE_SIZE


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


@dataclass(frozen=True)
class Similarity:
    """A small motion u(p) = t + (p − c)·[scale, rotation]: linearised similarity about ``centre``.

    Attributes:
        shift: (2,) pixels (x, y) at the centre.
        scale: relative growth (0 = none).
        rotation: radians, positive turns x towards y (clockwise on the screen).
        centre: (2,) pixels (x, y).
    """

    shift: np.ndarray
    scale: float
    rotation: float
    centre: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """Displacement in pixels (..., 2) at points (..., 2), (x, y)."""
        offset = np.asarray(points, np.float64) - self.centre
        turned = np.stack([-offset[..., 1], offset[..., 0]], axis=-1)
        return self.shift + self.scale * offset + self.rotation * turned


def _solve(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares (tx, ty, scale, rotation) for flow (u, v) at offsets (x, y), by the normal equations."""
    weighted_x, weighted_y = weight * x, weight * y
    mean_x, mean_y, total = weighted_x.sum(), weighted_y.sum(), weight.sum()
    spread = weighted_x @ x + weighted_y @ y
    normal = np.array(
        [
            [total, 0.0, mean_x, -mean_y],
            [0.0, total, mean_y, mean_x],
            [mean_x, mean_y, spread, 0.0],
            [-mean_y, mean_x, 0.0, spread],
        ]
    )
    right = [weight @ u, weight @ v, weighted_x @ u + weighted_y @ v, weighted_x @ v - weighted_y @ u]
    return np.linalg.solve(normal, right)


def fit_similarity(points: np.ndarray, flow: np.ndarray) -> Similarity:
    """Robust similarity motion by iteratively reweighted least squares (Tukey's biweight).

    Args:
        points: (n, 2) pixels (x, y).  flow: (n, 2) displacement there, pixels.

    The scale is s = 1.4826 · median residual length / 1.177 + 0.001 px, the cut 4.685 s; unweighted least squares,
    then 12 reweightings.  (The definition says "MAD of the residual length"; read as the median length itself, the
    published figures are met, as the spread of the lengths about their median they are not.)
    """
    points, flow = np.asarray(points, np.float64), np.asarray(flow, np.float64)
    centre = points.mean(axis=0)
    x, y = np.ascontiguousarray((points - centre).T)
    u, v = np.ascontiguousarray(flow.T)
    tx, ty, scale, rotation = _solve(x, y, u, v, np.ones(len(points)))
    for _ in range(IRLS_ITERATIONS):
        length = np.hypot(u - (tx + scale * x - rotation * y), v - (ty + scale * y + rotation * x))
        cut = TUKEY * (1.4826 * np.median(length) / RAYLEIGH_MEDIAN + 1e-3)
        weight = np.maximum(1.0 - (length / cut) ** 2, 0.0) ** 2
        tx, ty, scale, rotation = _solve(x, y, u, v, weight)
    return Similarity(np.array([tx, ty]), float(scale), float(rotation), centre)
