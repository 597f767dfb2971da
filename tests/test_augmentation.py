"""Augmentation: bright dots painted at the key points are found where the moved key points say they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from augmentation import Crop, Flip, Jitter, Resize, Rotate, adjust_hue, build_augmentation
from modules.facial_prior import FLIP_PERMUTATION
from modules.track import Track

HEIGHT, WIDTH = 72, 96


def points(seed: int = 0, margin: float = 24) -> Tensor:
    """Random key points (18, 2), far enough from the border that no transform here cuts their dots."""
    rng = np.random.default_rng(seed)
    spread = np.array([WIDTH, HEIGHT]) - 1 - 2 * margin
    return torch.from_numpy(margin + rng.random((18, 2)) * spread).float()


def dots(keypoints: Tensor, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Frame k (of 18) shows one Gaussian dot at key point k: (18, 3, H, W)."""
    y = torch.arange(height).view(1, -1, 1)
    x = torch.arange(width).view(1, 1, -1)
    squared = (x - keypoints[:, 0].view(-1, 1, 1)) ** 2 + (y - keypoints[:, 1].view(-1, 1, 1)) ** 2
    return torch.exp(-squared / (2 * 1.5**2))[:, None].repeat(1, 3, 1, 1)


def find(frames: Tensor) -> Tensor:
    """Centre of brightness of every frame, (x, y) in pixels: (T, 2)."""
    light = frames.mean(dim=1)
    y = torch.arange(light.shape[1], dtype=light.dtype)
    x = torch.arange(light.shape[2], dtype=light.dtype)
    total = light.sum(dim=(1, 2))
    return torch.stack([(light.sum(1) * x).sum(1) / total, (light.sum(2) * y).sum(1) / total], dim=1)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def seeds(transform: Flip, outcome: tuple[bool, bool]) -> int:
    """A seed with which the flip is (backwards, mirrored) as ``outcome`` says."""
    return next(s for s in range(100) if tuple(generator(s).random(2) < 0.5) == outcome)


# ------------------------------------------------------------------------------------------ geometry
def test_dots_are_found_where_they_were_painted():
    assert (find(dots(points())) - points()).abs().max() < 1e-3


def test_mirror_moves_and_exchanges_the_points():
    flip = Flip(horizontal_flip=True)
    keypoints = points()
    frames, moved = flip(dots(keypoints), keypoints, generator(seeds(flip, (False, True))))
    assert not torch.equal(moved, keypoints)
    # Row k now names the part of the face that row FLIP_PERMUTATION[k] named: left and right are exchanged.
    assert (find(frames)[list(FLIP_PERMUTATION)] - moved).abs().max() < 1e-3


def test_time_flip_leaves_the_points():
    flip = Flip(time_flip=True)
    keypoints = points()
    frames, same = flip(dots(keypoints), keypoints, generator(seeds(flip, (True, False))))
    assert torch.equal(same, keypoints)
    assert torch.equal(frames, dots(keypoints).flip(0))


def test_flips_are_independent():
    """Each of the four combinations comes up in a quarter of the draws (released: never both, pitfall 99)."""
    flip = Flip(horizontal_flip=True, time_flip=True)
    frames = torch.zeros(2, 3, 2, 2)
    frames[0, :, 0, 0] = 1
    rng, found = generator(0), Counter()
    for _ in range(400):
        flipped, _ = flip(frames, None, rng)
        found[tuple(torch.nonzero(flipped[:, 0]).flatten().tolist())] += 1
    assert len(found) == 4
    assert min(found.values()) > 70


@pytest.mark.parametrize("name", ["horizontal_flip", "time_flip"])
def test_flips_stay_off(name):
    flip = Flip(**{name: True})
    frames = torch.rand(2, 3, 4, 4)
    expected = [frames, frames.flip(-1 if name == "horizontal_flip" else 0)]
    for seed in range(20):
        flipped, _ = flip(frames, None, generator(seed))
        assert any(torch.equal(flipped, e) for e in expected)


