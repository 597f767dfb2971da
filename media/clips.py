"""What a clip is once it is opened: frames to stream or to pick from, in memory or in a folder."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from media.names import IMAGE_SUFFIXES, MediaError, clip_name, frame_files, instead_of_frames
from media.pictures import read_image


class Clip(abc.ABC):
    """A clip opened for reading: ``for frame in clip`` streams it, ``clip.read([0, 5])`` picks frames.

    Attributes:
        path, name: where it is and what it is called.
        fps: frames a second as the file says, ``None`` where it does not (folders, strips).
    """

    fps: float | None = None

    def __init__(self, path: Path):
        self.path = path
        self.name = clip_name(path)

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]: ...

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ``indices`` (any order, repeats allowed): uint8 (n, H, W, 3)."""
        wanted = {int(index) for index in indices}
        frames = itertools.islice(self, max({-1, *wanted}) + 1)
        found = {index: frame for index, frame in enumerate(frames) if index in wanted}
        if missing := wanted - found.keys():
            raise MediaError(f"{self.path} has no frame {min(missing)}")
        return np.stack([found[int(index)] for index in indices])

    def first(self) -> np.ndarray:
        """Frame 0, the onset: uint8 (H, W, 3)."""
        return self.read([0])[0]

    def read_all(self) -> np.ndarray:
        """The whole clip: uint8 (N, H, W, 3).

        Raises:
            MediaError: it does not fit the memory.
        """
        frames: list[np.ndarray] = []
        try:
            frames.extend(self)
            return np.stack(frames)
        except MemoryError as error:
            size = f"{len(frames)} frames of {frames[0].shape[1]}×{frames[0].shape[0]}" if frames else "its first frame"
            raise MediaError(
                f"{self.path} does not fit the memory ({size} read, width × height): make its frames smaller or the "
                "clip shorter"
            ) from error

    def _inside(self, indices: Sequence[int]) -> list[int]:
        for index in indices:
            if not 0 <= index < len(self):
                raise MediaError(f"{self.path} has no frame {index}: it holds {len(self)} frames")
        return [int(index) for index in indices]


class FolderClip(Clip):
    """A folder of frames, read one by one in natural order."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.files = frame_files(path)
        if not self.files:
            remedy = instead_of_frames(path) or f"Expected image files ({', '.join(IMAGE_SUFFIXES)})"
            raise MediaError(f"no frames in {path}. {remedy}.")

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._decoded(self.files)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return np.stack(list(self._decoded([self.files[index] for index in self._inside(indices)])))

    def _decoded(self, files: list[Path]) -> Iterator[np.ndarray]:
        size = None
        for file in files:
            frame = read_image(file)
            size = size or frame.shape
            if frame.shape != size:
                raise MediaError(
                    f"frames of {self.path} differ in size: {file.name} is {frame.shape[1]}×{frame.shape[0]}, "
                    f"the first one {size[1]}×{size[0]} (width × height). Crop or resize the clip to one size."
                )
            yield frame


class ArrayClip(Clip):
    """A clip that is decoded whole: a picture, a strip, a file of several pictures, or frames already in memory."""

    def __init__(self, path: Path, frames: np.ndarray, fps: float | None = None):
        super().__init__(path)
        self.frames, self.fps = frames, fps

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.frames)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return self.frames[self._inside(indices)]
