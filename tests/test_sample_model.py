"""What the controls promise, measured on the shipped model: gain follows ``amplify``, regions keep to themselves."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

import demo
import media
from animate import CONTROLS, ClipAnimator
from checkpoint import LoadedModel, load_for_inference
from corpora.sample import SampleClip, sample_clip, still_face
from frames_dataset import Pair
from metrics.canonical import REGIONS as PLACES
from metrics.motion import compare_motion, measure_motion
from modules import get_family
from modules.facial_prior import select_keypoints

CPU = torch.device("cpu")
SHOWN = [0, 2, 3, 4, 5]  # frames of the driving clip, its onset first
# Where the motion figures measure, by region of the controls; cheeks and nose meet between them.
MOUTH, BROWS = ("mouth", "lip", "chin"), ("brow",)


def face(frames: np.ndarray, landmarks: np.ndarray) -> demo.Face:
    points = select_keypoints(torch.from_numpy(np.rint(landmarks)))
    return demo.Face(media.ArrayClip(Path("sample"), frames, 100.0), points, frames[0], np.eye(2, 3))


@lru_cache(maxsize=1)
def driving() -> SampleClip:
    """A smile with raised brows, of a face the model has not been trained on."""
    clip = sample_clip(seed=77, movement="1+2+12", amplitude_px=3.5, frames=10, head=0.0, variety=0.0)
    assert clip.apex <= 6
    return clip


@lru_cache(maxsize=1)
def sample_model() -> LoadedModel:
    return load_for_inference(demo.SAMPLE_MODEL, None, CPU)


@lru_cache(maxsize=8)
def result(**controls):
    """The motion of Grace Hopper, driven with these controls, and that of the driving clip."""
    model = sample_model()
    model.config["animate_params"] |= {**CONTROLS, **controls}
    source, landmarks = still_face("hopper")
    clips = demo.TwoClips(
        face(source[None], landmarks),
        face(driving().frames[SHOWN], driving().landmarks),
        get_family(model.config).uses_tracks,
    )
    frames = np.stack(list(ClipAnimator(model, clips, CPU).take(Pair(demo.DRIVING, demo.SOURCE))))
    return measure_motion(frames, landmarks), measure_motion(driving().frames[SHOWN], driving().landmarks)


def gain(amplify: float) -> float:
    generated, driven = result(amplify=amplify)
    return compare_motion(driven, generated).figures["gain"]


@pytest.mark.parametrize("amplify", [0.5, 2.0])
def test_the_measured_gain_follows_the_strength(amplify):
    """Within 15 % from half to twice the movement."""
    assert gain(1.0) > 0.3, "the model moves at all"
    assert gain(amplify) / gain(1.0) == pytest.approx(amplify, rel=0.15)


def test_nothing_moves_at_strength_nought():
    assert not result(amplify=0)[0].curves.any()


@pytest.mark.parametrize(("regions", "inside", "outside"), [("mouth", MOUTH, BROWS), ("brows", BROWS, MOUTH)])
def test_motion_keeps_to_its_region(regions, inside, outside):
    """Outside under 15 % of that inside, in a clip that moves both."""

    def strength(motion, places: tuple[str, ...]) -> float:
        rows = [row for row, name in enumerate(PLACES) if name.startswith(places)]
        return float(np.sqrt((motion.curves[rows] ** 2).sum(-1).mean()))

    whole, part = result()[0], result(regions=regions)[0]
    assert strength(whole, outside) > 0.3 * strength(whole, inside), "as driven, both move"
    assert strength(part, outside) < 0.15 * strength(part, inside)
    assert strength(part, inside) > 0.7 * strength(whole, inside)
