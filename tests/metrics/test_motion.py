"""The motion figures on clips whose motion is known; `test_sanity` has what they must do at least."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.canonical import CANVAS_HEIGHT, CANVAS_WIDTH, IOD, REGIONS, MetricError, canonical_frame, locate_face
from metrics.flow import make_dis
from metrics.motion import FIGURES, _Samples, compare_motion, measure_motion

from .conftest import make_clip, measure, score


def test_the_measured_motion_is_the_true_one(smile, smile_motion):
    """Mouth corner: mean of the true local displacement over the region's disc, in IOD, at the apex."""
    corner = smile.landmarks[54] + [0.03 * smile.iod, 0.0]
    rows, columns = np.mgrid[: smile.frames.shape[1], : smile.frames.shape[2]]
    inside = np.hypot(columns - corner[0], rows - corner[1]) <= 0.13 * smile.iod
    true = smile.local_flow[smile.apex][inside].mean(axis=0) / smile.iod
    measured = smile_motion.curves[REGIONS.index("mouth_R"), smile.apex]
    assert np.linalg.norm(measured - true) < 0.3 * np.linalg.norm(true)  # DIS loses 4–17 % (metric.md §4)


def test_a_turn_of_the_head_is_no_expression(smile):
    """A similarity of the whole picture is the head's in every region and in every cell of the map."""
    samples = _Samples(locate_face(smile.landmarks, *smile.frames.shape[1:3]))
    y, x = np.mgrid[:CANVAS_HEIGHT, :CANVAS_WIDTH]
    x, y = x - samples.head_points[:, 0].mean(), y - samples.head_points[:, 1].mean()
    flow = np.stack([3 + 0.02 * x - 0.01 * y, -2 + 0.01 * x + 0.02 * y], axis=-1).astype(np.float32)
    curves, raw, head, cells = samples.read(flow)
    assert max(np.abs(curves).max(), np.abs(cells).max()) < 1e-4 < np.abs(raw).min()
    assert head == pytest.approx([3 / IOD, -2 / IOD, 0.02, 0.01], abs=1e-5)


def test_another_face_with_the_same_movement_scores_high(smile_motion, other_face):
    figures = score(smile_motion, other_face.frames, other_face.landmarks).figures
    assert figures["rho"] > 0.8
    assert 0.7 < figures["gain"] < 1.3


def test_size_colour_and_place_in_the_picture_do_not_matter(smile, smile_motion):
    bigger = np.stack([cv2.resize(f, (384, 384), interpolation=cv2.INTER_CUBIC) for f in smile.frames])
    grey = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in smile.frames])
    figures = score(smile_motion, bigger, (smile.landmarks + 0.5) * 1.5 - 0.5).figures
    assert figures["rho"] > 0.97
    assert figures["gain"] == pytest.approx(1.0, abs=0.05)
    assert figures["gain_px"] == pytest.approx(1.5 * figures["gain"], rel=1e-6)
    assert score(smile_motion, grey, smile.landmarks).figures["rho"] == pytest.approx(1.0, abs=1e-6)


def test_a_clip_that_hardly_moves_is_unreliable(smile):
    weak = make_clip(amplitude_px=0.3, noise=0.2)
    assert not compare_motion(measure(weak), measure(weak)).reliable


def test_eyelids_are_left_out_of_every_figure_but_their_own(smile_motion):
    blink = smile_motion.curves.copy()
    for lid in ("lid_L", "lid_R"):
        blink[REGIONS.index(lid)] += 0.1
    with_blink = type(smile_motion)(**{**vars(smile_motion), "curves": blink})
    plain = compare_motion(smile_motion, smile_motion).figures
    blinking = compare_motion(smile_motion, with_blink).figures
    for name in FIGURES:
        if name.startswith("lid_"):
            continue
        assert blinking[name] == pytest.approx(plain[name]), name
    assert blinking["lid_gain"] != pytest.approx(plain["lid_gain"], abs=0.1)


def test_a_region_outside_the_picture_is_dropped(smile):
    lower = int(smile.landmarks[57, 1]) + 4  # cut through the lower lip: the chin is gone
    cut = smile.frames[:, :lower]
    result = compare_motion(measure_motion(cut, smile.landmarks), measure_motion(smile.frames, smile.landmarks))
    assert "chin" not in result.driving
    assert "mouth_R" in result.driving


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), "T ≥ 2"),
        (np.zeros((3, 64, 64, 3), np.float32), "uint8"),
        (np.zeros((3, 256, 256, 3), np.uint8), "no contrast"),
    ],
)
def test_clips_that_cannot_be_measured_say_why(smile, frames, message):
    with pytest.raises(MetricError, match=message):
        measure_motion(frames, smile.landmarks)


def test_landmarks_that_do_not_fit_say_why(smile):
    with pytest.raises(MetricError, match="68"):
        measure_motion(smile.frames, smile.landmarks[:10])
    with pytest.raises(MetricError, match="pixels apart"):
        measure_motion(smile.frames, smile.landmarks * 0.01)
    with pytest.raises(MetricError, match="outside the picture"):
        measure_motion(smile.frames, smile.landmarks + 1000)


def test_equal_frames_do_not_move_whatever_the_flow_would_say(smile):
    """The shortcut for frames equal to the onset gives what the flow gives."""
    grey = canonical_frame(smile.frames[0], locate_face(smile.landmarks, *smile.frames.shape[1:3]))
    assert np.abs(make_dis().calc(grey, grey, None)).max() == 0.0
