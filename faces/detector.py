"""What a face detector is: the record of a face, the interface of the back ends, and their errors."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUM_LANDMARKS = 68


class DetectorUnavailable(RuntimeError):
    """A detector that cannot be had; the message says what is missing, where it belongs, what else to use."""


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face.

    Attributes:
        box: (x0, y0, x1, y1) in pixels, the right and lower edges exclusive; may reach outside the image.
        landmarks: float32 (68, 2), (x, y) in pixels of the image, in the order of iBUG 300-W.
        score: the detector's confidence; only comparable within one detector.
        attempt: which step of the detector's search found the face (recorded in manifests).
    """

    box: tuple[int, int, int, int]
    landmarks: np.ndarray
    score: float
    attempt: str = "plain"

    def __post_init__(self) -> None:
        if self.landmarks.shape != (NUM_LANDMARKS, 2):
            raise ValueError(f"expected landmarks of shape ({NUM_LANDMARKS}, 2), got {self.landmarks.shape}")
        x0, y0, x1, y1 = self.box
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the face box {self.box} is empty; expected (x0, y0, x1, y1), x0 < x1 and y0 < y1")

    @property
    def area(self) -> int:
        """Area of the box in pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


class Detector(abc.ABC):
    """Finds faces and their 68 landmarks.

    Attributes:
        name: what ``make_detector`` calls it.
        version: changes whenever results could: library, model file, search parameters.
        device: where it runs.
        batch_size: how many images :meth:`detect_batch` handles together; where it is 1, the detector can be pickled,
            to work in several processes instead.
        model_file: its large one, if any, which these processes have in common.
    """

    name: str
    version: str
    device: str
    batch_size: int = 1
    model_file: Path | None = None

    @abc.abstractmethod
    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a uint8 RGB image (H, W, 3), largest first; empty where there is none."""

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """:meth:`detect` of several images, of any sizes; back ends that can run them together do."""
        return [self.detect(image) for image in images]


def largest_face(detector: Detector, image: np.ndarray) -> Face | None:
    """The face with the largest box, or None; ``image`` is uint8 RGB (H, W, 3)."""
    faces = detector.detect(image)
    return faces[0] if faces else None


def by_area(faces: Sequence[Face]) -> list[Face]:
    """Largest first; equal areas by score, then by position."""
    return sorted(faces, key=lambda face: (-face.area, -face.score, face.box))


def check_image(image: np.ndarray) -> np.ndarray:
    """``image`` as a contiguous array; ValueError unless it is uint8 (H, W, 3) with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected a uint8 RGB image of shape (H, W, 3), got {got}")
    if image.size == 0:
        raise ValueError(f"the image is empty: its shape is {image.shape}")
    return np.ascontiguousarray(image)
