"""Scores on a face: peaks, tracks, and sample clips played from their own curves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from corpora.sample import dataset
from corpora.sample.motion import STEEPEST, Motion, largest, steepest_slope
from evaluate import score_pair
from metrics.flow import make_dis
from modules.facial_prior import select_keypoints
from modules.track import Carrier, normalised_units
from scores.notation import REACH, parse_score, peak_of
from scores.performance import perform
from scores.playing import landmarks_of, play
from scores.tables import FrameScore

SIZE = 128


@pytest.fixture(scope="module")
def plan():
    return dataset.test_plans(0)[2]  # a smile


@pytest.fixture(scope="module")
def face(plan):
    return plan.face(SIZE)


def played(text, face, **options):
    return play(perform(parse_score(text), **options), face.landmarks, (SIZE, SIZE))


@pytest.mark.parametrize("unit", sorted(REACH))
def test_every_unit_reaches_its_intensities(unit, face):
    for letter in "ABCDE":
        motion = played(f"{unit}{letter}", face)
        assert motion.reduced == 1
        assert largest(motion.expression(25)) == pytest.approx(peak_of(unit, letter) * motion.iod, rel=1e-3)


def test_intensities_are_measured_back(face):
    """By an optical flow that knows nothing of scores, where there is texture: in order, and within a tenth."""
    measured = []
    for letter in "BCDE":
        motion = played(f"12{letter}", face, fps=20)
        frames = list(dataset.render_frames(face, motion, (1,)))
        onset, apex = (cv2.cvtColor(frames[t], cv2.COLOR_RGB2GRAY) for t in (0, 5))
        flow, true = make_dis().calc(onset, apex, None), motion.expression(5)
        texture = np.square(np.gradient(onset.astype(float))).sum(axis=0)[..., None]
        measured.append((texture * true * flow).sum() / (texture * true * true).sum())
    assert measured == pytest.approx([1] * 4, abs=0.1)


def test_a_score_that_would_fold_is_taken_back_and_said(face):
    motion = played("7E*4 + 12C", face)
    assert 0.1 < motion.reduced < 0.5 and "the face would fold" in motion.notice
    assert steepest_slope(motion.expression(25)) <= STEEPEST + 1e-3
    assert motion.performance.intensities()[25, 1, 0] == pytest.approx(motion.reduced * peak_of(12, "C"))
    assert motion.performance.action_units in ("7B+12A", "7A+12A")
    assert played("12", face).notice == ""


def test_the_track_is_the_dense_motion(face):
    motion = played("6+12C ; 4 @ 0.3:0.5:0.8", face, variety=1, seed=3)
    track = motion.track()
    grid = track.grid.numpy()
    for t in (0, 25, 50):
        whole = torch.from_numpy(motion.displacement(t))
        cells = torch.nn.functional.grid_sample(
            whole.permute(2, 0, 1)[None], (track.grid * normalised_units(track.size, track.field) - 1)[None],
            align_corners=True,
        )[0].permute(1, 2, 0)  # fmt: skip
        assert torch.allclose(track.field[t] + track.head_at(track.grid)[t], cells, atol=1e-4)
    assert not track.field[0].any() and torch.equal(track.points[0], track.onset)
    assert grid.shape == (SIZE // 4, SIZE // 4, 2) and track.head[25].abs().sum() > 0
    keypoints = select_keypoints(torch.from_numpy(face.landmarks)).round()
    assert torch.equal(motion.track(keypoints).onset, keypoints)


def test_the_face_s_own_track_is_carried_over_as_it_is(face):
    """What the tracked family renders is the score's motion: smoothed at the border of the face alone."""
    motion = played("6+12C", face)
    track = motion.track()
    carried = Carrier(track.onset, track.size, track).field(track) / normalised_units(track.size, track.field)
    error = (carried - track.field).norm(dim=-1).max()
    assert error < 0.1 * track.field.norm(dim=-1).max()


def test_key_points_alone_give_nearly_the_same_movement(face):
    performance = perform(parse_score("1+2+6+12+17"))
    exact = play(performance, face.landmarks, (SIZE, SIZE)).expression(25)
    keypoints = select_keypoints(torch.from_numpy(face.landmarks))
    near = play(performance, keypoints.numpy(), (SIZE, SIZE)).expression(25)
    assert (exact * near).sum() > 0.97 * np.linalg.norm(exact) * np.linalg.norm(near)
    again = select_keypoints(torch.from_numpy(landmarks_of(keypoints.numpy())))
    assert torch.allclose(again[:12], keypoints[:12], atol=1e-3)  # the others lie by the inner corners of the eyes


def test_a_sample_clip_played_from_its_own_curves_is_that_clip(plan):
    """Its units' curves by side, but not how far the skin follows: rho ≥ 0.98, skill ≥ 0.95."""
    face = plan.face(192)
    motion = Motion(face.landmarks, face.head, plan.timeline(face))
    timeline = motion.timeline
    own = np.array([largest(field) for field in motion.fields]) * motion.peak * face.iod
    own = own / max(largest(motion._combined(t)) for t in range(len(timeline))) / face.iod
    sides = timeline.sides[:, ::-1] / timeline.sides.max(axis=1, keepdims=True)  # the person's left first
    peaks = timeline.curves[:, :, None] * own[:, None] * sides
    score = FrameScore("its own", np.arange(len(timeline)) / timeline.fps, (6, 12), peaks)
    performance = perform(score, timeline.fps)
    assert abs(performance.apex - timeline.apex) <= 1
    truth = np.stack(list(dataset.render_frames(face, motion, (1,))))[::4]
    result = np.stack(list(play(performance, face.landmarks, (192, 192)).frames(truth[0])))[::4]
    figures = score_pair(truth, result).figures
    assert figures["rho"] >= 0.98 and figures["skill"] >= 0.95
    assert 0.9 < figures["gain"] < 1.1
