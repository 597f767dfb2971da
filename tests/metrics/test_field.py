"""End-point error against the known motion of a sample clip."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.canonical import MetricError
from metrics.field import clip_flow, end_point_error, moving_pixels


def test_end_point_error_of_a_known_offset():
    truth = np.zeros((3, 128, 128, 2))
    wrong = truth + [0.3, 0.4]
    assert end_point_error(truth, truth) == 0.0
    assert end_point_error(wrong, truth) == pytest.approx(0.5 * 256 / 128)  # pixels at 256×256
    wrong[0] = 99.0  # frame 0 is never counted
    assert end_point_error(wrong, truth) == pytest.approx(1.0)
    mask = np.zeros((128, 128), bool)
    assert np.isnan(end_point_error(wrong, truth, mask))
    with pytest.raises(MetricError, match="one shape"):
        end_point_error(truth, truth[:2])


def test_measured_flow_comes_near_the_true_one(smile):
    frames = smile.frames[[0, smile.apex]]
    truth = smile.flow[[0, smile.apex]]
    moving = moving_pixels(truth)
    assert 0.1 < moving[1].mean() < 0.9  # the head drifts, the background rests
    error = end_point_error(clip_flow(frames), truth, moving)
    still = end_point_error(np.zeros_like(truth), truth, moving)
    assert error < 0.35 * still


def test_movement_is_judged_at_256_pixels():
    flow = np.zeros((2, 512, 512, 2))
    flow[1, :, :256] = [0.4, 0.0]  # 0.2 px at 256×256
    flow[1, :, 256:] = [0.6, 0.0]
    assert moving_pixels(flow)[1, 0, [0, 500]].tolist() == [False, True]
