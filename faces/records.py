"""What ``kpmaker.py`` has done and has to do: its files and manifest against the clips as they are now."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faces.detector import Detector, Face, number_of
from faces.keypoint_files import (
    KeypointError,
    keypoint_path,
    making_command,
    read_manifest,
    save_keypoints,
    update_manifest,
)
from faces.onset import ONSET_INDEX, Onset, clip_stamp, frame_digest, read_onset
from media import MediaError

if TYPE_CHECKING:
    from torch import Tensor

FLUSH_SECONDS = 5.0  # at most this much finished work is lost by a kill
FrameSize = tuple[int, int] | None  # (height, width) of the frames of image strips


@dataclass
class Plan:
    """What a run has to do.

    Attributes:
        todo: clips to be detected.
        done: names whose files are finished.
        kept: names whose files another program made (they have no manifest entry).
        changed: names of ``todo`` whose clip is another one than when its file was made.
        moved: manifest entries of unchanged clips that lie, or are dated, elsewhere now.
    """

    todo: list[Path] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: dict[str, dict] = field(default_factory=dict)


def make_plan(
    clips: dict[str, Path], folder: Path, overwrite: bool, skipped_by: str | None, frame_size: FrameSize = None
) -> Plan:
    """Compare the clips, by name, with the key point files and the manifest in ``folder``.

    Clips that the version ``skipped_by`` of a detector has skipped count as done; None: none do.

    Raises:
        KeypointError: a file in ``folder`` belongs to another clip of the same name.
    """
    entries, plan = read_manifest(folder), Plan()
    for name, path in clips.items():
        entry = entries.get(name)
        exists = keypoint_path(folder, name).exists()
        if exists and entry is None:
            plan.kept.append(name)
        elif overwrite or (not exists and not _is_skipped(entry, skipped_by)):
            plan.todo.append(path)
        elif _is_current(name, path, entry, plan, frame_size):
            plan.done.append(name)
        else:
            plan.changed.append(name)
            plan.todo.append(path)
    return plan


def _is_skipped(entry: dict | None, skipped_by: str | None) -> bool:
    before = entry and (entry.get("status"), entry.get("detector_version"))
    return skipped_by is not None and before == ("skipped", skipped_by)


def check_source(name: str, path: Path, entry: dict | None, folder: Path) -> None:
    """Refuse key points in ``folder`` that were made from another clip than ``path`` is now.

    What another program made, and so has no ``entry`` in the manifest, cannot be told from what is right.

    Raises:
        KeypointError: they were.
    """
    if entry is None or "onset" not in entry or entry.get("stamp") == clip_stamp(path):
        return
    size = entry.get("frame_size")
    onset = read_onset(path, tuple(size) if size else None)
    if onset.frame is not None and frame_digest(onset.frame) != entry["onset"]:
        raise KeypointError(
            f"the key points of {name!r} in {folder} were made from another clip than {path} is now: run "
            f"{making_command(folder)}"
        )


def _is_current(name: str, path: Path, entry: dict, plan: Plan, frame_size: FrameSize) -> bool:
    """Whether an entry was made from this clip as it is now; the pixels decide where place or date differ."""
    try:
        where, stamp = os.path.realpath(path), clip_stamp(path)
    except (MediaError, OSError):  # nothing to read there any more: the detection will say so
        return False
    if (entry.get("source"), entry.get("stamp")) == (where, stamp):
        return True
    onset = read_onset(path, frame_size)
    if onset.frame is not None and frame_digest(onset.frame) == entry.get("onset"):
        plan.moved[name] = {**entry, "source": where, "stamp": stamp}
        return True
    if entry.get("source") != where:
        raise KeypointError(
            f"there are key points of another clip called {name!r}, {entry.get('source')}, not of {path}. "
            "Choose another folder with --out, rename the clip, or make its key points anew with --overwrite"
        )
    return False


class Recorder:
    """Writes key point files and the manifest in small groups, so that a crash leaves nothing half done.

    Of a group, old files go first, then the manifest is written, then the new files: what a kill interrupts
    has an entry but no file, and is done again by the next run.  In the context ``alone`` no other process writes the
    manifest.
    """

    def __init__(self, folder: Path, alone: Callable[[], AbstractContextManager] = nullcontext):
        self._folder, self._alone = folder, alone
        self._entries: dict[str, dict] = {}
        self._points: dict[str, Tensor] = {}
        self._last = time.monotonic()

    def add(self, name: str, entry: dict, points: Tensor | None) -> None:
        """Take one clip's result: (18, 2) pixels, or None for a clip that gets no file."""
        self._entries[name] = entry
        if points is not None:
            self._points[name] = points
        if time.monotonic() - self._last > FLUSH_SECONDS:
            self.flush()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()  # after an error or an interruption too: what is finished is kept

    def flush(self) -> None:
        """Write what has come in."""
        if self._entries:
            for name in self._entries:
                keypoint_path(self._folder, name).unlink(missing_ok=True)
            with self._alone():
                update_manifest(self._folder, self._entries)
            for name, points in self._points.items():
                save_keypoints(self._folder, name, points)
        self._entries, self._points, self._last = {}, {}, time.monotonic()


def make_entry(onset: Onset, face: Face | None, choice: str | int, detector: Detector, status: str) -> dict:
    """The manifest's entry of a clip: status found, doubtful, template or skipped, and how its ``face`` was found.

    ``frame_size`` is (height, width), ``box`` (x0, y0, x1, y1), ``landmarks`` 68 × (x, y), in whole pixels; ``taken``,
    as ``choice`` said, is the face's number among the ``faces``, from the left, from 1; ``doubt`` says why it is
    doubtful, and is empty for a sure one.  What is of a face is null where there is none.
    """
    return {
        "status": status,
        "detector": detector.name,
        "detector_version": detector.version,
        "frame": ONSET_INDEX,
        "frame_size": list(onset.frame.shape[:2]),
        "faces": len(onset.faces),
        "taken": face and number_of(face, onset.faces),
        "choice": choice,
        "box": face and list(face.box),
        "score": face and round(face.score, 4),
        "attempt": face and face.attempt,
        "doubt": face and face.doubt,
        "landmarks": face and np.rint(face.landmarks).astype(int).tolist(),
        "source": os.path.realpath(onset.path),
        "stamp": clip_stamp(onset.path),
        "onset": frame_digest(onset.frame),
    }
