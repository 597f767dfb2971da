"""What the controls promise, measured on the shipped model: gain follows ``amplify``, regions keep to themselves."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

import demo
from benchmarks.sample_clips import sample_clip
from benchmarks.supplement import Studio
from checkpoint import load_for_inference
from metrics.canonical import REGIONS as PLACES
from metrics.motion import ClipMotion, compare_motion

CPU = torch.device("cpu")
SHOWN = [0, 2, 3, 4, 5]  # frames of the driving clip, its onset first
# Where the motion figures measure, by region of the controls; cheeks and nose meet between them.
MOUTH, BROWS = ("mouth", "lip", "chin"), ("brow",)


@lru_cache(maxsize=1)
def studio() -> Studio:
    """A smile with raised brows, of a face the model has not been trained on, to drive Grace Hopper."""
    clip = sample_clip(seed=77, movement="1+2+12", amplitude_px=3.5, frames=10, head=0.0, variety=0.0)
    assert clip.apex <= 6
    clip = replace(clip, frames=clip.frames[SHOWN])
    return Studio(load_for_inference(demo.SAMPLE_MODEL, None, CPU), CPU, clip)


@lru_cache(maxsize=8)
def result(**controls) -> ClipMotion:
    """The motion of Grace Hopper, driven with these controls."""
    return studio().play(**controls)[1]


def gain(amplify: float) -> float:
    return compare_motion(studio().driven, result(amplify=amplify)).figures["gain"]


@pytest.mark.parametrize("amplify", [0.5, 2.0])
def test_the_measured_gain_follows_the_strength(amplify):
    """Within 15 % from half to twice the movement."""
    assert gain(1.0) > 0.3, "the model moves at all"
    assert gain(amplify) / gain(1.0) == pytest.approx(amplify, rel=0.15)


def test_nothing_moves_at_strength_nought():
    assert not result(amplify=0).curves.any()


@pytest.mark.parametrize(("regions", "inside", "outside"), [("mouth", MOUTH, BROWS), ("brows", BROWS, MOUTH)])
def test_motion_keeps_to_its_region(regions, inside, outside):
    """Outside under 15 % of that inside, in a clip that moves both."""

    def strength(motion, places: tuple[str, ...]) -> float:
        rows = [row for row, name in enumerate(PLACES) if name.startswith(places)]
        return float(np.sqrt((motion.curves[rows] ** 2).sum(-1).mean()))

    whole, part = result(), result(regions=regions)
    assert strength(whole, outside) > 0.3 * strength(whole, inside), "as driven, both move"
    assert strength(part, outside) < 0.15 * strength(part, inside)
    assert strength(part, inside) > 0.7 * strength(whole, inside)
