"""Rates from the times of frames: constant, varying, with pauses, or unknown."""

from __future__ import annotations

import numpy as np
import pytest

from media.timing import describe_variation, rate_of_delays, rate_of_times


@pytest.mark.parametrize(
    ("delays", "expected"),
    [
        ([20] * 10, 50),
        ([20] * 9 + [2000], 50),  # a pause before the clip begins again
        ([20] * 4 + [2000] + [20] * 5, 50),  # or at the apex
        ([30, 30, 40] * 3, 30),  # 30 frames a second in hundredths
        ([1000] * 4, 1),
        ([3000, 1000, 1000], 0.6),
        ([10] * 3, 100),
        ([0, 20, 20], 50),  # a delay of 0 says nothing
        ([0, 0], None),
        ([], None),
    ],
)
def test_rate_of_delays(delays, expected):
    assert rate_of_delays(delays) == (expected if expected is None else pytest.approx(expected))


def test_constant_rates_are_as_declared():
    """Though clocks of milliseconds round the times."""
    for rate, tick in ((30000 / 1001, 1e-3), (200, 1e-3), (1000, 1e-3), (25, 1 / 12800)):
        times = 0.5 + np.round(np.arange(50) / rate / tick) * tick
        assert rate_of_times(times, 0.0, tick, rate) == rate
        assert describe_variation(np.diff(times), rate, tick) == ""


def test_varying_rates_are_frames_over_duration():
    steps = np.array([1 / 30] * 5 + [1 / 24] * 5)
    times = np.cumsum(steps) - steps[0]
    fps = rate_of_times(times, 1 / 24, 1 / 90000, 120.0)
    assert len(times) / fps == pytest.approx(times[-1] + 1 / 24)
    assert describe_variation(np.diff(times), fps) == (
        f"its frame rate varies (33.33 to 41.67 ms a frame): read as {fps:.4g} frames a second"
    )


@pytest.mark.parametrize("last", [0.0, 2.0])
def test_a_pause_of_the_last_frame_does_not_count(last):
    assert rate_of_times(np.arange(10) * 0.02, last, 1e-5, 120.0) == pytest.approx(50)


def test_small_jitter_needs_no_mention():
    times = np.arange(20) / 30 + np.tile([0, 0.001], 10)
    fps = rate_of_times(times, 1 / 30, 1e-5, 30.0)
    assert fps == pytest.approx(30, rel=0.01)
    assert describe_variation(np.diff(times), fps) == ""


def test_one_frame_has_the_declared_rate():
    assert rate_of_times(np.zeros(1), 0.04, 1e-3, 25.0) == 25
    assert rate_of_times(np.zeros(1), 0.04, 1e-3, None) is None
