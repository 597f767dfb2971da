"""The people of the sample data: morphs of two portraits, and the portraits themselves.

A morph takes each region of the face (eyes, nose, mouth, skin) and what surrounds it from one portrait or a mixture,
each portrait also mirrored; its landmarks get a shape between and beyond the two with random proportions; then come
skin tone, texture, details, hair, background, light and crop.

The rule that keeps test people out of training: every training identity takes at least one region mainly
from each of the two portraits, in a changed shape; the portraits as photographed (`NAMES`) and the
morphs of the ``test`` stream are in test alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from corpora.sample import appearance, portraits
from corpora.sample.action_units import FaceAxes
from corpora.sample.portraits import CANONICAL_EYES, CANONICAL_IOD, Atlas, atlas, load_portrait
from corpora.sample.warps import dense_grid, on_grid, rotation, sample_image, similarity_between, thin_plate_spline
from faces.crop import invert_matrix, transform_points

Identity = str | tuple[int, ...]  # a portrait's name, or the key of a morph: non-negative integers

SUPERSAMPLING = 2  # pixels of a face's picture per pixel of a frame
MARGIN = 0.06  # the picture reaches this share of the frame size beyond every edge


@dataclass(frozen=True)
class FaceModel:
    """A still face, ready to be moved and photographed."""

    picture: np.ndarray  # float32 (P, P, 3) in [0, 255], at twice the frame's resolution and with a margin around it
    landmarks: np.ndarray  # float64 (68, 2), iBUG order, (x, y) in pixels of the frame
    head: np.ndarray  # float32 (size, size), 1 on head and shoulders, 0 on the background, in the frame
    size: int  # side of the square frames in pixels
    noise: float  # deviation of the camera's noise in grey levels of 255
    grey: bool = False  # the picture has no colour, and gets none by noise

    @property
    def iod(self) -> float:
        """Inter-ocular distance in pixels of the frame."""
        return FaceAxes.of(self.landmarks).iod


# ----------------------------------------------------------------------------------------------- frame and picture
def face_to_frame(size: int, iod: float = 0.385, x: float = 0.5, y: float = 0.34, roll: float = 0.0) -> np.ndarray:
    """Matrix (2, 3), canonical pixels → frame, that puts the eyes there.

    Eye distance and the point between the eyes are shares of the frame's side; the roll is in degrees.
    """
    matrix = iod * size / CANONICAL_IOD * rotation(np.deg2rad(roll))
    return np.column_stack([matrix, np.array([x, y]) * size - matrix @ np.array(CANONICAL_EYES)])


def random_crop(rng: np.random.Generator, size: int) -> np.ndarray:
    """Matrix (2, 3), canonical pixels → frame, of a crop that is now closer, now wider."""
    iod = rng.uniform(0.345, 0.42) if rng.random() < 0.65 else rng.uniform(0.42, 0.465)
    x, y = 0.5 + rng.normal(0, 0.02), 0.34 - 0.4 * (iod - 0.385) + rng.normal(0, 0.018)
    return face_to_frame(size, iod, x, y, roll=np.clip(rng.normal(0, 2.5), -6, 6))


def _margin(size: int) -> int:
    """Pixels of the frame by which a `FaceModel.picture` reaches beyond each of its edges."""
    return int(round(MARGIN * size))


def picture_side(size: int) -> int:
    """P, the side of a `FaceModel.picture` in its own pixels."""
    return SUPERSAMPLING * (size + 2 * _margin(size))


def picture_grid(size: int) -> np.ndarray:
    """Frame positions (P, P, 2) of the pixels of a `FaceModel.picture`."""
    grid = dense_grid((picture_side(size),) * 2)
    return (grid + 0.5) / SUPERSAMPLING - 0.5 - _margin(size)


def to_picture(points: np.ndarray, size: int) -> np.ndarray:
    """Positions in the frame (…, 2) → positions in the picture of a `FaceModel`."""
    return (points + _margin(size) + 0.5) * SUPERSAMPLING - 0.5


def _frame_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask in the picture → float32 (size, size) in the frame."""
    inside = slice(_margin(size), _margin(size) + size)
    small = cv2.resize(mask, None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)
    return small[inside, inside].copy()


