"""Which generated frame belongs to which driving frame."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.canonical import MetricError
from metrics.motion import compare_motion, measure_motion
from metrics.timing import align_frames, distinct_frames, evenly_spaced, resample

ALL = np.arange(77)


def test_repeated_frames_are_recognised():
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    frames[2:] = 1
    frames[5] = 0  # as frame 0, but not as its predecessor
    assert distinct_frames(frames).tolist() == [0, 2, 5]


def test_frames_are_taken_evenly_with_both_ends():
    assert evenly_spaced(80, 5).tolist() == [0, 20, 40, 59, 79]
    assert evenly_spaced(3, 60).tolist() == [0, 1, 2]
    assert evenly_spaced(7, 1).tolist() == [0]


def test_equal_counts_go_frame_by_frame_whatever_the_rates():
    distinct = np.array([0, 3, 5])
    aligned = align_frames(distinct, 77, 77, 200.0, 25.0)
    assert aligned.indices.tolist() == aligned.times.tolist() == [0, 3, 5]


def test_other_rates_go_by_time():
    aligned = align_frames(ALL, 77, 39, 200.0, 100.0)
    assert aligned.rule == "frame rates"
    assert aligned.times[:3].tolist() == [0, 2, 4]
    assert aligned.times[-1] == 76


def test_every_fifth_frame_of_mraa_without_rates():
    aligned = align_frames(ALL, 77, 16)
    assert aligned.rule == "one frame in 5"
    assert aligned.times.tolist() == list(range(0, 76, 5))
    assert align_frames(ALL, 77, 39, 200.0).rule == "one frame in 2", "one rate alone says nothing"


def test_a_clip_without_the_driving_clips_repeats():
    aligned = align_frames(np.array([0, 3, 5]), 77, 3)
    assert aligned.rule == "distinct frames"
    assert aligned.times.tolist() == [0, 3, 5]


def test_a_result_slowed_down_by_repeats_is_recognised():
    doubled = np.arange(0, 154, 2)  # 77 frames, each twice
    aligned = align_frames(ALL, 77, 154, 100.0, 50.0, doubled)
    assert aligned.rule == "without repeats"
    assert np.array_equal(aligned.indices, doubled) and np.array_equal(aligned.times, ALL)
    some = np.arange(0, 77, 5)  # the driving clip's own distinct frames
    aligned = align_frames(some, 77, 160, None, None, np.arange(0, 160, 10))
    assert aligned.rule == "without repeats" and np.array_equal(aligned.times, some)
    assert align_frames(ALL, 77, 154, None, None, np.arange(154)).rule == "spread evenly"


def test_anything_else_is_spread_evenly():
    aligned = align_frames(ALL, 77, 60, 100.0, 25.0)
    assert aligned.rule == "spread evenly"
    assert aligned.times[0] == 0 and aligned.times[-1] == 76
    assert align_frames(ALL, 77, 43, 200.0, 100.0).rule == "spread evenly", "12 % longer"
    assert align_frames(ALL, 77, 2).times.tolist() == [0, 76], "many strides give two frames"


def test_times_never_pass_the_driving_clips_end():
    aligned = align_frames(ALL, 77, 42, 200.0, 100.0)  # 0.42 s for 0.385 s
    assert aligned.rule == "frame rates"
    assert aligned.times.max() == 76
    assert np.all(np.diff(aligned.times) > 0)
    assert len(aligned.indices) == len(aligned.times)


@pytest.mark.parametrize(("distinct", "generated"), [(ALL[:1], 77), (ALL, 1)])
def test_a_single_frame_is_refused(distinct, generated):
    with pytest.raises(MetricError, match="one"):
        align_frames(distinct, 77, generated)


def test_resampling_is_linear_and_holds_the_ends():
    curve = np.array([[[0.0, 0.0], [2.0, 4.0]]])
    found = resample(curve, np.array([0.0, 2.0]), np.array([-1.0, 0.5, 2.0, 3.0]))
    assert found[0].tolist() == [[0, 0], [0.5, 1.0], [2, 4], [2, 4]]


def test_half_the_frames_give_nearly_the_same_figures(smile, smile_motion):
    half = smile.frames[::2]
    aligned = align_frames(np.arange(len(smile.frames)), len(smile.frames), len(half), 100.0, 50.0)
    found = compare_motion(smile_motion, measure_motion(half[aligned.indices], smile.landmarks, aligned.times)).figures
    assert found["rho"] > 0.95
    assert found["gain"] == pytest.approx(1.0, abs=0.1)


def test_a_result_with_repeats_gives_the_figures_of_the_one_without(smile, smile_motion):
    slowed = np.repeat(smile.frames, 3, axis=0)
    aligned = align_frames(
        np.arange(len(smile.frames)), len(smile.frames), len(slowed), generated_distinct=distinct_frames(slowed)
    )
    motion = measure_motion(slowed[aligned.indices], smile.landmarks, aligned.times)
    found = compare_motion(smile_motion, motion).figures
    assert found["skill"] == found["vcor"] == pytest.approx(1.0)


def test_a_driving_clip_with_repeats_gives_the_figures_of_the_one_without(smile, smile_motion):
    repeated = np.repeat(smile.frames, 2, axis=0)
    distinct = distinct_frames(repeated)
    motion = measure_motion(repeated[distinct], smile.landmarks, distinct)
    aligned = align_frames(distinct, len(repeated), len(repeated))
    found = compare_motion(motion, measure_motion(repeated[aligned.indices], smile.landmarks, aligned.times)).figures
    assert found["skill"] == pytest.approx(1.0)
    assert found["snr"] == pytest.approx(compare_motion(smile_motion, smile_motion).figures["snr"])
