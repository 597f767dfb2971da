"""Faces of pictures and clips, cut out as they are needed: what `ClipFolder` is to a prepared data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from faces.photo import FaceClip
from faces.tracking import track_keypoints
from media import ArrayClip
from modules.track import Track


class FaceClips:
    """Sources or driving clips by name; the face that was asked for last is kept in memory, and its track.

    Args:
        cut: makes a face of a file, as a :class:`faces.photo.FaceCutter`.
        paths: where they are, by name.
        with_tracks: whether the model wants their key points in every frame.
    """

    def __init__(self, cut: Callable[[Path], FaceClip], paths: Mapping[str, Path], with_tracks: bool = False):
        self.paths, self.with_tracks = dict(paths), with_tracks
        self.face = functools.lru_cache(maxsize=1)(lambda name: cut(self.paths[name]))
        self.whole_track = functools.lru_cache(maxsize=1)(self._whole_track)

    @classmethod
    def of(cls, face: FaceClip, with_tracks: bool = False, track: Track | None = None) -> FaceClips:
        """One face that is cut already; ``track`` where its movement is known."""
        clips = cls(lambda path: face, {face.clip.name: face.clip.path}, with_tracks)
        if track is not None:
            clips.whole_track = lambda name: track
        return clips

    @property
    def names(self) -> list[str]:
        return list(self.paths)

    def open(self, name: str) -> ArrayClip:
        """The cut frames."""
        return self.face(name).clip

    def fit(self, frame: np.ndarray) -> np.ndarray:
        """A frame as it is: all are cut to one size."""
        return frame

    def keypoints(self, name: str, own_size: tuple[int, int]) -> Tensor:
        """Key points (18, 2) at the first frame, in pixels of the cut."""
        return self.face(name).keypoints

    def _whole_track(self, name: str) -> Track:
        face = self.face(name)
        return track_keypoints(face.clip.frames, face.keypoints)

    def track(self, name: str, indices: Iterable[int]) -> Track:
        """The movement of the frames ``indices``."""
        return self.whole_track(name)[list(indices)]

    def files(self, name: str) -> dict[str, Path]:
        """What a result of this face is derived from."""
        return {"picture": self.paths[name]}

    def largest_movement(self, name: str) -> float:
        """Largest displacement of a key point since the first frame, head motion removed, pixels at 256×256."""
        track = self.whole_track(name)
        moved = track.points - track.onset - track.head_at(track.onset)
        return float(moved.norm(dim=-1).max()) * 256 / track.size[0]
