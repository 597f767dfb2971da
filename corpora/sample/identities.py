"""The people of the sample data: morphs of two portraits, and the portraits themselves.

A morph takes each region of the face (eyes, nose, mouth, skin) and what surrounds it from one portrait or a mixture,
each portrait also mirrored; its landmarks get a shape between and beyond the two with random proportions; then come
skin tone, texture, details, hair, background, light and crop.

The rule that keeps test people out of training: every training identity takes at least one region mainly
from each of the two portraits, in a changed shape; the portraits as photographed (`portrait_face`) and the
morphs of the ``test`` stream are in test alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from corpora.sample import appearance
from corpora.sample.portraits import (
    CANONICAL_EYES,
    CANONICAL_IOD,
    MIRROR,
    Atlas,
    atlas,
    canonical_shape,
    control_points,
    inter_ocular_distance,
    load_portrait,
    portrait_shape,
)
from corpora.sample.warps import Similarity, ThinPlateSpline, dense_grid, sample_image, similarity_between

SUPERSAMPLING = 2  # pixels of a face's picture per pixel of a frame
PORTRAIT_SUFFIX = ": the portrait itself"
MARGIN = 0.06  # the picture reaches this share of the frame size beyond every edge


@dataclass(frozen=True)
class FaceModel:
    """A still face, ready to be moved and photographed.

    Attributes:
        picture: float32 (P, P, 3) in [0, 255], at twice the frame's resolution and with a margin around it.
        landmarks: float64 (68, 2), iBUG order, (x, y) in pixels of the frame.
        head: float32 (size, size), 1 on head and shoulders, 0 on the background, in the frame.
        size: side of the square frames in pixels.
        noise: deviation of the camera's noise in grey levels of 255.
        description: what the face is made of, for the clip list.
        grey: the picture has no colour, and gets none by noise.
    """

    picture: np.ndarray
    landmarks: np.ndarray
    head: np.ndarray
    size: int
    noise: float
    description: str
    grey: bool = False

    @property
    def iod(self) -> float:
        """Inter-ocular distance in pixels of the frame."""
        return inter_ocular_distance(self.landmarks)


@dataclass(frozen=True)
class Crop:
    """Where the frame is cut: eye distance and eye centre as shares of the frame's side, roll in degrees."""

    iod: float = 0.385
    x: float = 0.5
    y: float = 0.34
    roll: float = 0.0

    @staticmethod
    def random(rng: np.random.Generator) -> Crop:
        iod = rng.uniform(0.345, 0.42) if rng.random() < 0.65 else rng.uniform(0.42, 0.465)
        return Crop(
            iod=iod, x=0.5 + rng.normal(0, 0.02), y=0.34 - 0.4 * (iod - 0.385) + rng.normal(0, 0.018),
            roll=float(np.clip(rng.normal(0, 2.5), -6, 6)),
        )  # fmt: skip

    def from_face(self, size: int) -> Similarity:
        """From canonical pixels to pixels of the frame."""
        angle = np.deg2rad(self.roll)
        scale = self.iod * size / CANONICAL_IOD
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return Similarity(matrix, np.array([self.x, self.y]) * size - matrix @ np.array(CANONICAL_EYES))


def picture_grid(size: int) -> np.ndarray:
    """Frame positions (P, P, 2) of the pixels of a `FaceModel.picture`."""
    margin = int(round(MARGIN * size))
    grid = dense_grid((SUPERSAMPLING * (size + 2 * margin),) * 2)
    return (grid + 0.5) / SUPERSAMPLING - 0.5 - margin


def to_picture(points: np.ndarray, size: int) -> np.ndarray:
    """Positions in the frame (…, 2) → positions in the picture of a `FaceModel`."""
    margin = int(round(MARGIN * size))
    return (points + margin + 0.5) * SUPERSAMPLING - 0.5


