"""A performance on a face: its dense motion, its key points, the track that animation takes, and its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from corpora.generated import split_units
from corpora.photos import rough_head
from corpora.sample.action_units import unit_field
from corpora.sample.motion import STEEPEST, FaceMotion, inner_face, largest, steepest_slope
from corpora.sample.portraits import canonical_shape
from corpora.sample.warps import dense_grid, sample_image, thin_plate_spline
from faces.tracking import FIELD_STEP
from modules.facial_prior import select_keypoints
from modules.track import Track
from scores.notation import INTENSITIES
from scores.performance import Performance


class PlayedFace(FaceMotion):
    """A performance on the face with these landmarks.

    Args:
        performance: what moves.
        landmarks: (68, 2), (x, y) in pixels of the frame.
        head: (H, W) in [0, 1], where the head is; see :func:`corpora.photos.rough_head`.

    Attributes:
        performance: as it is played: weaker than asked by the factor ``reduced`` where this face would fold.
        reduced: 1 where nothing had to be taken back.
        fields: float32 (H, W, 2) each, displacements in pixels where the weight is one inter-ocular distance.
        weights: (N, n_fields), displacement of each field's strongest place, in inter-ocular distances.
    """

    def __init__(self, performance: Performance, landmarks: np.ndarray, head: np.ndarray):
        grid, inside = dense_grid(head.shape).astype(np.float32), inner_face(landmarks, head)[..., None]
        curves: dict[tuple, np.ndarray] = {}  # of one unit with its sides, all its movements together
        for part in performance.parts:
            key = part.unit, part.sides
            curves[key] = curves.get(key, 0) + part.curve
        fields = [unit_field(unit, sides, landmarks, grid, performance.spread) * inside for unit, sides in curves]
        super().__init__(landmarks, head, [], np.stack(list(curves.values()), axis=1), performance.drift)
        self.fields = [(field * (self._axes.iod / largest(field))).astype(np.float32) for field in fields]
        self.landmarks, self.iod = landmarks, self._axes.iod
        self.reduced = self._room()
        if self.reduced < 1:
            self.weights = self.weights * self.reduced
            parts = tuple(replace(part, curve=part.curve * self.reduced) for part in performance.parts)
            units = weaker(performance.action_units, self.reduced)
            performance = replace(performance, parts=parts, action_units=units)
        self.performance = performance

    def _room(self) -> float:
        """The factor at which no frame folds, at most 1."""
        bound = np.abs(self.weights) @ [steepest_slope(field) for field in self.fields]
        steepest = STEEPEST
        for t in np.argsort(-bound):
            if bound[t] <= steepest:  # nor is any of those that follow as steep
                break
            steepest = max(steepest, steepest_slope(self.expression(int(t))))
        return STEEPEST / steepest

    @property
    def notice(self) -> str:
        """What a person should know about it, "" for nothing."""
        if self.reduced == 1:
            return ""
        return f"the face would fold: {self.performance.text!r} is played at {self.reduced:.2f} times its intensities"

    def moved(self, places: np.ndarray) -> np.ndarray:
        """The whole displacement of ``places`` (..., 2) of frame 0 in every frame: float32 (N, ..., 2), pixels."""
        at = places.reshape(-1, 2)
        local = np.tensordot(self.weights, [_values(field, at) for field in self.fields], 1)  # (N, P, 2)
        share = _values(self.head, at)
        for t in range(len(self)):
            matrix, shift = self.head_motion(t)
            local[t] += share * ((at + local[t] - self.pivot) @ matrix.T + shift)
        return local.reshape(len(self), *places.shape).astype(np.float32)

    def head_matrices(self) -> np.ndarray:
        """The head's displacement p ↦ M·p + t in every frame: float32 (N, 2, 3), pixels."""
        motions = [self.head_motion(t) for t in range(len(self))]
        return np.stack([np.column_stack([m, shift - m @ self.pivot]) for m, shift in motions]).astype(np.float32)

    def track(self, keypoints: Tensor | None = None) -> Track:
        """The movement as :mod:`faces.tracking` gives it for films, exact.

        Args:
            keypoints: (18, 2) of frame 0, in pixels; None: those of the landmarks.
        """
        onset = select_keypoints(torch.from_numpy(self.landmarks)) if keypoints is None else keypoints.float()
        size = self.head.shape[:2]
        rows, columns = (np.linspace(0, side - 1, max(2, round(side / FIELD_STEP))) for side in size)
        cells = np.stack(np.meshgrid(columns, rows), axis=-1)
        head = torch.from_numpy(self.head_matrices())
        field = torch.from_numpy(self.moved(cells))
        track = Track(onset, onset + torch.from_numpy(self.moved(onset.numpy())), field, head, size)
        return replace(track, field=field - track.head_at(track.grid))

    def frames(self, picture: np.ndarray) -> Iterator[np.ndarray]:
        """``picture``, uint8 (H, W, 3), the face at rest, in every frame: uint8 (H, W, 3)."""
        still = picture.astype(np.float32)
        for t in range(len(self)):
            yield np.clip(np.rint(sample_image(still, self.origin(t))), 0, 255).astype(np.uint8)


def _values(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``field`` (H, W, C) at ``places`` (P, 2), linear between pixels and constant beyond the edge: (P, C)."""
    channels = np.moveaxis(field, -1, 0)
    return np.stack([map_coordinates(channel, places.T[::-1], order=1, mode="nearest") for channel in channels], axis=1)


def weaker(action_units: str, factor: float) -> str:
    """A label whose units move ``factor`` times as far: the intensities in it are the nearest ones then."""
    parts = []
    for side, unit, letter in split_units(action_units):
        amount = factor * INTENSITIES[letter] if letter else 0
        nearest = min(INTENSITIES, key=lambda other: abs(INTENSITIES[other] - amount))
        parts.append(f"{side}{unit}{nearest if letter else ''}")
    return "+".join(parts)


def play(performance: Performance, landmarks: np.ndarray, size: tuple[int, int]) -> PlayedFace:
    """Play on a face in a photo of (height, width): landmarks (68, 2), or the prior's key points (18, 2), pixels."""
    if len(landmarks) == 18:
        landmarks = landmarks_of(landmarks)
    landmarks = np.asarray(landmarks, np.float64)
    return PlayedFace(performance, landmarks, rough_head(landmarks, size))


def landmarks_of(keypoints: np.ndarray) -> np.ndarray:
    """Landmarks (68, 2) of a face by its key points (18, 2): those of the canonical face, bent to go through them."""
    canonical = canonical_shape()
    anchors = select_keypoints(torch.from_numpy(canonical)).double().numpy()
    return thin_plate_spline(anchors, np.asarray(keypoints, np.float64))(canonical)
