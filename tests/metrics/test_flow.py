"""Flow and the robust fit of the head's motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.flow import Similarity, fit_similarity, flow_settings, make_dis


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
