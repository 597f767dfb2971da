"""Raw clips → folders of face crops: one task a clip, in parallel, resumable.

Of every clip, the onset frame's face is found once, all frames are cut alike and written to a temporary folder that
takes its name when it is whole.  ``<out>/onsets/`` keeps, for each clip, a small picture of the onset with what was
cut, and a record of it:

    onsets/<clip>.png
    onsets/<clip>.json      frame numbers, box, matrix (raw → crop), landmarks (68, 2) in raw pixels, notices

A second run does the clips whose record is missing, or whose raw frames have changed.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

import media
from corpora import SPLITS, ClipRecord, write_clips
from corpora.contact import draw_onset
from corpora.parallel import run_parallel
from corpora.raw import Listing, Notice, RawClip
from corpora.splits import SplitOptions, assign_splits, write_splits
from corpora.tree import CorpusError
from faces import Detector, Face, make_detector
from faces.crop import Crop, crop_box

VERSION = 1  # raised when the same settings would give other pictures
SETTINGS = "prepare.json"
ONSETS = "onsets"
ON_MISSING = ("skip", "whole", "error")
LATER_FRAMES = 5  # after the onset, in which a face is looked for where the onset shows none
WRITTEN, SKIPPED = "written", "skipped"


_load_detector = functools.lru_cache(maxsize=1)(make_detector)


@dataclass(frozen=True)
class Settings:
    """What the written frames depend on.

    Attributes:
        crop: of all clips.
        keep_cropped: frames that are cut to the face already are resized only.
        detector, upsample, device, landmark_model: see :func:`faces.make_detector`; dlib's ``upsample`` is 0 where
            it is None, as in the released preprocessing.
        on_missing: ``skip``, ``whole`` (the whole frame) or ``error`` for a clip without a face.
    """

    crop: Crop = field(default_factory=Crop)
    keep_cropped: bool = True
    detector: str = "dlib"
    upsample: int | None = None
    device: str = "auto"
    landmark_model: str | None = None
    on_missing: str = "skip"

    def __post_init__(self) -> None:
        if self.on_missing not in ON_MISSING:
            raise ValueError(f"--on-missing is {self.on_missing!r}; legal are {', '.join(ON_MISSING)}")

    def crop_of(self, clip: RawClip) -> Crop:
        """The crop of one clip."""
        if clip.cropped and self.keep_cropped:
            return replace(self.crop, recipe="whole", margin=0.0)
        return self.crop

    def make_detector(self) -> Detector:
        """The detector, loaded once a process."""
        upsample = 0 if self.detector == "dlib" and self.upsample is None else self.upsample
        return _load_detector(self.detector, self.device, self.landmark_model, upsample)

    def as_dict(self, corpus: str) -> dict:
        """For ``prepare.json``; the device is left out, as it does not matter."""
        return {"version": VERSION, "corpus": corpus} | {k: v for k, v in asdict(self).items() if k != "device"}


@dataclass
class Prepared:
    """What a run came to.

    Attributes:
        records: of the clips in the data set, in natural order.
        entries: record of every clip of the corpus by name, those left out included.
        notices: everything that was not as it should be.
        written: number of clips written by this run.
    """

    records: list[ClipRecord]
    entries: dict[str, dict]
    notices: list[Notice]
    written: int


@dataclass(frozen=True)
class Task:
    """One clip to write: its folder, and where its onset picture and record go (without suffix)."""

    clip: RawClip
    folder: Path
    record: Path
    settings: Settings

    def __len__(self) -> int:
        return max(1, len(self.clip.frames))


def prepare(
    listing: Listing,
    out: Path,
    corpus: str,
    settings: Settings,
    split: SplitOptions,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Prepared:
    """Write a data set, or what is missing of it: crops, ``clips.csv``, lists of splits.

    Args:
        listing: the raw clips.
        out: folder of the data set.
        corpus: name of the corpus.
        settings: of the crops.
        split: which clips are for testing.
        workers: processes.
        overwrite: make anew what is there, with whatever settings it was made.
        progress: whether to show a bar.

    Raises:
        CorpusError: the folder holds other data, or with ``on_missing="error"`` a clip has no face.
    """
    names = [clip.name for clip in listing.clips]
    double = next((name for name, count in _count(names).items() if count > 1), None)
    if double is not None:
        raise CorpusError(f"two clips of {corpus} get the name {double!r}; this should not happen: rename one on disk")
    splits, notices = assign_splits(listing.clips, split)
    settings.make_detector()  # here too: what it lacks is said before the work
    _settle(out, settings.as_dict(corpus), overwrite)
    entries, tasks = _plan(listing.clips, out, splits, settings)
    _restart(tasks)
    written = 0
    for name, entry in run_parallel(prepare_clip, tasks, list(map(len, tasks)), workers, progress):
        entries[name] = entry
        written += entry["status"] == WRITTEN
    kept = [clip for clip in listing.clips if entries[clip.name]["status"] == WRITTEN]
    records = [_record(clip, splits[clip.name], entries[clip.name]) for clip in kept]
    write_clips(out / "clips.csv", records)
    write_splits(out / "splits", kept, split)
    notices = [*listing.notices, *notices, *_cropped_notice(listing.clips, settings), *_stale(out, names)]
    for name in names:
        notices += [Notice(*parts) for parts in entries[name]["notices"]]
    return Prepared(records, {name: entries[name] for name in names}, notices, written)


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


# ------------------------------------------------------------------------------------------------------ planning
def _settle(out: Path, settings: dict, overwrite: bool) -> None:
    """Record the settings; a data set made with other ones is an error, or removed to be overwritten."""
    file = out / SETTINGS
    if file.is_file():
        there = _read_json(file)
        if there != settings and not overwrite:
            differing = [key for key in settings if there.get(key) != settings[key]]
            changed = [f"{key} {there.get(key)!r}, now {settings[key]!r}" for key in differing]
            raise CorpusError(
                f"{out} was made with other settings ({'; '.join(changed)}). Choose another folder with --out, or make "
                "it anew with --overwrite"
            )
        if overwrite:
            _remove_written(out)
    elif any((out / part).is_dir() and any((out / part).iterdir()) for part in SPLITS):
        raise CorpusError(f"{out} holds clips that this command did not make. Choose another folder with --out")
    _write_json(file, settings)


def _remove_written(out: Path) -> None:
    """Remove the clips that have a record, and their records."""
    for record in (out / ONSETS).glob("*.json"):
        for part in SPLITS:
            shutil.rmtree(out / part / record.stem, ignore_errors=True)
        record.with_suffix(".png").unlink(missing_ok=True)
        record.unlink()


def _plan(
    clips: Sequence[RawClip], out: Path, splits: dict[str, str], settings: Settings
) -> tuple[dict[str, dict], list[Task]]:
    """Records of the clips that are done, and tasks for the others; clips in the wrong split are moved."""
    entries, tasks = {}, []
    for clip in clips:
        record = out / ONSETS / clip.name
        folder = out / splits[clip.name] / clip.name
        other = out / SPLITS[1 - SPLITS.index(splits[clip.name])] / clip.name
        if other.is_dir() and not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(other, folder)
        entry = _read_json(record.with_suffix(".json")) if record.with_suffix(".json").is_file() else None
        if entry is not None and _is_done(clip, folder, entry):
            entries[clip.name] = entry
        else:
            tasks.append(Task(clip, folder, record, settings))
    return entries, tasks


def _is_done(clip: RawClip, folder: Path, entry: dict) -> bool:
    if entry["stamp"] != _digest(clip):
        return False
    if entry["status"] == SKIPPED:
        return True
    return folder.is_dir() and [int(file.stem) for file in media.frame_files(folder)] == entry["frames"]


def _restart(tasks: Sequence[Task]) -> None:
    """Remove what a killed run has left behind, and records of clips that are done again."""
    for parent in {task.folder.parent for task in tasks}:
        for leftover in parent.glob(".*.part"):
            shutil.rmtree(leftover, ignore_errors=True)
    for task in tasks:
        task.record.with_suffix(".json").unlink(missing_ok=True)


def _digest(clip: RawClip) -> str:
    return hashlib.sha256(f"{clip.stamp} {clip.cropped} {clip.fps}".encode()).hexdigest()[:16]


def _read_json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no dictionary")
    except ValueError as error:
        raise CorpusError(f"{file} is damaged ({error}); remove it, and the clip of that name") from error
    return content


def _write_json(file: Path, content: dict) -> None:
    with media.atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ one clip
class _Frames:
    """The frames of a raw clip, one by one; unreadable ones are noted and left out."""

    def __init__(self, clip: RawClip):
        self.clip, self.notices, self.fps = clip, [], clip.fps

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        size = None
        for number, frame in self._video() if self.clip.video is not None else self._files():
            size = size or frame.shape
            if frame.shape == size:
                yield number, frame
            else:
                sizes = f"{frame.shape[1]}×{frame.shape[0]}, the first one {size[1]}×{size[0]}"
                self.note("frame-size", f"frame {number} is {sizes} (width × height)")

    def note(self, rule: str, text: str) -> None:
        self.notices.append(Notice(rule, self.clip.name, text))

    def _files(self) -> Iterator[tuple[int, np.ndarray]]:
        for frame in self.clip.frames:
            try:
                with frame.file.open() as stream:
                    image = media.decode_image(stream, frame.file.label)
            except (media.MediaError, OSError) as error:
                self.note("unreadable-frame", f"frame {frame.number}: {error}. Fetch or unpack this file again")
                continue
            yield frame.number, image

    def _video(self) -> Iterator[tuple[int, np.ndarray]]:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                clip = media.open_clip(self.clip.video.path)
                self.fps = self.fps or clip.fps
                yield from enumerate(clip)
        except media.MediaError as error:
            self.note("unreadable-frame", str(error))
        for warning in caught:
            self.note("unreadable-frame", str(warning.message))


class _TooShort(Exception):
    """Raised to leave the writing of a clip that has too few frames."""


def prepare_clip(task: Task) -> tuple[str, dict]:
    """Write one clip, its onset picture and its record; returns its name and the record.

    Raises:
        CorpusError: no face, with ``on_missing="error"``.
    """
    clip, source = task.clip, _Frames(task.clip)
    crop, frames = task.settings.crop_of(clip), iter(source)
    head = list(itertools.islice(frames, 1))
    face = _find_face(head, frames, source, task.settings) if head else None
    entry: dict = {"stamp": _digest(clip), "status": SKIPPED, "frames": [], "fps": source.fps}
    matrix = None
    if head:
        crop, matrix = _crop_matrix(crop, face, head[0][1].shape[:2], source, task.settings)
    if matrix is not None:
        entry["frames"] = _write_frames(task, crop, matrix, itertools.chain(head, frames), source)
        entry["status"] = WRITTEN if entry["frames"] else SKIPPED
    elif not head:
        source.note("no-frames", "no frame of it can be read")
    if entry["status"] == SKIPPED:
        shutil.rmtree(task.folder, ignore_errors=True)  # of an earlier run, when it could be used
    entry |= _describe(head, face, crop, matrix)
    entry["fps"] = source.fps
    entry["notices"] = [(notice.rule, notice.clip, notice.text) for notice in source.notices]
    if head:
        picture = draw_onset(head[0][1], matrix, crop.size, face and face.landmarks)
        media.write_image(task.record.parent / f"{task.record.name}.png", picture)
    _write_json(task.record.parent / f"{task.record.name}.json", entry)
    return clip.name, entry


def _find_face(
    head: list[tuple[int, np.ndarray]], frames: Iterator[tuple[int, np.ndarray]], source: _Frames, settings: Settings
) -> Face | None:
    """The largest face of the first frame that shows one; frames that are read on the way join ``head``."""
    detector = settings.make_detector()
    for later in range(LATER_FRAMES + 1):
        if later:
            following = next(frames, None)
            if following is None:
                return None
            head.append(following)
        found = detector.detect(head[-1][1])
        if found:
            if later:
                source.note("face-in-later-frame", f"frame {head[-1][0]} instead of {head[0][0]}")
            if len(found) > 1:
                source.note("several-faces", f"{len(found)} in frame {head[-1][0]}")
            return found[0]
    return None


def _crop_matrix(
    crop: Crop, face: Face | None, size: tuple[int, int], source: _Frames, settings: Settings
) -> tuple[Crop, np.ndarray | None]:
    """The crop that is used, and its matrix; None for a clip that is left out."""
    if face is not None or not crop.needs_face:
        return crop, crop.matrix(face, size)
    where = f"{source.clip.source}, {size[1]}×{size[0]} pixels"
    if settings.on_missing == "error":
        raise CorpusError(
            f"no face in the onset frame of {source.clip.name} ({where}). Look at the frame; --on-missing skip leaves "
            "such clips out, whole keeps them uncut"
        )
    source.note("no-face", f"{where}: {'used whole' if settings.on_missing == 'whole' else 'left out'}")
    if settings.on_missing == "skip":
        return crop, None
    whole = replace(crop, recipe="whole", margin=0.0, align="none")
    return whole, whole.matrix(None, size)


def _write_frames(
    task: Task, crop: Crop, matrix: np.ndarray, frames: Iterable[tuple[int, np.ndarray]], source: _Frames
) -> list[int]:
    """Cut and write; returns the frames' numbers, none where there are too few."""
    numbers: list[int] = []
    least = 1 if len(task.clip.frames) == 1 else 2
    try:
        # The writer asks for a number when a frame comes, and the list's iterator sees what was added until then.
        with media.folder_writer(task.folder, iter(numbers)) as append:
            for number, frame in frames:
                numbers.append(number)
                append(crop.apply(frame, matrix))
            if len(numbers) < least:
                raise _TooShort
    except _TooShort:
        source.note("no-frames", f"{len(numbers)} of {max(1, len(task.clip.frames))} frames can be read")
        return []
    return numbers


