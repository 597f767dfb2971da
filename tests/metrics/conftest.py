"""Sample clips with known motion, measured once for all tests of the metrics."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sample_clips import SampleClip, sample_clip
from metrics.motion import ClipMotion, MotionScore, compare_motion, measure_motion

FRAMES = 16


def make_clip(**changes: object) -> SampleClip:
    """A smile of 3 px at 256×256 with head drift and camera noise, on Eileen Collins's face."""
    settings = {"seed": 1, "movement": "happiness", "amplitude_px": 3.0, "frames": FRAMES, "identity": "collins"}
    return sample_clip(**{**settings, "noise": 0.7, **changes})


def measure(clip: SampleClip) -> ClipMotion:
    return measure_motion(clip.frames, clip.landmarks)


def score(driving: ClipMotion, frames: np.ndarray, landmarks: np.ndarray) -> MotionScore:
    return compare_motion(driving, measure_motion(frames, landmarks))


@pytest.fixture(scope="session")
def smile() -> SampleClip:
    return make_clip()


@pytest.fixture(scope="session")
def smile_motion(smile: SampleClip) -> ClipMotion:
    return measure(smile)


@pytest.fixture(scope="session")
def other_face() -> SampleClip:
    """The same movement on Grace Hopper's face."""
    return make_clip(identity="hopper")