def _frame_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask in the picture → float32 (size, size) in the frame."""
    margin = int(round(MARGIN * size))
    return cv2.resize(mask, None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)[
        margin : margin + size, margin : margin + size
    ].copy()


# ---------------------------------------------------------------------------------------------------- portraits
def portrait_face(name: str, size: int = 256, crop: Crop | None = None, noise: float = 0.7) -> FaceModel:
    """A portrait as it was photographed, cut to the face: un-morphed, in its natural colours.

    Args:
        name: ``hopper`` or ``collins``.
    """
    crop = crop or Crop()
    portrait = load_portrait(name)
    eyes = np.stack([portrait.landmarks[36:42].mean(axis=0), portrait.landmarks[42:48].mean(axis=0)])
    half = np.array([CANONICAL_IOD / 2, 0.0])
    upright = np.stack([CANONICAL_EYES - half, CANONICAL_EYES + half])
    to_frame = similarity_between(eyes, crop.from_face(size).apply(upright))
    points = to_frame.inverse().apply(picture_grid(size))
    return FaceModel(
        picture=np.clip(sample_image(portrait.image, points), 0, 1) * 255.0,
        landmarks=to_frame.apply(portrait.landmarks),
        head=_frame_mask(sample_image(portrait.head, points), size),
        size=size, noise=noise, description=name + PORTRAIT_SUFFIX,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- morphs
def random_shape(rng: np.random.Generator) -> np.ndarray:
    """Landmarks (68, 2) of a new face in canonical position, lips closed.

    Between and beyond the portraits' shapes, then proportions one by one, in inter-ocular distances.
    """
    share = rng.uniform(-0.15, 1.15)
    shape = share * portrait_shape("hopper") + (1 - share) * portrait_shape("collins")
    if rng.random() < 0.5:
        shape = shape[MIRROR] * (-1.0, 1.0) + (2 * CANONICAL_EYES[0], 0.0)
    points = (shape - CANONICAL_EYES) / CANONICAL_IOD
    x, y = points[:, 0], points[:, 1]

    x *= 1 + rng.normal(0, 0.035) + rng.normal(0, 0.05) / (1 + np.exp((0.7 - y) / 0.15))  # width, width of the jaw
    below = np.clip(y - 0.1, 0, None)
    y += rng.normal(0, 0.035) * np.clip(below / 0.6, 0, 1) + rng.normal(0, 0.05) * np.clip(below - 0.6, 0, 1)

    for eye, brow, sign in ((slice(36, 42), slice(17, 22), -1), (slice(42, 48), slice(22, 27), 1)):
        points[eye], points[brow] = _reshape_eye(points[eye], points[brow], sign, _eye_proportions(rng))
    points[31:36, 0] *= np.exp(rng.normal(0, 0.08))
    points[28:36, 1] += rng.normal(0, 0.025) * np.linspace(0.3, 1.0, 8).clip(0, 1)

    line = points[[60, 61, 62, 63, 64]].mean(axis=0)
    points[48:68, 0] = line[0] + (points[48:68, 0] - line[0]) * np.exp(rng.normal(-0.06, 0.07))
    points[48:60, 1] += (points[48:60, 1] - line[1]) * rng.normal(0, 0.10)
    lowered, bow = rng.normal(0, 0.012), np.clip(rng.normal(0.1, 0.12), -0.1, 0.25)
    points[48:68, 1] += lowered + bow * (points[48:68, 0] - line[0]) ** 2

    smooth = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / (2 * 0.3**2))
    points += (smooth @ rng.normal(0, 0.006, (68, 2))) / np.sqrt((smooth**2).sum(1, keepdims=True)) * 1.5
    return points * CANONICAL_IOD + CANONICAL_EYES


def _eye_proportions(rng: np.random.Generator) -> dict[str, float]:
    """Changes of one eye and its brow; each side draws its own, as faces are a little uneven."""
    return {
        "height": np.exp(rng.normal(0, 0.08)), "width": np.exp(rng.normal(0, 0.04)), "spacing": rng.normal(0, 0.012),
        "tilt": np.deg2rad(rng.normal(0, 2.5)), "brow": rng.normal(0, 0.02), "slope": rng.normal(0, 0.03),
    }  # fmt: skip


def _reshape_eye(eye: np.ndarray, brow: np.ndarray, sign: int, change: dict) -> tuple[np.ndarray, np.ndarray]:
    """One eye and its brow with other proportions; ``sign`` is −1 for the eye on the left of the picture."""
    centre = eye.mean(axis=0)
    local = (eye - centre) * (change["width"], change["height"])
    angle = sign * change["tilt"]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array([sign * change["spacing"], 0.0])
    outward = sign * (brow[:, 0] - brow[:, 0].mean())
    brow = brow + shift + np.stack([0 * outward, change["brow"] + change["slope"] * outward], axis=1)
    return local @ turn.T + centre + shift, brow


def _random_shares(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Shares of (hopper, hopper mirrored, collins, collins mirrored) in each region of `appearance.REGIONS`.

    What lies around the eyes comes whole from one portrait, as half-transparent glasses do not exist; so do the
    eyes themselves.  The rest mixes.  At least one region is mainly Hopper's and at least one mainly Collins's.
    """
    glasses = rng.random() < 0.22
    hopper = {name: rng.beta(0.8, 0.8) for name in ("skin", "mouth", "nose")}
    hopper["eyes"] = float(glasses)
    hopper["lids"] = float(glasses or rng.random() < 0.4)
    part = ("skin", "mouth", "nose")[int(rng.integers(3))]
    hopper[part] = rng.uniform(0.0, 0.35) if glasses else rng.uniform(0.65, 1.0)
    shares = {}
    for name in appearance.REGIONS:
        turned = rng.random(2) < 0.5
        by_portrait = np.array([hopper[name], 1 - hopper[name]])
        shares[name] = np.stack([by_portrait * ~turned, by_portrait * turned], axis=1).ravel()
    if glasses:
        shares["lids"] = shares["eyes"]  # the eyes stay behind their own glasses
    return shares


