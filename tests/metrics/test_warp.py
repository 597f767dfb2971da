"""The yardsticks as clips."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.motion import compare_motion, measure_motion
from metrics.warp import still_clip, warp_clip


def warped(target, driving, **options):
    return np.stack(list(warp_clip(target.frames[0], target.landmarks, driving.frames, driving.landmarks, **options)))


def test_still_is_the_target_repeated(smile):
    frames = still_clip(smile.frames[0], 5)
    assert frames.shape == (5, *smile.frames[0].shape)
    assert np.array_equal(frames[3], smile.frames[0])


def test_warp_is_the_ceiling_on_another_face(smile, smile_motion, other_face):
    frames = warped(other_face, smile)
    assert np.array_equal(frames[0], other_face.frames[0])
    assert frames.shape == smile.frames.shape and frames.dtype == np.uint8
    figures = compare_motion(smile_motion, measure_motion(frames, other_face.landmarks)).figures
    assert figures["rho"] > 0.9
    assert figures["skill"] > 0.75
    assert 0.75 < figures["gain"] < 1.1


def test_amplitude_scales_the_expression_and_leaves_the_head(smile, smile_motion, other_face):
    gains, heads = [], []
    for amplitude in (0.0, 0.5, 1.0, 2.0):
        motion = measure_motion(warped(other_face, smile, amplitude=amplitude), other_face.landmarks)
        gains.append(compare_motion(smile_motion, motion).figures["gain"])
        heads.append(motion.head[-1])
    assert gains[0] == pytest.approx(0.0, abs=0.06)
    assert gains[1] / gains[2] == pytest.approx(0.5, rel=0.1)
    assert gains[3] / gains[2] == pytest.approx(2.0, rel=0.1)
    assert heads[3] == pytest.approx(heads[0], abs=2e-3)


def test_the_head_can_be_left_out(smile, other_face):
    frames = warped(other_face, smile, amplitude=0.0, head=False)
    assert np.abs(frames.astype(int) - other_face.frames[0]).max() <= 1
