"""Optical flow from the onset frame, and the head's share of it.

Source: shared definition ``metric.md`` §2, items 5 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

IRLS_ITERATIONS = 12
TUKEY = 4.685
RAYLEIGH_MEDIAN = 1.177  # median length of a two-dimensional residual whose components have σ = 1


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


def _weighted_similarity(offset: np.ndarray, flow: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Least squares (tx, ty, scale, rotation) for flow (n, 2) at offset (n, 2), by the normal equations."""
    x, y, u, v = offset[:, 0], offset[:, 1], flow[:, 0], flow[:, 1]
    total, mean_x, mean_y = weight.sum(), weight @ x, weight @ y
    spread = weight @ (x * x + y * y)
    normal = np.array(
        [
            [total, 0.0, mean_x, -mean_y],
            [0.0, total, mean_y, mean_x],
            [mean_x, mean_y, spread, 0.0],
            [-mean_y, mean_x, 0.0, spread],
        ]
    )
    right = np.array([weight @ u, weight @ v, weight @ (x * u + y * v), weight @ (x * v - y * u)])
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
    offset = points - centre
    weight = np.ones(len(points))
    for _ in range(IRLS_ITERATIONS):
        model = _as_similarity(_weighted_similarity(offset, flow, weight), centre)
        length = np.linalg.norm(flow - model.at(points), axis=1)
        cut = TUKEY * (1.4826 * np.median(length) / RAYLEIGH_MEDIAN + 1e-3)
        weight = np.where(length < cut, (1.0 - (length / cut) ** 2) ** 2, 0.0)
    return _as_similarity(_weighted_similarity(offset, flow, weight), centre)


def _as_similarity(parameters: np.ndarray, centre: np.ndarray) -> Similarity:
    return Similarity(parameters[:2], float(parameters[2]), float(parameters[3]), centre)
