"""Tracked key points and fields: known movements, stillness, files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from benchmarks.sample_clips import sample_clip
from faces.keypoint_files import KeypointError, MissingKeypoints, read_tensors, write_tensors
from faces.tracking import camera_noise, load_track, save_track, still_jitter, track_keypoints
from modules.facial_prior import select_keypoints


@pytest.fixture(scope="module")
def clip():
    return sample_clip(seed=3, movement="6+12", amplitude_px=3.0, size=256, frames=13, noise=1.0)


@pytest.fixture(scope="module")
def points(clip):
    return select_keypoints(torch.from_numpy(np.rint(clip.landmarks)))


@pytest.fixture(scope="module")
def track(clip, points):
    return track_keypoints(clip.frames, points)


def test_known_movement_of_the_key_points(clip, points, track):
    """The track follows the rendered face's own flow, on average to 0.1 pixel at 256×256."""
    moved = track.points.numpy() - points.numpy()
    cells = np.rint(points.numpy()).astype(int).clip(0, 255)
    truth = clip.flow[:, cells[:, 1], cells[:, 0]]
    assert np.abs(truth).max() > 1.5
    assert np.linalg.norm(moved - truth, axis=-1).mean() < 0.1
    assert 0.9 < (truth * moved).sum() / np.square(truth).sum() < 1.1


def test_known_movement_of_the_field(clip, track):
    """Face and head together are the rendered flow, on average to 0.1 pixel on the face."""
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 255, 64), torch.linspace(0, 255, 64), indexing="xy"), dim=-1)
    total = (track.field + track.head_at(grid)).numpy()
    cells = np.rint(grid.numpy()).astype(int)
    truth = clip.flow[:, cells[..., 1], cells[..., 0]]
    face = np.s_[:, 16:56, 16:48]
    assert np.abs(truth[face]).max() > 2
    assert np.linalg.norm(total[face] - truth[face], axis=-1).mean() < 0.1


def test_onset_does_not_move(points, track):
    assert torch.equal(track.points[0], points)
    assert not track.field[0].any()
    assert not track.head[0].any()


def test_head_motion_alone_leaves_the_face_still(clip, points):
    """A turning, shifting, growing head: what is left of it in the face's own field is below 0.1 pixel."""
    frames, angles = [], np.linspace(0, 1.5, 8)
    for angle in angles:
        matrix = cv2.getRotationMatrix2D((128, 128), angle, 1 + angle / 100)
        matrix[:, 2] += (1.5 * angle, -angle)
        frames.append(cv2.warpAffine(clip.frames[0], matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=1))
    track = track_keypoints(frames, points)
    total = (track.points - points).norm(dim=-1)
    own = track.points - points - track.head_at(points)
    assert total[-1].mean() > 2
    assert own.norm(dim=-1)[-1].mean() < 0.1
    assert track.field[-1, 16:56, 16:48].norm(dim=-1).mean() < 0.15


def test_a_still_clip_hardly_jitters(clip, points):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2.0, (8, *clip.frames[0].shape))
    still = np.clip(clip.frames[0] + noise, 0, 255).astype(np.uint8)
    track = track_keypoints(still, points)
    assert (track.points - points).norm(dim=-1).mean() < 0.05
    assert track.field[:, 16:56, 16:48].norm(dim=-1).mean() < 0.1


def test_a_clip_without_frames_has_no_track(points):
    with pytest.raises(ValueError, match="without frames"):
        track_keypoints([], points)


def test_files(tmp_path, track):
    save_track(tmp_path, "clip", track)
    loaded = load_track(tmp_path, "clip")
    assert loaded.size == track.size == (256, 256)
    assert torch.equal(loaded.points, track.points)
    assert torch.allclose(loaded.field.float(), track.field, atol=2e-3)
    with pytest.raises(MissingKeypoints, match=r"kpmaker\.py .* --track"):
        load_track(tmp_path, "other")


@pytest.mark.parametrize(
    "content",
    [torch.zeros(5, 18, 2), {"points": torch.zeros(5, 18, 2)}, "short", "nan"],
    ids=["of an earlier version", "incomplete", "wrong shape", "not finite"],
)
def test_broken_files_say_how_to_make_them_anew(tmp_path, track, content):
    save_track(tmp_path, "clip", track)
    good = read_tensors(tmp_path / "tracks", "clip")
    if content == "short":
        content = {**good, "head": good["head"][:2]}
    elif content == "nan":
        content = {**good, "points": good["points"] * torch.nan}
    write_tensors(tmp_path / "tracks", "clip", content)
    with pytest.raises(KeypointError, match=r"the track of 'clip' .*--track --overwrite"):
        load_track(tmp_path, "clip")


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
def test_camera_noise_is_measured(clip, noise):
    rng = np.random.default_rng(0)
    frames = [np.clip(clip.frames[0] // 2 + 60 + noise * rng.standard_normal((256, 256, 1)), 0, 255) for _ in range(2)]
    assert camera_noise(*(np.rint(frame).astype(np.uint8) for frame in frames)) == pytest.approx(noise, abs=0.3)


def test_jitter_grows_with_the_noise(clip, points):
    rng = np.random.default_rng(0)

    def noisy(amount: float) -> list[np.ndarray]:
        frames = [clip.frames[0] + amount * rng.standard_normal((256, 256, 1)) for _ in range(2)]
        return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]

    (quiet, quiet_field), (loud, loud_field) = still_jitter(noisy(0.5), points), still_jitter(noisy(6), points)
    assert quiet < loud < 0.5
    assert quiet_field < loud_field < 0.5
    assert still_jitter(clip.frames[:1], points) is None
