"""The motion figures: numbers from two sets of regional curves.

Curves are arrays (R, T, 2): R regions, T distinct driving frames, motion since the onset in IOD, smoothed, 0 at
frame 0; ``m`` is the driving clip, ``g`` the generated one.  Source: shared definition ``metric.md`` §2, items 8, 9.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter1d

EPS = 0.003  # noise gate, IOD
ACTIVE_SHARE, ACTIVE_FLOOR = 0.35, 3 * EPS
INACTIVE_SHARE, INACTIVE_FLOOR = 0.25, 2 * EPS
APEX_SHARE = 0.7


def _length(curves: np.ndarray) -> np.ndarray:
    return np.linalg.norm(curves, axis=-1)


def _energy(curves: np.ndarray) -> float:
    return float(np.sum(curves * curves))


def _ratio(numerator: float, denominator: float) -> float:
    """0 when there is nothing to divide by: a driving clip that does not move at all."""
    return float(numerator / denominator) if denominator > 0 else 0.0


def split_regions(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) bool masks of the active and the inactive regions, from the driving curves alone.

    Active: peak ≥ 0.35 of the largest and ≥ 3 EPS, at least one.  Inactive: peak < 0.25 of the largest or < 2 EPS.
    """
    peak = _length(m).max(axis=1)
    active = (peak >= ACTIVE_SHARE * peak.max()) & (peak >= ACTIVE_FLOOR)
    if not active.any():
        active[int(peak.argmax())] = True
    inactive = (peak < INACTIVE_SHARE * peak.max()) | (peak < INACTIVE_FLOOR)
    return active, inactive & ~active


def gated_correlation(m: np.ndarray, g: np.ndarray, eps: float) -> float:
    """Σ m·g / sqrt(Σ‖m‖² · max(Σ‖g‖², min(Σ‖m‖², eps²·n))) over n vectors: noise does not correlate."""
    energy_m, energy_g = _energy(m), _energy(g)
    floor = min(energy_m, eps**2 * m[..., 0].size)
    return _ratio(float(np.sum(m * g)), math.sqrt(energy_m * max(energy_g, floor)))


def direction(m: np.ndarray, g: np.ndarray) -> float:
    """Mean cosine between the motions, weighted by max(‖m‖ − EPS, 0)."""
    length = _length(m)
    weight = np.maximum(length - EPS, 0.0)
    scale = length * np.maximum(_length(g), EPS)
    cosine = np.sum(m * g, axis=-1) / np.where(scale > 0, scale, 1.0)
    return _ratio(float(np.sum(weight * cosine)), float(np.sum(weight)))


def velocity_correlation(m: np.ndarray, g: np.ndarray) -> float:
    """Gated correlation (EPS/8) of the frame-to-frame motion, smoothed once more (σ = 1)."""
    change_m, change_g = (gaussian_filter1d(np.diff(curves, axis=1), 1.0, axis=1, mode="nearest") for curves in (m, g))
    return gated_correlation(change_m, change_g, EPS / 8)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() <= 0 or b.std() < EPS / 4:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def time_correlations(m: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Pearson correlation in time, averaged over regions with weight Σ‖m_r‖².

    Returns:
        that of the motion's length, and that of its projection on the main driving direction (first right
        singular vector of ``m_r``).
    """
    weight, length, projection = [], [], []
    for own, other in zip(m, g, strict=True):
        main = np.linalg.svd(own, full_matrices=False)[2][0]
        weight.append(_energy(own))
        length.append(_pearson(_length(own), _length(other)))
        projection.append(_pearson(own @ main, other @ main))
    total = sum(weight)
    return _ratio(float(np.dot(weight, length)), total), _ratio(float(np.dot(weight, projection)), total)


def timing_errors(m: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Distance in frames of the apices, and of the first frames at half of the peak, of the RMS motion.

    Both are the number of frames if the generated motion never exceeds EPS.
    """
    rms_m, rms_g = (np.sqrt(np.mean(np.sum(curves**2, axis=-1), axis=0)) for curves in (m, g))
    if rms_g.max() <= EPS:
        return float(m.shape[1]), float(m.shape[1])
    apex = abs(int(rms_m.argmax()) - int(rms_g.argmax()))
    half = abs(int(np.argmax(rms_m >= rms_m.max() / 2)) - int(np.argmax(rms_g >= rms_g.max() / 2)))
    return float(apex), float(half)


def apex_correlation(m: np.ndarray, g: np.ndarray) -> float:
    """rho of the mean vectors of the frames whose driving energy reaches 70 % of its peak."""
    energy = np.sum(m**2, axis=(0, 2))
    at_apex = energy >= APEX_SHARE * energy.max()
    return gated_correlation(m[:, at_apex].mean(axis=1), g[:, at_apex].mean(axis=1), EPS)


def expression_figures(m: np.ndarray, g: np.ndarray, active: np.ndarray, inactive: np.ndarray) -> dict[str, float]:
    """All figures of the regions other than the eyelids, in IOD; ``active`` and ``inactive`` are (R,) bool."""
    own, other = m[active], g[active]
    energy = _energy(own)
    rms = math.sqrt(energy / own[..., 0].size)
    apex_err, half_err = timing_errors(own, other)
    tcor, tcor_proj = time_correlations(own, other)
    quiet = g[inactive]
    return {
        "rho": gated_correlation(m, g, EPS),
        "vcor": velocity_correlation(own, other),
        "gain": _ratio(float(np.sum(own * other)), energy),
        "skill": 1.0 - _ratio(_energy(g - m), _energy(m)) if _energy(m) > 0 else 0.0,
        "dir": direction(m, g),
        "leak": _ratio(math.sqrt(_energy(quiet) / quiet[..., 0].size), rms) if inactive.any() else math.nan,
        "apex_err": apex_err,
        "half_err": half_err,
        "rho_rel": gated_correlation(m - m.mean(axis=0), g - g.mean(axis=0), EPS),
        "rho_apex": apex_correlation(m, g),
        "amp": math.sqrt(_ratio(_energy(other), energy)),
        "tcor": tcor,
        "tcor_proj": tcor_proj,
        "leak_frac": _ratio(_energy(quiet), _energy(g)) if inactive.any() else math.nan,
        "jump": _ratio(float(np.sqrt(np.mean(np.sum(g[:, 1] ** 2, axis=-1)))), rms),
        "snr": float(_length(m).max() / EPS),
    }


def lid_figures(m: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """The eyelids apart: NaN where no eyelid lies in the picture."""
    if not len(m):
        return dict.fromkeys(("lid_rho", "lid_gain", "lid_peak"), math.nan)
    return {
        "lid_rho": gated_correlation(m, g, EPS),
        "lid_gain": _ratio(float(np.sum(m * g)), _energy(m)),
        "lid_peak": float(_length(m).max()),
    }
