"""Clips decoded once: the frames of each in a plain file that all processes map into memory."""

from __future__ import annotations

import contextlib
import glob
import warnings
from pathlib import Path

import numpy as np

from media import ArrayClip, Clip, MediaError, atomic_path, clear_leftovers, open_clip, open_output_folder
from media.fingerprint import digest, file_state

READING = 2  # raised when the same files are read as other frames


class FrameCache:
    """Decoded clips in a folder, to read a few frames of them again and again.

    A clip's file is named after its path and after the sizes and times of the files it is made of: a clip that has
    changed is decoded anew.  Any number of processes may share the folder, as files appear in it whole; what they
    have in memory is the system's one copy.

    Args:
        folder: of the cache; made where there is none.
        gigabytes: how much the folder may hold, in 10⁹ bytes.  What doesn't fit is decoded every time, with a warning.
            Processes that begin to write at the same moment can exceed it by a clip each.

    Raises:
        OutputError: the folder holds what this program did not write.
    """

    def __init__(self, folder: str | Path = "frame_cache", gigabytes: float = 20.0):
        self.folder = open_output_folder(folder, "dataset_params.frame_cache.folder", "a cache of frames", {})
        self.gigabytes = gigabytes
        self._left_out: set[Path] = set()
        clear_leftovers(self.folder)

    def open(self, path: str | Path, frame_size: tuple[int, int] | None = None) -> Clip:
        """A clip as :func:`media.open_clip` gives it, but without a frame rate.

        Raises:
            MediaError: as ``open_clip``; or a file of the cache is damaged.
            OSError: the cache cannot be written.
        """
        path = Path(path)
        if not path.exists():
            return open_clip(path, frame_size)
        stamp = digest(READING, file_state(path))
        file = self.folder / f"{digest(str(path.absolute()), frame_size)}-{stamp}.npy"
        if file in self._left_out:
            return open_clip(path, frame_size)
        try:
            return ArrayClip(path, np.load(file, mmap_mode="r"))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (ValueError, EOFError) as error:
            raise MediaError(f"{file} is damaged ({error}): delete it, and it is made again") from error
        frames = open_clip(path, frame_size).read_all()
        if digest(READING, file_state(path)) == stamp:  # it was not being written meanwhile
            self._store(file, frames, path)
        return ArrayClip(path, frames)

    def _store(self, file: Path, frames: np.ndarray, path: Path) -> None:
        for old in self.folder.glob(f"{file.name.partition('-')[0]}-*.npy"):  # of the clip as it was
            old.unlink(missing_ok=True)
        held = self._held()
        if held + frames.nbytes > self.gigabytes * 1e9:
            self._left_out.add(file)
            warnings.warn(
                f"the frame cache {self.folder} holds {held / 1e9:.2f} of {self.gigabytes} GB, too much for "
                f"{frames.nbytes / 1e9:.2f} GB of {path}: such clips are decoded every time. Raise "
                "dataset_params.frame_cache.gigabytes, or empty the folder"
            )
            return
        with atomic_path(file) as temporary:
            np.save(temporary, frames)

    def _held(self) -> int:
        """Bytes in the folder, with what other processes are writing now, or were when they were killed."""
        total = 0
        for pattern in ("*.npy", ".*.part/*.npy"):
            for name in glob.iglob(pattern, root_dir=self.folder):
                with contextlib.suppress(FileNotFoundError):  # another process has just replaced it
                    total += (self.folder / name).stat().st_size
        return total
