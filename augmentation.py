"""Augmentation of a clip's frames and key points together: what moves the picture moves the points.

Every transform takes frames (T, 3, H, W) float32 in [0, 1] and what lies on them: key points (18, 2) in pixels for all
frames, a :class:`modules.track.Track` of T frames, or None; and returns both.
All randomness comes from the generator that is passed in, so a sample depends on nothing but its seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modules.facial_prior import flip_keypoints
from modules.track import Track

Points = Tensor | Track | None
Sample = tuple[Tensor, Points]


def move_points(points: Points, matrix: Tensor, offset: Tensor, size: tuple[int, int]) -> Points:
    """Points p of frames whose pixels are at ``matrix``·p + ``offset`` in the new ones of ``size`` (height, width)."""
    if isinstance(points, Track):
        return points.affine(matrix, offset, size)
    return None if points is None else points @ matrix.T + offset


def mirror_points(points: Points, size: tuple[int, int]) -> Points:
    """Points of horizontally mirrored frames of ``size`` (height, width)."""
    if isinstance(points, Track):
        mirror = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        return points.affine(mirror, torch.tensor([size[1] - 1.0, 0.0]), size, mirrored=True)
    return None if points is None else flip_keypoints(points, size[1])


@dataclass(frozen=True)
class Flip:
    """Mirror and reverse, each with probability ½, independently."""

    horizontal_flip: bool = False
    time_flip: bool = False

    def __call__(self, frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
        backwards, mirrored = rng.random(2) < 0.5
        axes = []  # both flips in one copy
        if self.time_flip and backwards:
            axes.append(0)
            if isinstance(keypoints, Track):
                keypoints = keypoints[list(range(len(keypoints)))[::-1]]
        if self.horizontal_flip and mirrored:
            axes.append(-1)
            keypoints = mirror_points(keypoints, tuple(frames.shape[-2:]))
        return frames.flip(axes) if axes else frames, keypoints


@dataclass(frozen=True)
class Rotate:
    """Turn by a random angle of ±``degrees``, or between the two given, around the centre."""

    degrees: float | list[float]

    def __call__(self, frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
        from torchvision.transforms import functional as TF  # late: see training.perceptual_weights.load_vgg19

        bounds = (-self.degrees, self.degrees) if isinstance(self.degrees, (int, float)) else self.degrees
        angle = float(rng.uniform(*bounds))
        frames = TF.rotate(frames, angle, interpolation=TF.InterpolationMode.BILINEAR)
        height, width = frames.shape[-2:]
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        turn = math.radians(angle)  # counter-clockwise on the screen, where y points down
        matrix = torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        return frames, move_points(keypoints, matrix, centre - matrix @ centre, (height, width))


@dataclass(frozen=True)
class Resize:
    """Scale by a random factor between ``ratio``'s two; a crop to the frame's size usually follows."""

    ratio: list[float]

    def __call__(self, frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
        factor = float(rng.uniform(*self.ratio))
        height, width = frames.shape[-2:]
        size = (round(height * factor), round(width * factor))
        if size == (height, width):
            return frames, keypoints
        frames = F.interpolate(frames, size=size, mode="bilinear", antialias=True)
        scale = torch.tensor([size[1] / width, size[0] / height])  # pixel centres: (p + ½)·s − ½
        return frames, move_points(keypoints, torch.diag(scale), 0.5 * scale - 0.5, size)


@dataclass(frozen=True)
class Crop:
    """Cut a random window of ``size`` (height, width); smaller frames are extended by edge replication first."""

    size: list[int]

    def __call__(self, frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
        height, width = self.size
        below, right = max(height - frames.shape[-2], 0), max(width - frames.shape[-1], 0)
        left, top = right // 2, below // 2
        if below or right:
            frames = F.pad(frames, (left, right - left, top, below - top), mode="replicate")
        y = int(rng.integers(frames.shape[-2] - height + 1))
        x = int(rng.integers(frames.shape[-1] - width + 1))
        frames = frames[..., y : y + height, x : x + width]
        shift = torch.tensor([float(left - x), float(top - y)])
        return frames, move_points(keypoints, torch.eye(2), shift, (height, width))


def adjust_hue(frames: Tensor, amount: float) -> Tensor:
    """torchvision's ``adjust_hue`` of (T, 3, H, W) float32 in [0, 1], to rounding, in a fraction of the time."""
    pixels = frames.permute(0, 2, 3, 1).contiguous().numpy()
    rows = pixels.reshape(-1, *pixels.shape[2:])  # all frames as one picture
    hsv = cv2.cvtColor(rows, cv2.COLOR_RGB2HSV)  # hue in degrees
    hsv[..., 0] += 360.0 * (amount % 1.0)  # on the way back a full turn does not count
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(pixels.shape)
    return torch.from_numpy(turned).permute(0, 3, 1, 2).clamp_(0, 1)


@dataclass(frozen=True)
class Jitter:
    """Change colours by the same random amounts in all frames; 0.1 means factors of 0.9…1.1, hue shifts of ±0.1."""

    brightness: float = 0
    contrast: float = 0
    saturation: float = 0
    hue: float = 0

    def __call__(self, frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
        from torchvision.transforms import functional as TF  # late, as above

        steps = [
            (TF.adjust_brightness, self.brightness, 1.0),
            (TF.adjust_contrast, self.contrast, 1.0),
            (TF.adjust_saturation, self.saturation, 1.0),
            (adjust_hue, self.hue, 0.0),
        ]
        for index in rng.permutation(len(steps)):
            adjust, amount, neutral = steps[index]
            factor = neutral + float(rng.uniform(-1, 1)) * amount
            if amount:
                frames = adjust(frames, factor)
        return frames, keypoints


BUILDERS: dict[str, Callable] = {
    "flip_param": Flip,
    "rotation_param": Rotate,
    "resize_param": Resize,
    "crop_param": Crop,
    "jitter_param": Jitter,
}


def build_augmentation(params: dict | None) -> Callable[[Tensor, Points, np.random.Generator], Sample]:
    """The YAML's ``augmentation_params`` → one transform, in the order flip, rotate, resize, crop, jitter."""
    return partial(_in_turn, [build(**params[name]) for name, build in BUILDERS.items() if params and params.get(name)])


def _in_turn(transforms: list[Callable], frames: Tensor, keypoints: Points, rng: np.random.Generator) -> Sample:
    for transform in transforms:
        frames, keypoints = transform(frames, keypoints, rng)
    return frames, keypoints