@pytest.mark.parametrize("degrees", [[30, 30], [-17, -17], [90, 90], 25])
def test_rotation(degrees):
    keypoints = points(margin=30)
    frames, moved = Rotate(degrees)(dots(keypoints), keypoints, generator(0))
    assert (moved - keypoints).abs().max() > 1
    assert (find(frames) - moved).abs().max() < 0.05
    centre = torch.tensor([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    assert torch.allclose((moved - centre).norm(dim=1), (keypoints - centre).norm(dim=1), atol=1e-3)


def test_rotation_by_a_right_angle_is_exact():
    """Counter-clockwise on the screen: right goes up."""
    frames = torch.zeros(1, 3, 9, 9)
    frames[..., 4, 7] = 1
    keypoints = torch.tensor([[7.0, 4.0]])
    turned, moved = Rotate([90, 90])(frames, keypoints, generator(0))
    assert torch.allclose(moved, torch.tensor([[4.0, 1.0]]), atol=1e-5)
    assert turned[0, 0, 1, 4] > 0.99


def test_rotation_goes_both_ways():
    right = torch.tensor([[WIDTH - 1.0, (HEIGHT - 1) / 2]])  # of the centre: up with the angle
    frames = torch.zeros(1, 3, HEIGHT, WIDTH)
    up = [float(right[0, 1] - Rotate(25)(frames, right, generator(seed))[1][0, 1]) for seed in range(60)]
    most = (WIDTH - 1) / 2 * np.sin(np.radians(25))
    assert -most <= min(up) < -0.9 * most and 0.9 * most < max(up) <= most


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.25, 2.0])
def test_resize(factor):
    keypoints = points()
    frames, moved = Resize([factor, factor])(dots(keypoints), keypoints, generator(0))
    assert tuple(frames.shape[-2:]) == (round(HEIGHT * factor), round(WIDTH * factor))
    assert (find(frames) - moved).abs().max() < 0.05


def test_crop():
    keypoints = points()
    offsets = set()
    for seed in range(12):
        frames, moved = Crop([60, 80])(dots(keypoints), keypoints, generator(seed))
        assert tuple(frames.shape[-2:]) == (60, 80)
        inside = ((moved >= 6) & (moved <= torch.tensor([73.0, 53.0]))).all(dim=1)
        assert inside.sum() > 9
        assert (find(frames)[inside] - moved[inside]).abs().max() < 0.02
        offsets.add(tuple((keypoints - moved)[0].tolist()))
    assert len(offsets) > 8


def test_crop_reaches_every_place():
    frames = torch.arange(5 * 6.0).view(1, 1, 5, 6).repeat(1, 3, 1, 1)
    corners = {int(Crop([3, 4])(frames, None, generator(s))[0][0, 0, 0, 0]) for s in range(200)}
    assert corners == {6 * y + x for y in range(3) for x in range(3)}


@pytest.mark.parametrize("size", [[100, 96], [81, 130], [72, 96], [60, 111]])
def test_crop_extends_what_is_too_small(size):
    keypoints = points()
    frames, moved = Crop(size)(dots(keypoints), keypoints, generator(0))
    assert list(frames.shape[-2:]) == size
    assert (find(frames) - moved).abs().max() < 0.05
    plain = torch.rand(1, 3, 4, 4)
    wide, _ = Crop([4, 7])(plain, None, generator(0))
    assert torch.equal(wide[..., 0], plain[..., 0])  # the edge is repeated
    assert torch.equal(wide[..., -1], plain[..., -1])


def test_published_resize_and_crop_give_the_frames_back_their_size():
    augment = build_augmentation(
        {"resize_param": {"ratio": [0.9, 1.1]}, "crop_param": {"size": [HEIGHT, WIDTH]}}
    )
    keypoints = points(margin=30)
    for seed in range(6):
        frames, moved = augment(dots(keypoints), keypoints, generator(seed))
        assert tuple(frames.shape[-2:]) == (HEIGHT, WIDTH)
        assert (find(frames) - moved).abs().max() < 0.1


def test_everything_together():
    augment = build_augmentation(
        {
            "flip_param": {"horizontal_flip": True, "time_flip": True},
            "rotation_param": {"degrees": 10},
            "resize_param": {"ratio": [0.95, 1.05]},
            "crop_param": {"size": [HEIGHT, WIDTH]},
            "jitter_param": {"brightness": 0.1, "contrast": 0, "saturation": 0.1, "hue": 0.1},
        }
    )
    keypoints = points(margin=32)
    for seed in range(12):
        backwards, mirrored = generator(seed).random(2) < 0.5
        frames, moved = augment(dots(keypoints), keypoints, generator(seed))
        found = find(frames.flip(0) if backwards else frames)
        found = found[list(FLIP_PERMUTATION)] if mirrored else found
        assert (found - moved).abs().max() < 0.1


