"""Faces for the tests: the two portraits that come inside dependencies, and crops of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import skimage.data

from faces import Face, largest_face, make_detector
from faces.crop import Crop
from faces.dlib_backend import DlibDetector
from media import read_image


@lru_cache(maxsize=2)
def dlib_detector(upsample: int = 1) -> DlibDetector:
    """One detector for the whole suite: loading its model takes half a second."""
    return make_detector("dlib", upsample=upsample)


@lru_cache(maxsize=2)
def portrait(name: str) -> np.ndarray:
    """``astronaut`` (512, 512, 3) or ``hopper`` (600, 512, 3), uint8 RGB."""
    if name == "astronaut":
        return np.ascontiguousarray(skimage.data.astronaut())
    return read_image(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


@lru_cache(maxsize=8)
def face_crop(name: str, size: int = 256, recipe: str = "paper", margin: float = 0.0) -> np.ndarray:
    """A portrait's face, uint8 (size, size, 3)."""
    image, crop = portrait(name), Crop(size, recipe, margin)
    return crop.apply(image, crop.matrix(largest_face(dlib_detector(), image), image.shape[:2]))


def noise(height: int = 256, width: int = 256) -> np.ndarray:
    """A picture without a face."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def made_up_face(box: tuple[int, int, int, int], roll: float = 0.0, score: float = 1.0) -> Face:
    """A face whose eyes lie ``roll`` radians off the horizontal; all else is in the box's centre."""
    centre = np.array([(box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2])  # of the pixel centres
    half = (box[2] - box[0]) / 4 * np.array([np.cos(roll), np.sin(roll)])
    landmarks = np.tile(centre, (68, 1))
    landmarks[36:42] = centre - half
    landmarks[42:48] = centre + half
    return Face(box, landmarks.astype(np.float32), score)
