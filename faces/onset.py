"""Faces in the onset frames of many clips: read and detected in parallel, in constant memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from faces.detector import Detector, Face
from media import FolderClip, MediaError, open_clip

ONSET_INDEX = 0  # the onset is the first frame of a clip in natural order (spec §1)
READ_AHEAD = 2  # clips per worker that wait, read, for their turn

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Onset:
    """The onset frame of a clip and what was found in it.

    Attributes:
        path: the clip.
        frame: uint8 RGB (H, W, 3), or None where it cannot be read.
        faces: largest first.
        error: why the frame cannot be read; empty where it can.
    """

    path: Path
    frame: np.ndarray | None
    faces: list[Face] = field(default_factory=list)
    error: str = ""


def read_onset(path: Path, frame_size: tuple[int, int] | None = None) -> Onset:
    """The onset frame of a clip; ``error`` says why one cannot be read.  ``frame_size`` cuts strips apart."""
    try:
        return Onset(path, open_clip(path, frame_size).read([ONSET_INDEX])[0])
    except (MediaError, OSError) as error:
        return Onset(path, None, error=str(error))


def detect_onsets(
    detector: Detector, clips: Sequence[Path], workers: int = 1, frame_size: tuple[int, int] | None = None
) -> Iterator[Onset]:
    """Onset frames and their faces, in the order of ``clips``.

    Args:
        detector: one whose ``batch_size`` is 1 runs in the ``workers`` threads (dlib frees the GIL: measured,
            threads are as fast as processes, and start at once); one that takes batches runs in the calling
            thread, and the workers read ahead for it.
        workers: number of threads.
        frame_size: (height, width) of the frames of image strips; square frames by default.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; legal are 1 and more")

    def read(path: Path) -> Onset:
        return read_onset(path, frame_size)

    def read_and_detect(path: Path) -> Onset:
        return _with_faces([read(path)], detector)[0]

    with ThreadPoolExecutor(workers, thread_name_prefix="onset") as pool:
        if detector.batch_size == 1:
            yield from _ordered(pool, read_and_detect, clips, workers * READ_AHEAD)
            return
        batch: list[Onset] = []
        for onset in _ordered(pool, read, clips, max(workers * READ_AHEAD, detector.batch_size)):
            batch.append(onset)
            if len(batch) == detector.batch_size:
                yield from _with_faces(batch, detector)
                batch = []
        yield from _with_faces(batch, detector)


def frame_digest(frame: np.ndarray) -> str:
    """A short digest of a frame's pixels, to see whether a clip has changed."""
    return hashlib.sha256(str(frame.shape).encode() + np.ascontiguousarray(frame).tobytes()).hexdigest()[:16]


def clip_stamp(path: Path) -> str:
    """Size and time of the file that holds the onset frame: equal stamps mean an unchanged onset."""
    stat = (FolderClip(path).files[ONSET_INDEX] if path.is_dir() else path).stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _with_faces(onsets: list[Onset], detector: Detector) -> list[Onset]:
    readable = [onset for onset in onsets if onset.frame is not None]
    found = iter(detector.detect_batch([onset.frame for onset in readable]))
    return [onset if onset.frame is None else Onset(onset.path, onset.frame, next(found)) for onset in onsets]


def _ordered(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """``map`` with at most ``window`` results waiting; leaving early cancels what has not begun."""
    pending: deque[Future] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