@pytest.mark.parametrize(
    "transform",
    [
        Flip(horizontal_flip=True), Flip(time_flip=True), Flip(horizontal_flip=True, time_flip=True),
        Rotate([30, 30]), Resize([1.25, 1.25]), Crop([60, 80]), Crop([100, 130]),
    ],
    ids=str,
)  # fmt: skip
def test_a_track_moves_as_its_points_do(transform):
    """A shift a frame, in the points, in the field and of the head: each is moved as key points alone are."""
    keypoints, shifts = points(), torch.tensor([[0.0, 0.0], [1.0, -2.0], [3.0, 1.0]])
    head = torch.cat([torch.zeros(3, 2, 2), shifts[..., None]], dim=-1)
    field = shifts[:, None, None].expand(3, 5, 7, 2)
    track = Track(keypoints, keypoints + shifts[:, None], field, head, (HEIGHT, WIDTH))
    frames, both = torch.rand(3, 3, HEIGHT, WIDTH), seeds(transform, (True, True))
    out, moved = transform(frames, track, generator(both))
    onset, *each = (transform(frames, p, generator(both))[1] for p in (keypoints, *track.points))
    each = torch.stack(each[::-1] if getattr(transform, "time_flip", False) else each)
    assert moved.size == tuple(out.shape[-2:])
    assert torch.allclose(moved.onset, onset, atol=1e-4) and torch.allclose(moved.points, each, atol=1e-4)
    displacement = each - onset
    assert torch.allclose(moved.field, displacement[:, :1, None].expand(3, 5, 7, 2), atol=1e-4)
    assert torch.allclose(moved.head_at(onset), displacement, atol=1e-4)


# ------------------------------------------------------------------------------------------ colours
def test_jitter_is_the_same_in_all_frames():
    frame = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    keypoints = points()
    jitter = Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.3)
    frames, same = jitter(frame.repeat(3, 1, 1, 1), keypoints, generator(0))
    assert torch.equal(same, keypoints)
    assert torch.equal(frames[0], frames[1]) and torch.equal(frames[0], frames[2])
    assert (frames - frame).abs().max() > 0.05
    assert frames.min() >= 0 and frames.max() <= 1


def test_brightness_is_a_factor_in_its_range():
    grey = torch.full((1, 3, 4, 4), 0.5)
    factors = [float(Jitter(brightness=0.1)(grey, None, generator(s))[0].mean() / 0.5) for s in range(200)]
    assert min(factors) >= 0.9 and max(factors) <= 1.1
    assert min(factors) < 0.91 and max(factors) > 1.09


def test_hue_turns_colours_and_leaves_grey_alone():
    jitter = Jitter(hue=0.5)
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    turned, _ = jitter(red, None, generator(3))
    assert float(turned[:, 0].mean()) < 0.99
    assert float(turned.amax(dim=1).min()) == pytest.approx(
        1, abs=1e-3
    )  # as bright and as saturated as before
    assert float(turned.amin(dim=1).max()) == pytest.approx(0, abs=1e-3)
    grey = torch.rand(1, 1, 4, 4).repeat(1, 3, 1, 1)
    assert (jitter(grey, None, generator(3))[0] - grey).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------ chance
FULL = {
    "flip_param": {"horizontal_flip": True, "time_flip": True},
    "rotation_param": {"degrees": 10},
    "resize_param": {"ratio": [0.9, 1.1]},
    "crop_param": {"size": [40, 40]},
    "jitter_param": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1},
}


def test_only_the_generator_decides():
    """Neither torch's nor NumPy's global generator has a say, and key points change no frame."""
    augment = build_augmentation(FULL)
    frames, keypoints = torch.rand(2, 3, 48, 48), points() / 2
    outcomes = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        outcomes.append(augment(frames, keypoints, generator(7)))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    alone, none = augment(frames, None, generator(7))
    assert none is None
    assert torch.equal(alone, outcomes[0][0])
    assert not torch.equal(augment(frames, None, generator(8))[0], alone)


def test_inputs_are_not_changed():
    frames, keypoints = torch.rand(2, 3, 48, 48), points() / 2
    before = frames.clone(), keypoints.clone()
    for seed in range(4):
        build_augmentation(FULL)(frames, keypoints, generator(seed))
    assert torch.equal(frames, before[0])
    assert torch.equal(keypoints, before[1])


@pytest.mark.parametrize("params", [None, {}, {"flip_param": None}, {"rotation_param": {}}])
def test_no_augmentation(params):
    frames, keypoints = torch.rand(2, 3, 8, 8), points()
    out, same = build_augmentation(params)(frames, keypoints, generator(0))
    assert torch.equal(out, frames)
    assert torch.equal(same, keypoints)


@pytest.mark.parametrize("amount", [-0.5, -0.1, 0.0, 0.03, 0.5])
def test_hue_is_torchvisions(amount):
    frames = torch.rand(2, 3, 16, 23, generator=torch.Generator().manual_seed(0))  # no multiple of a vector's width
    frames[0, :, :4] = frames[0, :1, :4]  # grey has no hue
    frames[1, :, :2] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    given = frames.clone()
    expected = torchvision.transforms.functional.adjust_hue(frames, amount)
    assert (adjust_hue(frames, amount) - expected).abs().max() < 1e-5
    assert torch.equal(frames, given)
