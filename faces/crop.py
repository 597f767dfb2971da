"""One crop for a whole clip, from its onset frame, as an affine matrix image → crop; and the way back.

A matrix is float64 (2, 3) and maps pixel centres, (x, y) of the image to (x, y) of the crop.  What lies
outside the image is filled with the nearest edge pixel.

    crop = Crop(recipe="square", margin=0.1)          # what the command lines' --crop square --margin 0.1 make
    matrix = crop.matrix(face, frame.shape[:2])       # once a clip, from its onset
    cut = [crop.apply(frame, matrix) for frame in clip]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from faces.detector import Face, check_image
from media import resize_frame

RECIPES = ("paper", "square", "whole")
AUTO = "auto"  # on command lines: the program's own recipe, adapted to the picture
ALIGNMENTS = ("none", "eyes")
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)  # iBUG; the subject's right is on the left of the picture
MAX_MARGIN = 3.0
# A picture is cut to its face already where the face's box is as long as these shares of its shorter and longer side.
# (Landmarks of 535 uncut portraits span 0.31 to 0.59 of the shorter side; boxes in corpora's own crops 0.83 and more.)
CUT_SHORTER, CUT_LONGER = 0.75, 0.7

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Crop:
    """How clips are cut to their faces.

    Attributes:
        size: side of the crop, pixels.
        recipe: ``paper``: the detector's box, clipped to the image: its aspect ratio is lost on resizing.
            ``square``: a square around the box's centre, as long as its longer side, which may reach outside.
            ``whole``: all of the image, for frames that are cut to the face already.
        margin: ``square`` only: widening on every side, as a share of that longer side (0.25: half as long again).
        align: ``eyes`` removes the roll of the head, so that the eyes lie on a horizontal line; ``none`` does not.
        gray: three equal channels of luma instead of colour, see :func:`to_gray`.
        adapt: frames that are cut to the face already (:func:`is_face_crop`) are taken whole, see :meth:`adapted`, and
            a square that would leave the image is moved into it, and made smaller where that does not do.

    Raises:
        ValueError: an illegal value, or a margin that the recipe does not have.
    """

    size: int = 256
    recipe: str = "paper"
    margin: float = 0.0
    align: str = "none"
    gray: bool = False
    adapt: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"the crop's size is {self.size}; legal are 1 pixel and more")
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown crop recipe {self.recipe!r}; legal are {', '.join(RECIPES)}")
        if self.align not in ALIGNMENTS:
            raise ValueError(f"unknown alignment {self.align!r}; legal are {', '.join(ALIGNMENTS)}")
        if self.recipe != "square" and self.margin != 0.0:
            whose = "the paper's recipe" if self.recipe == "paper" else f"the recipe {self.recipe!r}"
            raise ValueError(f"margin is {self.margin}, but {whose} has none; use recipe 'square'")
        if not 0.0 <= self.margin <= MAX_MARGIN:
            raise ValueError(f"margin is {self.margin}; legal are 0 to {MAX_MARGIN:g} (shares of the face box)")

    @property
    def needs_face(self) -> bool:
        """Whether the crop depends on where the face is."""
        return self.recipe != "whole" or self.align != "none"

    @property
    def whole(self) -> Crop:
        """The same for frames that are cut to the face already: all of the image."""
        return replace(self, recipe="whole", margin=0.0, adapt=False)

    def adapted(self, face: Face | None, image_size: tuple[int, int]) -> Crop:
        """The crop for a clip: :attr:`whole` where this one adapts, and the frames are cut to the face already."""
        return self.whole if self.adapt and face is not None and is_face_crop(face, image_size) else self

    def box(self, face: Face | None, image_size: tuple[int, int]) -> Box:
        """The part of the image that becomes the crop: (x0, y0, x1, y1), right and lower edges exclusive.

        Args:
            face: of the clip's onset frame; may be None for ``whole``.
            image_size: (height, width) of the clip's frames.

        Raises:
            ValueError: the face's box lies outside the image.
        """
        height, width = image_size
        if self.recipe == "whole":
            return 0, 0, width, height
        x0, y0, x1, y1 = face.box
        if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
            raise ValueError(f"the face box {face.box} lies outside the image, {width} wide and {height} high")
        if self.recipe == "paper":
            return max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        side = max(1, round(max(x1 - x0, y1 - y0) * (1.0 + 2.0 * self.margin)))
        side = min(side, width, height) if self.adapt else side
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        if self.adapt:
            left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
        return left, top, left + side, top + side

    def matrix(self, face: Face | None, image_size: tuple[int, int]) -> np.ndarray:
        """The clip's matrix, float64 (2, 3), image → crop, as :meth:`box` explains."""
        roll = eye_roll(face.landmarks) if self.align == "eyes" else 0.0
        return box_matrix(self.box(face, image_size), self.size, roll)

    def apply(self, frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """One frame of that clip, uint8 (H, W, 3) → uint8 (size, size, 3)."""
        cut = apply_crop(frame, matrix, self.size)
        return to_gray(cut) if self.gray else cut


def is_face_crop(face: Face, image_size: tuple[int, int]) -> bool:
    """Whether an image of (height, width) is cut to its face already: the face's box all but fills it."""
    x0, y0, x1, y1 = face.box
    side = max(x1 - x0, y1 - y0)
    return side >= CUT_SHORTER * min(image_size) and side >= CUT_LONGER * max(image_size)


def add_crop_options(parser: argparse.ArgumentParser, recipe: str = "paper", margin: float = 0.0) -> None:
    """The options ``--crop --margin --align --gray`` of a command line, for :func:`chosen_crop`.

    ``recipe``, and its ``margin``, are what ``--crop auto``, the default, adapts.
    """
    add = parser.add_argument
    add(
        "--crop", choices=(AUTO, *RECIPES), default=AUTO,
        help="paper: the detector's box, clipped to the image and resized without keeping its aspect ratio; square: a "
        f"square around the box, padded where it leaves the image; whole: no cutting, resized only; auto: {recipe}, "
        "but whole where a picture is cut to the face already, and never padded (default: %(default)s)",
    )  # fmt: skip
    add(
        "--margin", type=float, metavar="M",
        help=f"square: widening on every side, as a share of the box's longer side (default: {margin:g})",
    )  # fmt: skip
    add("--align", choices=ALIGNMENTS, default="none", help="eyes: turn the crop so that the eyes are level")
    add("--gray", action="store_true", help="three equal channels of ITU-R 601 luma, as the paper trained; else colour")


def chosen_crop(options: argparse.Namespace, size: int, recipe: str = "paper", margin: float = 0.0) -> Crop:
    """The crop that a command line asks for; arguments as in :func:`add_crop_options`."""
    adapt = options.crop == AUTO
    recipe = recipe if adapt else options.crop
    if options.margin is not None:
        margin = options.margin
    elif recipe != "square":
        margin = 0.0
    return Crop(size, recipe, margin, options.align, options.gray, adapt)


def to_gray(frame: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) → three equal channels of its luma, 0.299 R + 0.587 G + 0.114 B (ITU-R 601)."""
    return np.repeat(cv2.cvtColor(check_image(frame), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def eye_roll(landmarks: np.ndarray) -> float:
    """Roll of the head in radians, positive where the eye on the picture's right is lower; (68, 2) pixels."""
    right, left = landmarks[RIGHT_EYE].mean(axis=0), landmarks[LEFT_EYE].mean(axis=0)
    return math.atan2(float(left[1] - right[1]), float(left[0] - right[0]))


def box_matrix(box: Box, size: int, roll: float = 0.0) -> np.ndarray:
    """Matrix (2, 3), image → crop, that maps ``box`` to size×size after turning it by −``roll`` radians.

    The turn is about the centre of the box.  Edges go to edges, as in resizing, with pixel centres half a
    pixel inside.
    """
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0 or size < 1:
        raise ValueError(f"cannot map the box {box} to {size}×{size}: both must be at least one pixel large")
    scale = np.array([[size / (x1 - x0)], [size / (y1 - y0)]])
    cosine, sine = math.cos(roll), math.sin(roll)
    linear = scale * np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])  # of the pixel centres
    return np.column_stack([linear, (size - 1) / 2 - linear @ centre])


