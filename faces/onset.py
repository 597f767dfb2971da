"""Faces in the onset frames of many clips: read and detected in parallel, in constant memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import TypeVar

import numpy as np

from faces.detector import Detector, DetectorUnavailable, Face
from media import FolderClip, MediaError, open_clip
from media.fingerprint import file_state
from parallel.workers import fork_server, start_worker

ONSET_INDEX = 0  # the onset is the first frame of a clip in natural order
READ_AHEAD = 2  # clips per thread that wait, read, for their turn
AHEAD = 16  # clips per process that are given out, so that none waits while results are being written
SHARED_MODEL = "FACES_SHARED_MODEL"  # environment variable: the landmark model that faces.preload loads

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


class OnsetDetector:
    """Reads the onset frames of clips and finds their faces; a context, with whose end its workers go.

    Args:
        detector: one that takes batches runs in the calling thread, and the workers are threads that read ahead for it.
            Any other runs in the workers, processes of their own (dlib keeps the interpreter's lock while it
            searches), for which it is pickled; they load its model, this process need not.
        workers: their number.
        frame_size: (height, width) of the frames of image strips; square frames by default.
    """

    def __init__(self, detector: Detector, workers: int = 1, frame_size: tuple[int, int] | None = None):
        if workers < 1:
            raise ValueError(f"workers is {workers}; legal are 1 and more")
        self.detector, self._workers = detector, workers
        self._read = partial(read_onset, frame_size=frame_size)
        self._pool: Executor
        self._starting: Thread | None = None
        if detector.batch_size > 1:
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="onset")
        else:
            model = {SHARED_MODEL: str(detector.model_file)} if detector.model_file else {}
            context = fork_server("faces.preload", model)
            self._pool = ProcessPoolExecutor(workers, context, _start_worker, (detector, self._read))
            # In a thread: this one need not wait for the server, nor can Ctrl-C leave a worker behind that just begins.
            self._starting = Thread(target=self._pool.submit, args=(int,), name="workers")
            self._starting.start()

    def __enter__(self) -> OnsetDetector:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._starting is not None:
            self._starting.join()
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, clips: Iterable[Path]) -> Iterator[Onset]:
        """Onsets in the order of ``clips``, in constant memory.

        Raises:
            DetectorUnavailable: a worker process was killed.
        """
        if isinstance(self._pool, ProcessPoolExecutor):
            self._starting.join()
            try:
                yield from _ordered(self._pool, _work, clips, self._workers * AHEAD)
            except BrokenProcessPool as error:
                raise DetectorUnavailable(
                    f"a process of --workers {self._workers} was killed, most likely as memory ran out: free some, "
                    "or lower --workers"
                ) from error
        else:
            size = self.detector.batch_size
            onsets = _ordered(self._pool, self._read, clips, max(self._workers * READ_AHEAD, size))
            while batch := list(islice(onsets, size)):
                yield from _with_faces(batch, self.detector)


_worker: tuple[Detector, Callable[[Path], Onset]]  # of a worker process


def _start_worker(detector: Detector, read: Callable[[Path], Onset]) -> None:
    global _worker
    start_worker()
    _worker = detector, read


def _work(path: Path) -> Onset:
    detector, read = _worker
    return _with_faces([read(path)], detector)[0]


def frame_digest(frame: np.ndarray) -> str:
    """A short digest of a frame's pixels, to see whether a clip has changed."""
    return hashlib.sha256(str(frame.shape).encode() + np.ascontiguousarray(frame).tobytes()).hexdigest()[:16]


def clip_stamp(path: Path) -> str:
    """State of the file that holds the onset frame: equal stamps mean an unchanged onset."""
    return file_state(FolderClip(path).files[ONSET_INDEX] if path.is_dir() else path)


def _with_faces(onsets: list[Onset], detector: Detector) -> list[Onset]:
    readable = [onset for onset in onsets if onset.frame is not None]
    found = iter(detector.detect_batch([onset.frame for onset in readable]))
    return [onset if onset.frame is None else Onset(onset.path, onset.frame, next(found)) for onset in onsets]


def _ordered(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], window: int
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
