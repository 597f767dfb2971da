"""Average key point distance and the detector's jitter."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.canonical import MetricError
from metrics.keypoints import average_distance, detector_jitter, jitter


def test_distance_is_in_pixels_at_256(smile):
    points = np.repeat(smile.landmarks[None], 5, axis=0)
    moved = points + [3.0, 4.0]
    moved[0] = 0.0  # frame 0 is never counted
    assert average_distance(points, points, (256, 256)) == 0.0
    assert average_distance(moved, points, (256, 256)) == pytest.approx(5.0)
    assert average_distance(moved, points, (512, 384)) == pytest.approx(2.5)
    with pytest.raises(MetricError, match="differ in shape"):
        average_distance(points[:, :10], points, (256, 256))


def test_jitter_of_known_noise():
    rng = np.random.default_rng(0)
    points = rng.normal(100.0, 1.0, (200, 50, 2))
    assert jitter(points, (256, 256)) == pytest.approx(np.sqrt(np.pi / 2), rel=0.05)  # mean length, σ = 1
    assert jitter(np.repeat(points[:1], 4, axis=0), (256, 256)) == pytest.approx(0.0, abs=1e-9)


def test_detector_jitter_sees_only_what_camera_noise_does(smile):
    seen = []

    def brightness(clip: np.ndarray) -> np.ndarray:
        seen.append(clip)
        return clip.reshape(len(clip), 1, -1)[..., :2].astype(np.float64)

    assert 0.3 < detector_jitter(smile.frames[0], brightness) < 3.0  # σ = 1 in each of two coordinates
    assert seen[0].shape == (8, *smile.frames[0].shape)
    assert not np.array_equal(seen[0][0], seen[0][1])
    assert detector_jitter(smile.frames[0], lambda clip: np.full((len(clip), 3, 2), 5.0)) == 0.0
