"""How a sample face looks: regions of the two portraits mixed, skin, hair, details, background, light.

Everything works on float32 RGB images in [0, 1] in the canonical frame of `corpora.sample.portraits`, with its
landmarks (68, 2) as (x, y) in pixels, except where a function says otherwise.  Random choices come from the
generator that is passed in, and from nothing else.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import skimage.data

import media
from corpora.sample.portraits import CANONICAL_EYES, CANONICAL_IOD, CANONICAL_SIZE, Atlas, eye_centres
from corpora.sample.warps import dense_grid, sixteenths

SURFACES = ("brick", "gravel", "grass")
TEXTURES = (*SURFACES, "camera", "coffee", "chelsea", "rocket", "moon", "ihc", "coins", "hubble_deep_field")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601

# Region: (x, y) of its centre from the point between the eyes, (half width, half height), in inter-ocular
# distances; "lids" is there twice, left and right.  Regions come in drawing order: "eyes" holds brows and a pair of
# glasses whole, "lids" what is seen through them.
REGIONS = {
    "skin": ((0.0, 0.55), (1.02, 1.35)),
    "mouth": ((0.0, 1.10), (0.66, 0.34)),
    "nose": ((0.0, 0.50), (0.30, 0.34)),
    "eyes": ((0.0, 0.04), (1.12, 0.52)),
    "lids": ((0.5, 0.0), (0.31, 0.155)),
}


def _face_axes() -> np.ndarray:
    """(S, S, 2): position from the point between the eyes, in inter-ocular distances."""
    return (dense_grid((CANONICAL_SIZE, CANONICAL_SIZE)) - CANONICAL_EYES) / CANONICAL_IOD


@functools.cache
def region_mask(name: str) -> np.ndarray:
    """Where a region of `REGIONS` is: float32 (S, S) in [0, 1], a soft superellipse."""
    (x, y), (half_width, half_height) = REGIONS[name]
    axes = _face_axes()
    if name == "lids":
        axes = np.abs(axes * (1, 0)) + axes * (0, 1)
    radius = np.abs((axes[..., 0] - x) / half_width) ** 3 + np.abs((axes[..., 1] - y) / half_height) ** 3
    return (1.0 / (1.0 + np.exp(np.minimum(radius - 1.0, 5.0) * 9.0))).astype(np.float32)


@functools.cache
def skin_mask() -> np.ndarray:
    """Cheeks and chin, without eyes, lips and nostrils: float32 (S, S) in [0, 1]."""
    mask = region_mask("skin") * (1 - 0.9 * region_mask("eyes"))
    return mask * (_face_axes()[..., 1] > 0.2).astype(np.float32)


def blend(layers: list[np.ndarray], weights: list[np.ndarray], levels: int = 6) -> np.ndarray:
    """Laplacian pyramid blend of images (S, S, C) by weight maps (S, S) that sum to one: no visible seams."""
    total = None
    for image, weight in zip(layers, weights, strict=True):
        pyramid, masks = [image], [weight]
        for _ in range(levels - 1):
            pyramid.append(cv2.pyrDown(pyramid[-1]))
            masks.append(cv2.pyrDown(masks[-1]))
        finer = zip(pyramid[:-1], pyramid[1:], strict=True)
        bands = [fine - cv2.pyrUp(coarse, dstsize=fine.shape[1::-1]) for fine, coarse in finer]
        parts = [band * mask[..., None] for band, mask in zip([*bands, pyramid[-1]], masks, strict=True)]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
    result = total[-1]
    for band in total[-2::-1]:
        result = cv2.pyrUp(result, dstsize=band.shape[1::-1]) + band
    return np.clip(result, 0.0, 1.0)


def skin_tone(image: np.ndarray) -> np.ndarray:
    """Mean colour (3,) of the skin of a canonical face."""
    weight = skin_mask()[..., None]
    return (image * weight).sum(axis=(0, 1)) / weight.sum()


def with_skin_tone(image: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """The image with each channel bent by a power so that the mean skin gets the colour ``tone`` (3,).

    A power keeps black and white where they are: eyes and teeth stay bright.
    """
    power = np.log(np.clip(tone, 0.02, 0.98)) / np.log(np.clip(skin_tone(image), 0.02, 0.98))
    return np.clip(image, 1e-4, 1.0) ** power.astype(np.float32)


def random_tone(rng: np.random.Generator) -> np.ndarray:
    """A skin colour (3,) between very light and very dark."""
    stops = np.array([(0.84, 0.68, 0.60), (0.76, 0.57, 0.47), (0.62, 0.43, 0.33), (0.42, 0.28, 0.21)])
    position = rng.beta(1.2, 1.7) * (len(stops) - 1)
    tone = np.array([np.interp(position, range(len(stops)), stops[:, i]) for i in range(3)])
    return np.clip(tone * np.exp(rng.normal(0, (0.02, 0.025, 0.04))), 0.12, 0.88)


def mix(layers: list[Atlas], shares: dict[str, np.ndarray], outside: int) -> Atlas:
    """Portraits mixed region by region.

    Args:
        layers: n atlases.
        shares: for each region of `REGIONS` the share of each layer, (n,), summing to one.
        outside: the layer that gives hair, hat, ears and neck.
    """
    weights = np.zeros((len(layers), CANONICAL_SIZE, CANONICAL_SIZE), np.float32)
    weights[outside] = 1.0
    for name in REGIONS:
        mask = region_mask(name)
        weights = weights * (1 - mask) + mask * np.asarray(shares[name], np.float32)[:, None, None]
    tone = np.mean([skin_tone(layer.image) for layer in layers], axis=0)
    images = [with_skin_tone(layer.image, tone) for layer in layers]
    return Atlas(blend(images, list(weights)), layers[outside].head)


# ------------------------------------------------------------------------------------------------ skin and hair
def _band_noise(rng: np.random.Generator, fine: float, coarse: float) -> np.ndarray:
    """Noise (S, S) of structures between two sizes (Gaussian sigma in pixels), mean 0, deviation 1."""
    white = rng.standard_normal((CANONICAL_SIZE, CANONICAL_SIZE)).astype(np.float32)
    noise = cv2.GaussianBlur(white, (0, 0), fine) - cv2.GaussianBlur(white, (0, 0), coarse)
    return noise / noise.std()


def add_skin_texture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pores and blotches as band-limited noise that multiplies the skin."""
    pores = _band_noise(rng, 0.9, 2.0) * rng.uniform(0.005, 0.035)
    blotches = _band_noise(rng, 5.0, 14.0) * rng.uniform(0.0, 0.04)
    surface = photo_texture(rng, CANONICAL_SIZE, names=SURFACES) @ LUMA
    surface = surface - cv2.GaussianBlur(surface, (0, 0), 4.0)
    surface *= rng.uniform(0.0, 0.02) / max(surface.std(), 1e-3)
    mask = region_mask("skin") * (1 - 0.5 * region_mask("eyes"))
    shade = np.exp((pores + blotches + surface) * mask)
    return np.clip(image * shade[..., None], 0, 1)