def invert_matrix(matrix: np.ndarray) -> np.ndarray:
    """The way back, crop → image: float64 (2, 3)."""
    return cv2.invertAffineTransform(np.asarray(matrix, dtype=np.float64))


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2), (x, y) in pixels, through a matrix (2, 3): float64 of the same shape."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def apply_crop(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop of one frame: uint8 (H, W, 3) → uint8 (size, size, 3).

    Upright boxes on whole pixels are cut out and resized (area averaging when shrinking, bicubic when
    enlarging); turned ones are sampled densely enough not to alias, and averaged.
    """
    frame = check_image(frame)
    box = _whole_box(matrix, size)
    if box is not None:
        return resize_frame(_cut(frame, box), size, size)
    # Samples per crop pixel and axis: at least one for every image pixel.
    density = max(1, math.ceil(1.0 / min(_scales(matrix)) - 1e-6))
    dense = _rescale(matrix, density)
    shape = (size * density, size * density)
    sampled = cv2.warpAffine(frame, dense, shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return sampled if density == 1 else cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def paste_crop(image: np.ndarray, crop: np.ndarray, matrix: np.ndarray, feather: float = 0.1) -> np.ndarray:
    """Put a crop back where :func:`apply_crop` took it from, with a soft border.

    Args:
        image: uint8 (H, W, 3), stays as it is outside the crop.
        crop: uint8 (size, size, 3).
        matrix: (2, 3), image → crop.
        feather: width of the border in which the crop fades in, as a share of its side; 0 pastes a hard edge.

    Returns:
        A new image, uint8 (H, W, 3).
    """
    image, crop = check_image(image), check_image(crop)
    size = crop.shape[0]
    if crop.shape[1] != size:
        raise ValueError(f"expected a square crop, got {crop.shape[1]}×{size} (width × height)")
    if not 0.0 <= feather <= 0.5:
        raise ValueError(f"feather is {feather}; legal are 0 to 0.5 (shares of the crop's side)")
    x0, y0, x1, y1 = _covered(image, matrix, size)
    result = image.copy()
    if x1 <= x0 or y1 <= y0:
        return result
    local = np.column_stack([matrix[:, :2], transform_points(matrix, (x0, y0))])
    fade = _fade(local, (y1 - y0, x1 - x0), size, feather, _inside(image, matrix, size))[..., None]
    small_matrix, small = _shrink(local, crop)
    shape, flags = (x1 - x0, y1 - y0), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(small, small_matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    below = image[y0:y1, x0:x1]
    mixed = np.rint(below + fade * (warped.astype(np.float32) - below))
    result[y0:y1, x0:x1] = mixed.astype(np.uint8)
    return result


def _whole_box(matrix: np.ndarray, size: int) -> Box | None:
    """The box behind an upright matrix if its edges lie on whole pixels, else None."""
    if abs(matrix[0, 1]) > 1e-9 or abs(matrix[1, 0]) > 1e-9:
        return None
    corners = transform_points(invert_matrix(matrix), [(-0.5, -0.5), (size - 0.5, size - 0.5)]) + 0.5
    whole = np.rint(corners)
    if np.abs(corners - whole).max() > 1e-4:
        return None
    (x0, y0), (x1, y1) = whole.astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _cut(frame: np.ndarray, box: Box) -> np.ndarray:
    """The box out of the frame; what reaches outside repeats the nearest edge pixel."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = box
    if min(x0, y0) >= 0 and x1 <= width and y1 <= height:
        return frame[y0:y1, x0:x1]
    columns = np.clip(np.arange(x0, x1), 0, width - 1)
    rows = np.clip(np.arange(y0, y1), 0, height - 1)
    return frame[rows[:, None], columns]


