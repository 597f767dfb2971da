"""The figures on curves written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metrics import figures
from metrics.figures import EPS


def curves(*peaks: tuple[float, float], frames: int = 21) -> np.ndarray:
    """(R, T, 2): each region rises to its peak in the middle and falls back, along a straight line."""
    rise = np.sin(np.linspace(0, np.pi, frames))[None, :, None]
    return np.array(peaks)[:, None, :] * rise


SMILE = curves((0.03, -0.04), (-0.03, -0.04), (0.0, 0.002), (0.0, 0.0))


def test_regions_split_by_their_driving_peaks():
    m = curves((0.04, 0.0), (0.015, 0.0), (0.011, 0.0), (0.009, 0.0), (0.002, 0.0))
    active, inactive = figures.split_regions(m)
    assert active.tolist() == [True, True, False, False, False]  # 0.015 ≥ 0.35·0.04 > 0.011
    assert inactive.tolist() == [False, False, False, True, True]  # 0.011 lies between the two limits
    weak, _ = figures.split_regions(curves((0.001, 0.0), (0.002, 0.0)))
    assert weak.tolist() == [False, True]  # at least one, the largest


def test_gated_correlation_is_free_of_amplitude_and_deaf_to_noise():
    assert figures.gated_correlation(SMILE, SMILE, EPS) == pytest.approx(1.0)
    assert figures.gated_correlation(SMILE, 0.3 * SMILE, EPS) == pytest.approx(1.0)
    assert figures.gated_correlation(SMILE, -SMILE, EPS) == pytest.approx(-1.0)
    assert figures.gated_correlation(SMILE, 1e-5 * SMILE, EPS) < 0.02  # below the gate
    assert figures.gated_correlation(SMILE, np.zeros_like(SMILE), EPS) == 0.0
    assert figures.gated_correlation(np.zeros_like(SMILE), SMILE, EPS) == 0.0


def test_direction_is_a_weighted_cosine():
    turned = SMILE @ np.array([[0.5, np.sqrt(0.75)], [-np.sqrt(0.75), 0.5]])  # by 60 degrees
    assert figures.direction(SMILE, SMILE) == pytest.approx(1.0, abs=0.02)
    assert figures.direction(SMILE, turned) == pytest.approx(0.5, abs=0.02)
    assert figures.direction(SMILE, -2 * SMILE) == pytest.approx(-1.0, abs=0.02)


def test_gain_amp_and_skill_of_a_scaled_copy():
    active, inactive = figures.split_regions(SMILE)
    found = figures.expression_figures(SMILE, 0.5 * SMILE, active, inactive)
    assert found["gain"] == found["amp"] == pytest.approx(0.5)
    assert found["skill"] == pytest.approx(0.75)
    backwards = figures.expression_figures(SMILE, -SMILE, active, inactive)
    assert backwards["gain"] == pytest.approx(-1.0)
    assert backwards["amp"] == pytest.approx(1.0)
    assert backwards["skill"] == pytest.approx(-3.0)


def test_leak_counts_motion_of_regions_that_should_keep_still():
    active, inactive = figures.split_regions(SMILE)
    leaking = SMILE.copy()
    leaking[2:] = SMILE[:2]
    clean = figures.expression_figures(SMILE, SMILE, active, inactive)
    dirty = figures.expression_figures(SMILE, leaking, active, inactive)
    assert clean["leak"] < 0.05
    assert dirty["leak"] == pytest.approx(1.0)
    assert dirty["leak_frac"] == pytest.approx(0.5)
    assert dirty["gain"] == pytest.approx(clean["gain"])  # gain looks at active regions alone
    assert dirty["rho"] < 0.75 * clean["rho"]
    nowhere = figures.expression_figures(SMILE[:2], SMILE[:2], np.array([True, True]), np.array([False, False]))
    assert np.isnan(nowhere["leak"]) and np.isnan(nowhere["leak_frac"])


def test_timing_errors_in_frames():
    later = np.roll(SMILE, 4, axis=1)
    later[:, :4] = 0.0
    assert figures.timing_errors(SMILE[:2], SMILE[:2]) == (0.0, 0.0)
    assert figures.timing_errors(SMILE[:2], later[:2]) == (4.0, 4.0)
    assert figures.timing_errors(SMILE[:2], np.zeros_like(SMILE[:2])) == (21.0, 21.0)
    assert figures.velocity_correlation(SMILE[:2], later[:2]) < 0.6
    assert figures.velocity_correlation(SMILE[:2], SMILE[:2]) == pytest.approx(1.0)


def test_time_correlations_ignore_direction_or_not():
    length, projection = figures.time_correlations(SMILE[:2], -SMILE[:2])
    assert length == pytest.approx(1.0)
    assert projection == pytest.approx(-1.0)
    assert figures.time_correlations(SMILE[:2], 0.01 * SMILE[:2]) == (0.0, 0.0)  # noise has no correlation


def test_rho_rel_is_blind_to_a_motion_common_to_all_regions():
    common = SMILE + curves((0.02, 0.02))
    active, inactive = figures.split_regions(SMILE)
    found = figures.expression_figures(SMILE, common, active, inactive)
    assert found["rho_rel"] == pytest.approx(1.0)
    assert found["rho"] < 0.9


def test_eyelids_missing_from_the_picture_give_no_figure():
    assert all(np.isnan(value) for value in figures.lid_figures(SMILE[:0], SMILE[:0]).values())