def add_spots(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Freckles over nose and cheeks, and a few moles."""
    canvas = np.zeros(image.shape[:2], np.float32)
    freckles = int(rng.integers(20, 160)) if rng.random() < 0.35 else 0
    for _ in range(freckles):
        x, y = rng.normal(0, 0.55), rng.normal(0.5, 0.3)
        _dot(canvas, x, y, rng.uniform(0.7, 1.8), rng.uniform(0.1, 0.35))
    for _ in range(int(rng.integers(0, 4))):
        _dot(canvas, rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 1.5), rng.uniform(1.2, 2.6), rng.uniform(0.4, 0.8))
    mask = cv2.GaussianBlur(canvas, (0, 0), 0.9) * region_mask("skin") * (1 - 0.8 * region_mask("mouth"))
    return image * (1 - mask[..., None] * np.array([0.75, 0.9, 1.0], np.float32))


def _dot(canvas: np.ndarray, x: float, y: float, radius: float, value: float) -> None:
    place = sixteenths(np.array((x, y)) * CANONICAL_IOD + CANONICAL_EYES).tolist()
    cv2.circle(canvas, place, int(round(radius * 16)), value, -1, cv2.LINE_AA, 4)


def _line(canvas: np.ndarray, points: np.ndarray, thickness: int, closed: bool = False) -> None:
    cv2.polylines(canvas, [sixteenths(points)], closed, 255, thickness, cv2.LINE_AA, 4)


def _softened(canvas: np.ndarray, blur: float) -> np.ndarray:
    """What was drawn, uint8 (S, S), as float32 (S, S) in [0, 1] with soft edges."""
    return cv2.GaussianBlur(canvas, (0, 0), blur).astype(np.float32) / 255.0


def _stroke(points: np.ndarray, thickness: int, blur: float) -> np.ndarray:
    """A soft line through points (n, 2): float32 (S, S) in [0, 1]."""
    canvas = np.zeros((CANONICAL_SIZE, CANONICAL_SIZE), np.uint8)
    _line(canvas, points, thickness)
    return _softened(canvas, blur)


def tint_features(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brows, lips, the stubble of a beard and the shade under the eyes, each stronger or weaker."""
    hairs = np.exp(0.12 * _band_noise(rng, 1.2, 3.0))
    brow = sum(_stroke(landmarks[part], int(rng.integers(5, 12)), 3.0) for part in (slice(17, 22), slice(22, 27)))
    strength = max(0.0, rng.normal(0.05, 0.25))
    colour = np.array(rng.uniform(0.05, 0.35)) * np.array([1.0, 0.8, 0.65], np.float32)
    image = _towards(image, colour, np.clip(strength * brow * hairs, 0, 0.75))

    lips = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(lips, [sixteenths(landmarks[48:60])], 255, cv2.LINE_AA, 4)
    lips = _softened(lips, 2.0)
    gain = np.exp(rng.normal(0, 0.10) + rng.normal(0, (0.02, 0.05, 0.05)))
    image = image * (1 + lips[..., None] * (gain - 1)).astype(np.float32)

    if rng.random() < 0.3:
        axes = _face_axes()
        place = (axes[..., 1] > 0.78) & (np.abs(axes[..., 0]) < 0.95)
        beard = cv2.GaussianBlur(place.astype(np.float32), (0, 0), 9.0) * region_mask("skin") * (1 - lips)
        stubble = beard * rng.uniform(0.1, 0.45) * np.clip(0.8 + 0.15 * _band_noise(rng, 0.9, 2.5), 0, 1.3)
        image = _towards(image, np.array([0.22, 0.19, 0.18], np.float32), np.clip(stubble, 0, 0.8))

    under = landmarks[[36, 41, 40, 39, 42, 47, 46, 45]] + (0.0, 0.13 * CANONICAL_IOD)
    bags = _stroke(under[:4], 7, 4.0) + _stroke(under[4:], 7, 4.0)
    return np.clip(image * (1 - bags * rng.uniform(-0.06, 0.18))[..., None], 0, 1).astype(np.float32)


def _towards(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    return image + (colour - image) * share[..., None].astype(np.float32)


def add_wrinkles(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Faint lines across the forehead and beside the mouth."""
    lines = np.zeros(image.shape[:2], np.float32)
    for _ in range(int(rng.integers(0, 4))):
        x = np.linspace(-0.6, 0.6, 20) * rng.uniform(0.5, 1.0)
        y = rng.uniform(-0.75, -0.45) + rng.normal(0, 0.04) * np.cos(x * 3) + rng.normal(0, 0.01, 20).cumsum() * 0.2
        lines += _stroke(np.stack([x, y], 1) * CANONICAL_IOD + CANONICAL_EYES, 2, 1.5) * rng.uniform(0.05, 0.2)
    side, depth = rng.uniform(0.5, 0.62), rng.uniform(0.0, 0.18)
    y = np.linspace(0.72, 1.12, 12)
    for sign in (-1, 1):
        x = sign * (0.28 + (side - 0.28) * ((y - 0.72) / 0.4) ** 0.8)
        lines += _stroke(np.stack([x, y], 1) * CANONICAL_IOD + CANONICAL_EYES, 3, 2.5) * depth
    return image * (1 - lines[..., None])


def add_glasses(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pair of glasses: two rims, a bridge and the start of the temples."""
    canvas = np.zeros(image.shape[:2], np.uint8)
    half = (rng.uniform(0.34, 0.42) * CANONICAL_IOD, rng.uniform(0.22, 0.34) * CANONICAL_IOD)
    power, thickness = rng.uniform(2.0, 4.0), int(rng.integers(2, 6))
    angle = np.linspace(0, 2 * np.pi, 72)
    outline = np.stack([np.sign(f(angle)) * np.abs(f(angle)) ** (2 / power) for f in (np.cos, np.sin)], 1) * half
    centres = eye_centres(landmarks) + (0.0, 0.08 * CANONICAL_IOD)
    for centre in centres:
        _line(canvas, outline + centre, thickness, closed=True)
    left, right = centres[0] + (half[0], -0.02 * CANONICAL_IOD), centres[1] - (half[0], 0.02 * CANONICAL_IOD)
    _line(canvas, np.stack([left, (left + right) / 2 - (0, 3.0), right]), thickness)
    for centre, sign in zip(centres, (-1, 1), strict=True):
        temple = np.stack([centre + (sign * half[0], -4.0), centre + (sign * 0.62 * CANONICAL_IOD, -7.0)])
        _line(canvas, temple, thickness)
    rim = _softened(canvas, 0.8)
    colour = rng.uniform(0.03, 0.3) * np.array([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.4, 1.0)], np.float32)
    shadow = cv2.GaussianBlur(np.roll(rim, 3, axis=0), (0, 0), 2.5) * 0.35
    return _towards(image * (1 - shadow[..., None]), colour, rim * 0.92)


def recolour_hair(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hair and hat (what lies outside the face and above the mouth) lighter, darker or of another hue."""
    above = 1 / (1 + np.exp((_face_axes()[..., 1] - 0.7) * 12))
    mask = ((1 - region_mask("skin")) * (1 - region_mask("eyes")) * above).astype(np.float32)
    changed = np.clip(image, 1e-4, 1) ** np.float32(np.exp(rng.normal(0.1, 0.4)))
    changed = changed * np.exp(rng.normal(0, 0.12) * np.array((1.0, 0.0, -1.0))).astype(np.float32)
    return np.clip(image + (changed - image) * mask[..., None], 0, 1)


# ------------------------------------------------------------------------------------------ surroundings and light
@functools.cache
def _texture_image(name: str) -> np.ndarray:
    folder = Path(skimage.data.__file__).parent
    path = next(path for path in (folder / f"{name}.png", folder / f"{name}.jpg") if path.exists())
    return media.read_image(path).astype(np.float32) / 255.0


def photo_texture(rng: np.random.Generator, size: int, names: tuple[str, ...] = TEXTURES) -> np.ndarray:
    """A random square cut of a picture that scikit-image ships: float32 (size, size, 3) in [0, 1]."""
    image = _texture_image(names[int(rng.integers(len(names)))])
    side = int(rng.integers(150, min(image.shape[:2])))
    y, x = (int(rng.integers(0, extent - side + 1)) for extent in image.shape[:2])
    cut = image[y : y + side, x : x + side]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """What stands behind the head: a blurred, recoloured picture or a plain wall; float32 (size, size, 3)."""
    image = photo_texture(rng, size)
    image = cv2.GaussianBlur(image, (0, 0), size * rng.uniform(0.002, 0.03))
    image = image.mean() + (image - image.mean()) * rng.uniform(0.1, 1.0)
    return np.clip(image * rng.uniform(0.4, 1.2) * np.exp(rng.normal(0, 0.15, 3)), 0, 1).astype(np.float32)


def raise_hairline(points: np.ndarray, share: float) -> np.ndarray:
    """Canonical positions (…, 2) at which to look so that the forehead above the brows is stretched by ``share``."""
    edge = CANONICAL_EYES[1] - 0.45 * CANONICAL_IOD
    above = np.maximum(edge - points[..., 1], 0.0)
    width = 0.3 * CANONICAL_IOD  # over which the stretch sets in
    kept = above - (1 - 1 / (1 + share)) * above**2 / (above + width)
    return np.stack([points[..., 0], points[..., 1] + above - kept], axis=-1)


def soft_shoulder(image: np.ndarray, knee: float = 0.7) -> np.ndarray:
    """Values above ``knee`` bent so that they approach 1 instead of being cut off there."""
    over = np.maximum(image - knee, 0.0) / (1 - knee)
    return np.where(image > knee, knee + (1 - knee) * (1 - np.exp(-over)), image)


def illuminate(image: np.ndarray, axes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from a side, a soft gradient, contrast and gamma.

    Args:
        image: float32 (h, w, 3) in [0, 1], in any frame.
        axes: (h, w, 2), position of each pixel from the point between the eyes, in inter-ocular distances.
    """
    x, y = axes[..., 0] / 1.25, (axes[..., 1] - 0.5) / 1.7
    depth = np.sqrt(np.clip(1 - np.minimum(x**2 + y**2, 0.96), 0.04, 1))
    direction = rng.normal(0, (0.45, 0.25))
    shade = (x * direction[0] + y * direction[1] + depth) / np.sqrt(1 + (direction**2).sum())
    light = rng.uniform(0.2, 0.7) * (shade - 0.9)
    light = light + 0.10 * (rng.normal() * axes[..., 0] + rng.normal() * axes[..., 1])
    image = soft_shoulder(image * np.exp(light)[..., None] * np.exp(rng.normal(0, 0.025, 3)))
    image = np.clip(image, 1e-4, 1) ** np.exp(rng.normal(0.08, 0.13))
    contrast, level = rng.uniform(0.75, 1.1), rng.normal(0, 0.03)
    return np.clip(0.5 + (image - 0.5) * contrast + level, 0, 1).astype(np.float32)


def grey(image: np.ndarray) -> np.ndarray:
    """Luma (ITU-R 601) in all three channels."""
    return np.repeat((image @ LUMA)[..., None], 3, axis=-1)
