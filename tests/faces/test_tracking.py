"""Tracked key points: known movements, stillness, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpora.sample import sample_clip
from faces.keypoint_files import KeypointError, MissingKeypoints
from faces.tracking import load_track, save_track, track_keypoints
from modules.facial_prior import select_keypoints


@pytest.fixture(scope="module")
def clip():
    return sample_clip(seed=3, movement="6+12", amplitude_px=3.0, size=256, frames=13, noise=1.0)


def test_known_movement(clip):
    """The track follows the rendered face's own flow, on average to 0.1 pixel at 256×256."""
    points = select_keypoints(torch.from_numpy(np.rint(clip.landmarks)))
    track = track_keypoints(clip.frames, points).numpy()
    cells = np.rint(points.numpy()).astype(int).clip(0, 255)
    truth = clip.flow[:, cells[:, 1], cells[:, 0]]
    assert np.abs(truth).max() > 1.5
    error = np.linalg.norm((track - points.numpy()) - truth, axis=-1)
    assert error.mean() < 0.1
    correlation = (truth * (track - points.numpy())).sum() / np.square(truth).sum()
    assert 0.9 < correlation < 1.1


def test_first_row_is_the_onset(clip):
    points = select_keypoints(torch.from_numpy(clip.landmarks))
    assert torch.equal(track_keypoints(clip.frames[:2], points)[0], points)


def test_a_still_clip_hardly_jitters(clip):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2.0, (8, *clip.frames[0].shape))
    still = np.clip(clip.frames[0] + noise, 0, 255).astype(np.uint8)
    points = select_keypoints(torch.from_numpy(clip.landmarks))
    moved = (track_keypoints(still, points) - points).norm(dim=-1)
    assert moved.mean() < 0.05


def test_files(tmp_path):
    track = torch.rand(5, 18, 2) * 100
    save_track(tmp_path, "clip", track)
    assert torch.equal(load_track(tmp_path, "clip"), track)
    with pytest.raises(MissingKeypoints, match="kpmaker.py --track"):
        load_track(tmp_path, "other")
    save_track(tmp_path, "flat", track[0])
    with pytest.raises(KeypointError, match=r"\(T, 18, 2\)"):
        load_track(tmp_path, "flat")
