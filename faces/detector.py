"""What a face detector is: the record of a face, the interface of the back ends, and their errors."""

from __future__ import annotations

import abc
import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUM_LANDMARKS = 68
CHOICES = ("largest", "left", "right")  # of the faces of a picture; or a number, from the left, from 1


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
        doubt: why a person should look whether this is a face that can be seen whole; empty for a sure one.
    """

    box: tuple[int, int, int, int]
    landmarks: np.ndarray
    score: float
    attempt: str = "plain"
    doubt: str = ""

    def __post_init__(self) -> None:
        if self.landmarks.shape != (NUM_LANDMARKS, 2):
            raise ValueError(f"expected landmarks of shape ({NUM_LANDMARKS}, 2), got {self.landmarks.shape}")
        x0, y0, x1, y1 = self.box
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the face box {self.box} is empty; expected (x0, y0, x1, y1), x0 < x1 and y0 < y1")

    @property
    def place(self) -> str:
        """Where it is, for messages: ``x 270 to 333, y 332 to 396``."""
        x0, y0, x1, y1 = self.box
        return f"x {x0} to {x1}, y {y0} to {y1}"

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
        """Faces of a uint8 RGB image (H, W, 3), in the order of :func:`ranked`; empty where there is none."""

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """:meth:`detect` of several images, of any sizes; back ends that can run them together do."""
        return [self.detect(image) for image in images]


def largest_face(detector: Detector, image: np.ndarray) -> Face | None:
    """The face with the largest box, a sure one if there is one, or None; ``image`` is uint8 RGB (H, W, 3)."""
    faces = detector.detect(image)
    return faces[0] if faces else None


def ranked(faces: Sequence[Face]) -> list[Face]:
    """Sure ones first, of each kind the largest first; equal areas by score, then by position."""
    return sorted(faces, key=lambda face: (bool(face.doubt), -face.area, -face.score, face.box))


def face_choice(text: str) -> str | int:
    """An argparse type: ``largest``, ``left``, ``right``, or a number from 1, counted from the left."""
    if text in CHOICES:
        return text
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} chooses no face; legal: {', '.join(CHOICES)}, and numbers from 1")


def choose_face(faces: Sequence[Face], choice: str | int = "largest") -> Face:
    """One of the faces of a picture, as :func:`ranked` has them; ``choice`` as :func:`face_choice` reads it.

    Raises:
        ValueError: there are not so many faces.
    """
    if choice == "largest":
        return faces[0]
    row = _from_the_left(faces)
    if choice in CHOICES:
        return row[0 if choice == "left" else -1]
    if choice > len(row):
        there = "is 1 face" if len(row) == 1 else f"are {len(row)} faces"
        raise ValueError(
            f"face {choice} was asked for, but there {there}; legal: {', '.join(CHOICES)}, 1 to {len(row)}"
        )
    return row[choice - 1]


def number_of(face: Face, faces: Sequence[Face]) -> int:
    """Which of the faces it is, counted from the left, from 1."""
    return 1 + _from_the_left(faces).index(face)


def several_faces(face: Face, faces: Sequence[Face], choice: str | int) -> str:
    """What to say where there are several: ``2 faces, the largest was taken (right)``; empty where there is one."""
    if len(faces) < 2:
        return ""
    number, doubtful = number_of(face, faces), sum(bool(other.doubt) for other in faces)
    place = ("left", "right")[number - 1] if len(faces) == 2 else f"number {number} from the left"
    largest = "largest" if doubtful in (0, len(faces)) else "largest sure one"
    taken = f"the {largest} was taken ({place})" if choice == "largest" else f"the one asked for was taken ({place})"
    return f"{len(faces)} faces{f', {doubtful} of them doubtful' if doubtful else ''}, {taken}"


def _from_the_left(faces: Sequence[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: (face.box[0] + face.box[2], face.box))


def check_image(image: np.ndarray) -> np.ndarray:
    """``image`` as a contiguous array; ValueError unless it is uint8 (H, W, 3) with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected a uint8 RGB image of shape (H, W, 3), got {got}")
    if image.size == 0:
        raise ValueError(f"the image is empty: its shape is {image.shape}")
    return np.ascontiguousarray(image)