def describe_morph(key: Sequence[int]) -> str:
    """What `morph_face` of this key is made of, without making it."""
    shares = _random_shares(np.random.default_rng([*key, 0]))
    return "morph; share of Hopper: " + " ".join(f"{name} {share[:2].sum():.2f}" for name, share in shares.items())


def morph_shape(key: Sequence[int]) -> np.ndarray:
    """Landmarks (68, 2) of the `morph_face` of this key, in canonical position."""
    return random_shape(np.random.default_rng([*key, 2]))


def morph_face(key: Sequence[int], size: int = 256) -> FaceModel:
    """A new person; every choice follows from ``key``, a sequence of non-negative integers."""
    shares = _random_shares(np.random.default_rng([*key, 0]))
    rng = np.random.default_rng([*key, 1])
    layers = [face for name in ("hopper", "collins") for face in (atlas(name), atlas(name).mirrored())]
    outside = int(rng.choice(4, p=(0.18, 0.18, 0.32, 0.32)))
    mixed = appearance.mix(layers, shares, outside)
    landmarks = canonical_shape()
    image = appearance.with_skin_tone(mixed.image, appearance.random_tone(rng))
    image = appearance.recolour_hair(image, rng)
    image = appearance.tint_features(image, landmarks, rng)
    image = appearance.add_wrinkles(image, rng)
    image = appearance.add_skin_texture(image, rng)
    image = appearance.add_spots(image, rng)
    if shares["eyes"][:2].sum() < 0.5 and rng.random() < 0.15:
        image = appearance.add_glasses(image, landmarks, rng)
    face = _photograph(Atlas(image, mixed.head), morph_shape(key), Crop.random(rng), rng, size)
    return replace(face, description=describe_morph(key))


def _photograph(
    canonical: Atlas, shape: np.ndarray, crop: Crop, rng: np.random.Generator, size: int
) -> FaceModel:
    """Give a canonical face its shape, background, light and crop."""
    to_frame = crop.from_face(size)
    in_face = to_frame.inverse().apply(picture_grid(size))
    points = ThinPlateSpline(control_points(shape), control_points(canonical_shape())).on_grid(in_face)
    points = appearance.raise_hairline(points, rng.uniform(-0.1, 0.6))
    image, head = sample_image(canonical.image, points), sample_image(canonical.head, points)[..., None]
    behind = appearance.background(rng, len(image))
    image = np.clip(image, 0, 1) * head + behind * (1 - head)
    image = appearance.illuminate(image, (in_face - CANONICAL_EYES) / CANONICAL_IOD, rng)
    grey = bool(rng.random() < 0.35)
    if grey:
        image = appearance.grey(image)
    image = cv2.GaussianBlur(image, (0, 0), SUPERSAMPLING * rng.uniform(0.25, 0.6))
    return FaceModel(
        picture=np.clip(image, 0, 1) * 255.0, landmarks=to_frame.apply(shape), head=_frame_mask(head[..., 0], size),
        size=size, noise=rng.uniform(0.4, 1.1), description="", grey=grey,
    )  # fmt: skip