def _scales(matrix: np.ndarray) -> tuple[float, float]:
    """Crop pixels per image pixel along the crop's two axes."""
    return float(np.linalg.norm(matrix[0, :2])), float(np.linalg.norm(matrix[1, :2]))


def _rescale(matrix: np.ndarray, factor: float) -> np.ndarray:
    """The matrix to a crop ``factor`` times as large, edges to edges."""
    scaled = np.asarray(matrix, dtype=np.float64) * factor
    scaled[:, 2] += (factor - 1.0) / 2.0
    return scaled


def _covered(image: np.ndarray, matrix: np.ndarray, size: int) -> Box:
    """The upright box of the image that holds all of the crop, clipped to the image."""
    edges = np.array([(x, y) for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)])
    corners = transform_points(invert_matrix(matrix), edges)
    x0, y0 = np.floor(corners.min(axis=0)).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
    return max(int(x0), 0), max(int(y0), 0), min(int(x1), image.shape[1]), min(int(y1), image.shape[0])


def _inside(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Which borders of the crop (left, top, right, bottom) lie inside the image: bool (4,)."""
    low, high = -0.5, size - 0.5
    corners = transform_points(invert_matrix(matrix), [(low, low), (high, low), (high, high), (low, high)])
    beyond = np.column_stack([corners <= low, corners >= np.array(image.shape[1::-1]) - 0.5])  # of which edges
    return np.array([not (beyond[a] & beyond[b]).any() for a, b in ((0, 3), (0, 1), (1, 2), (2, 3))])


def _fade(matrix: np.ndarray, shape: tuple[int, int], size: int, feather: float, inside: np.ndarray) -> np.ndarray:
    """Weight of the crop, float32 (H, W) in [0, 1]: 0 outside, rising smoothly from the borders ``inside`` the image.

    Where the crop ends with the image there is nothing to fade into.
    """
    rows, columns = np.indices(shape)
    points = transform_points(matrix, np.stack([columns, rows], axis=-1))
    depths = np.concatenate([points + 0.5, size - 0.5 - points], axis=-1)  # crop pixels to left, top, right, bottom
    outside = depths.min(axis=-1) < 0.0
    if feather == 0.0 or not inside.any():
        return (~outside).astype(np.float32)
    ramp = np.clip(depths[..., inside].min(axis=-1) / (feather * size), 0.0, 1.0)
    return np.where(outside, 0.0, ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)


def _shrink(matrix: np.ndarray, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and crop, averaged down where the crop is finer than the image it goes back to."""
    size = crop.shape[0]
    smaller = max(1, round(size / max(1.0, min(_scales(matrix)))))
    if smaller >= size:
        return matrix, crop
    return _rescale(matrix, smaller / size), resize_frame(crop, smaller, smaller)