def _describe(head: list, face: Face | None, crop: Crop, matrix: np.ndarray | None) -> dict:
    """The record's geometry, in raw pixels."""
    found: dict = dict.fromkeys(("frame_size", "box", "recipe", "matrix", "landmarks", "score", "attempt"))
    if head:
        found["frame_size"] = list(head[0][1].shape[:2])
    if matrix is not None:
        found["box"] = list(crop_box(face, tuple(found["frame_size"]), crop.recipe, crop.margin))
        found["recipe"], found["matrix"] = crop.recipe, matrix.tolist()
    if face is not None:
        found |= {"score": round(face.score, 4), "attempt": face.attempt}
        found["landmarks"] = np.round(face.landmarks.astype(float), 2).tolist()
    return found


# ------------------------------------------------------------------------------------------------------ results
def _record(clip: RawClip, split: str, entry: dict) -> ClipRecord:
    def position(number: int | None) -> int | None:
        """Of the frame, or of the nearest one that was written."""
        return None if number is None else int(np.abs(np.array(entry["frames"]) - number).argmin())

    if not entry["fps"]:
        raise CorpusError(f"{clip.source} does not say its frame rate: give it with --fps")
    return ClipRecord(
        clip=clip.name, split=split, corpus=clip.corpus, subject=clip.subject, source=clip.source, fps=entry["fps"],
        frames=len(entry["frames"]), onset=clip.onset, apex=clip.apex, offset=clip.offset,
        onset_index=position(clip.onset), apex_index=position(clip.apex), offset_index=position(clip.offset),
        action_units=clip.action_units, emotion=clip.emotion, class3=clip.class3,
        box=tuple(entry["box"]), objective_class=clip.objective_class,
    )  # fmt: skip


def _cropped_notice(clips: Sequence[RawClip], settings: Settings) -> list[Notice]:
    count = sum(clip.cropped for clip in clips)
    return [Notice("already-cropped", "", f"{count} clips")] if count and settings.keep_cropped else []


def _stale(out: Path, names: Sequence[str]) -> list[Notice]:
    """Clips of earlier runs that the corpus no longer has."""
    known = set(names)
    there = [path for part in SPLITS if (out / part).is_dir() for path in media.natural_sorted((out / part).iterdir())]
    return [
        Notice("stale-clip", path.name, f"{path}; remove it if it should not be trained on")
        for path in there
        if path.name not in known and not path.name.startswith(".")
    ]
