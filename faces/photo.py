"""A face cut out of its photo or clip, and put back into the photo while it moves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from faces.crop import Crop, paste_crop, transform_points
from faces.detector import Detector, Face, choose_face, several_faces
from media import IMAGE_SUFFIXES, ArrayClip, Clip, MediaError, open_clip, read_image
from modules.facial_prior import select_keypoints


@dataclass(frozen=True)
class FaceClip:
    """A clip or picture and its face.

    Attributes:
        clip: the frames cut to the face, uint8 (N, S, S, 3), with the path and rate they came from.
        landmarks: float64 (68, 2), (x, y) in pixels of the cut frame 0.
        keypoints: (18, 2), those of the landmarks' nearest pixels.
        photo: frame 0, uncut: uint8 (H, W, 3).
        matrix: (2, 3), photo → cut.
        notes: what a person should know about the face and how it was cut, a line each.
    """

    clip: ArrayClip
    landmarks: np.ndarray
    keypoints: torch.Tensor
    photo: np.ndarray
    matrix: np.ndarray
    notes: tuple[str, ...] = ()


class FaceCutter:
    """Cuts clips and pictures to their faces, as the training data was cut; what was found in a file is remembered.

    Args:
        detector: finds the face in frame 0.
        crop: how it is cut.
        only_first: keep frame 0 alone (a source), and take a picture for one, however wide, not for a strip of frames.
        choice: which face, where there are several (:func:`faces.choose_face`).
    """

    def __init__(self, detector: Detector, crop: Crop, only_first: bool, choice: str | int = "largest"):
        self.detector, self.crop, self.only_first, self.choice = detector, crop, only_first, choice
        self._found: dict[Path, list[Face]] = {}

    def open(self, path: Path) -> Clip:
        """A picture, video, GIF or folder of frames."""
        is_photo = self.only_first and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        return ArrayClip(path, read_image(path)[None]) if is_photo else open_clip(path)

    def find(self, path: Path, photo: np.ndarray) -> tuple[Face, str]:
        """The face in frame 0 of the clip at ``path``, and what to say where there are several ("" else).

        Raises:
            MediaError: there is none, or not the one that was chosen.
        """
        if path not in self._found:
            self._found[path] = self.detector.detect(photo)
        if not (faces := self._found[path]):
            raise MediaError(f"no face found in the first frame of {path}: use a frontal, evenly lit face")
        try:
            face = choose_face(faces, self.choice)
        except ValueError as error:
            raise MediaError(f"{path}: {error}") from error
        return face, several_faces(face, faces, self.choice)

    def __call__(self, clip: Path | Clip) -> FaceClip:
        """Read a clip or picture and cut it to its face; frame by frame, as they are read.

        Raises:
            MediaError: nothing to read, or no such face in frame 0.
        """
        clip = clip if isinstance(clip, Clip) else self.open(clip)
        frames = iter(clip)
        photo = next(frames)
        face, several = self.find(clip.path, photo)
        notes = [several] * bool(several) + list(_notes(face, self.crop, photo.shape[:2]))
        crop = self.crop.adapted(face, photo.shape[:2])
        matrix = crop.matrix(face, photo.shape[:2])
        frames = [photo] if self.only_first else itertools.chain([photo], frames)
        cut = ArrayClip(clip.path, np.stack([crop.apply(frame, matrix) for frame in frames]), clip.fps)
        landmarks = transform_points(matrix, face.landmarks)
        points = select_keypoints(torch.from_numpy(np.rint(landmarks)))
        return FaceClip(cut, landmarks, points, photo, matrix, tuple(notes))


def _notes(face: Face, crop: Crop, image_size: tuple[int, int]) -> Iterator[str]:
    """A doubtful face, and how it is cut."""
    if face.doubt:
        yield f"doubtful face at {face.place} ({face.doubt}): look whether it is a face, and the one you mean"
    adapted = crop.adapted(face, image_size)
    if adapted.recipe == "whole":
        yield "taken whole" + (", as it is cut to its face already (--crop square cuts it)" if crop.adapt else "")
    else:
        x0, y0, x1, y1 = adapted.box(face, image_size)
        yield f"cut to x {x0} to {x1}, y {y0} to {y1}"


class Paster:
    """Puts the source's animated crops back into its photo, with a soft border.

    What a photo finer than the crop loses by being cut is put back too, moved along by the model's own motion.
    """

    def __init__(self, face: FaceClip):
        self.face, cut = face, face.clip.frames[0]
        lost = face.photo.astype(np.float32) - paste_crop(face.photo, cut, face.matrix)
        rows, columns = np.nonzero(lost.any(-1))
        self.lost: np.ndarray | None = None
        if len(rows) == 0:
            return
        self.area = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        self.lost = lost[self.area]
        y, x = np.mgrid[self.area].astype(np.float32)
        places = transform_points(face.matrix, np.stack([x, y], axis=-1)) / (len(cut) - 1)  # 0 … 1 over the crop
        self.places = places.astype(np.float32)
        self.back = np.linalg.inv(face.matrix[:, :2]) * (len(cut) - 1) / 2  # normalised units → pixels of the photo

    def paste(self, frame: np.ndarray, grid: np.ndarray | None) -> np.ndarray:
        """One frame uint8 (S, S, 3), with the grid (h, w, 2) it was sampled at → the photo, uint8 (H, W, 3)."""
        out = paste_crop(self.face.photo, frame, self.face.matrix)
        if self.lost is not None:
            out[self.area] = np.clip(np.rint(out[self.area] + self._moved(grid)), 0, 255).astype(np.uint8)
        return out

    def _moved(self, grid: np.ndarray | None) -> np.ndarray:
        if grid is None:
            return self.lost
        height, width = grid.shape[:2]
        y, x = np.mgrid[: self.lost.shape[0], : self.lost.shape[1]].astype(np.float32)
        own = np.stack(np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)), axis=-1)
        cells = self.places * np.float32([width - 1, height - 1])
        moved = cv2.remap((grid - own).astype(np.float32), cells, None, cv2.INTER_LINEAR, borderValue=0) @ self.back.T
        origin = np.stack([x, y], axis=-1) + moved.astype(np.float32)
        return cv2.remap(self.lost, origin, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