# ---------------------------------------------------------------------------------------------------- portraits
def _portrait_face(name: str, size: int) -> FaceModel:
    """A portrait as it was photographed, cut to the face: un-morphed, in its natural colours."""
    portrait = load_portrait(name)
    places = transform_points(face_to_frame(size), portraits.EYE_CENTRES)
    to_frame = similarity_between(portraits.eye_centres(portrait.landmarks), places)
    points = transform_points(invert_matrix(to_frame), picture_grid(size))
    return FaceModel(
        picture=np.clip(sample_image(portrait.image, points), 0, 1) * 255.0,
        landmarks=transform_points(to_frame, portrait.landmarks),
        head=_frame_mask(sample_image(portrait.head, points), size),
        size=size, noise=0.7,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- morphs
def random_shape(rng: np.random.Generator) -> np.ndarray:
    """Landmarks (68, 2) of a new face in canonical position, lips closed.

    Between and beyond the portraits' shapes, then proportions one by one, in inter-ocular distances.
    """
    share = rng.uniform(-0.15, 1.15)
    shape = share * portraits.portrait_shape("hopper") + (1 - share) * portraits.portrait_shape("collins")
    if rng.random() < 0.5:
        shape = portraits.mirrored(shape)
    points = (shape - CANONICAL_EYES) / CANONICAL_IOD
    x, y = points[:, 0], points[:, 1]

    x *= 1 + rng.normal(0, 0.035) + rng.normal(0, 0.05) / (1 + np.exp((0.7 - y) / 0.15))  # width, width of the jaw
    below = np.clip(y - 0.1, 0, None)
    y += rng.normal(0, 0.035) * np.clip(below / 0.6, 0, 1) + rng.normal(0, 0.05) * np.clip(below - 0.6, 0, 1)

    for eye, brow, sign in ((slice(36, 42), slice(17, 22), -1), (slice(42, 48), slice(22, 27), 1)):
        points[eye], points[brow] = _reshape_eye(points[eye], points[brow], sign, rng)
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


def _reshape_eye(
    eye: np.ndarray, brow: np.ndarray, sign: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One eye and its brow with other proportions; each side draws its own, as faces are a little uneven.

    ``sign`` is −1 for the eye on the left of the picture.
    """
    height, width, spacing = np.exp(rng.normal(0, 0.08)), np.exp(rng.normal(0, 0.04)), rng.normal(0, 0.012)
    tilt, raised, slope = np.deg2rad(rng.normal(0, 2.5)), rng.normal(0, 0.02), rng.normal(0, 0.03)
    centre, shift = eye.mean(axis=0), np.array([sign * spacing, 0.0])
    local = (eye - centre) * (width, height)
    outward = sign * (brow[:, 0] - brow[:, 0].mean())
    brow = brow + shift + np.stack([0 * outward, raised + slope * outward], axis=1)
    return local @ rotation(sign * tilt).T + centre + shift, brow


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


# ----------------------------------------------------------------------------------------- by identity
def describe(identity: Identity) -> str:
    """What the face is made of, for the clip list; a morph is not made for it."""
    if isinstance(identity, str):
        return f"{identity}: the portrait itself"
    shares = _random_shares(np.random.default_rng([*identity, 0]))
    return "morph; share of Hopper: " + " ".join(f"{name} {share[:2].sum():.2f}" for name, share in shares.items())


def face_shape(identity: Identity) -> np.ndarray:
    """Landmarks (68, 2) of the face: of a portrait in the photograph, of a morph in canonical position."""
    if isinstance(identity, str):
        return load_portrait(identity).landmarks
    return random_shape(np.random.default_rng([*identity, 2]))


def make_face(identity: Identity, size: int = 256) -> FaceModel:
    """A portrait, or a new person of whom every choice follows from the key."""
    if isinstance(identity, str):
        return _portrait_face(identity, size)
    shares = _random_shares(np.random.default_rng([*identity, 0]))
    rng = np.random.default_rng([*identity, 1])
    layers = [face for name in portraits.NAMES for face in (atlas(name), atlas(name).mirrored())]
    outside = int(rng.choice(4, p=(0.18, 0.18, 0.32, 0.32)))
    mixed = appearance.mix(layers, shares, outside)
    landmarks = portraits.canonical_shape()
    image = appearance.with_skin_tone(mixed.image, appearance.random_tone(rng))
    image = appearance.recolour_hair(image, rng)
    image = appearance.tint_features(image, landmarks, rng)
    image = appearance.add_wrinkles(image, rng)
    image = appearance.add_skin_texture(image, rng)
    image = appearance.add_spots(image, rng)
    if shares["eyes"][:2].sum() < 0.5 and rng.random() < 0.15:
        image = appearance.add_glasses(image, landmarks, rng)
    return _photograph(Atlas(image, mixed.head), face_shape(identity), rng, size)


def _photograph(canonical: Atlas, shape: np.ndarray, rng: np.random.Generator, size: int) -> FaceModel:
    """Give a canonical face its shape, background, light and crop."""
    to_frame = random_crop(rng, size)
    in_face = transform_points(invert_matrix(to_frame), picture_grid(size))
    ends = [portraits.control_points(landmarks) for landmarks in (shape, portraits.canonical_shape())]
    points = on_grid(thin_plate_spline(*ends), in_face)
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
        picture=np.clip(image, 0, 1) * 255.0, landmarks=transform_points(to_frame, shape),
        head=_frame_mask(head[..., 0], size), size=size, noise=rng.uniform(0.4, 1.1), grey=grey,
    )  # fmt: skip
