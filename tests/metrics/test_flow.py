"""Flow, the robust fit of the head's motion, and the end-point error against the known motion of a sample clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.canonical import MetricError
from metrics.flow import (
    Similarity,
    clip_flow,
    end_point_error,
    fit_similarity,
    flow_settings,
    make_dis,
    moving_pixels,
)


def test_fit_finds_a_known_similarity_in_spite_of_outliers():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 200, (800, 2))
    truth = Similarity(np.array([1.5, -0.7]), 0.004, -0.003, points.mean(axis=0))
    flow = truth.at(points) + rng.normal(0, 0.02, points.shape)
    flow[:200] += rng.uniform(2, 5, (200, 2))  # a quarter of the points blinks
    found = fit_similarity(points, flow)
    assert found.shift == pytest.approx(truth.shift, abs=0.01)
    assert found.scale == pytest.approx(truth.scale, abs=1e-4)
    assert found.rotation == pytest.approx(truth.rotation, abs=1e-4)


def test_rotation_turns_x_towards_y():
    turn = Similarity(np.zeros(2), 0.0, 0.1, np.zeros(2))
    assert turn.at(np.array([[1.0, 0.0]])) == pytest.approx(np.array([[0.0, 0.1]]))
    growth = Similarity(np.zeros(2), 0.1, 0.0, np.array([1.0, 1.0]))
    assert growth.at(np.array([[3.0, 1.0]])) == pytest.approx(np.array([[0.2, 0.0]]))


def test_dis_measures_a_subpixel_shift(smile):
    grey = cv2.cvtColor(smile.frames[0], cv2.COLOR_RGB2GRAY)
    shift = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, -0.4]])
    moved = cv2.warpAffine(grey, shift, grey.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    flow = make_dis().calc(grey, moved, None)[64:192, 64:192]
    assert np.median(flow, axis=(0, 1)) == pytest.approx([0.6, -0.4], abs=0.1)


def test_the_settings_are_those_of_the_definition():
    assert flow_settings() == {
        "method": "DIS", "finest_scale": 0, "patch_size": 8, "patch_stride": 3,
        "gradient_descent_iterations": 25, "variational_iterations": 5,
    }  # fmt: skip


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
