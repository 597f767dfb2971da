"""One raw clip → one folder of face crops, with a picture of its onset and a record: what a worker process does.

The record, ``<clip>.json``, holds the frames' numbers and the fingerprint of the written folder, and in raw pixels the
box, the matrix (2, 3) raw → crop and the landmarks (68, 2); and what was not as it should be.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import media
from corpora import MARKS, write_json
from corpora.raw import RawClip
from corpora.rules import Notice
from corpora.spotting import describe_motion
from corpora.tree import CorpusError
from faces import Detector, Face, choose_face, make_detector, several_faces
from faces.crop import Crop, apply_crop, box_matrix, invert_matrix, transform_points
from faces.preview import LANDMARK_COLOUR, TILE
from media.fingerprint import Fingerprint, digest

VERSION = 2  # raised when the same settings would give other pictures
ON_MISSING = ("skip", "whole", "error")
LATER_FRAMES = 5  # after the onset, in which a face is looked for where the onset shows none
WRITTEN, SKIPPED = "written", "skipped"
SURROUNDINGS = 0.3  # shown around the crop in the onset's picture, as a share of its longer side
BOX_COLOUR = (255, 60, 60)

_load_detector = functools.lru_cache(maxsize=1)(make_detector)


@dataclass(frozen=True)
class Settings:
    """What the written frames depend on."""

    crop: Crop = field(default_factory=functools.partial(Crop, adapt=True))  # of all clips
    # See :func:`faces.make_detector`; dlib's ``upsample`` is 0 where it is None, as in the released preprocessing.
    detector: str = "dlib"
    upsample: int | None = None
    device: str = "auto"
    landmark_model: str | None = None
    on_missing: str = "skip"  # ``skip``, ``whole`` (the whole frame) or ``error`` for a clip without a face
    face: str | int = "largest"  # which of several, see :func:`faces.choose_face`
    keep_doubtful: bool = False  # clips whose face is doubtful are used too

    def __post_init__(self) -> None:
        if self.on_missing not in ON_MISSING:
            raise ValueError(f"--on-missing is {self.on_missing!r}; legal are {', '.join(ON_MISSING)}")

    def crop_of(self, clip: RawClip) -> Crop:
        """The crop of one clip."""
        return self.crop.whole if clip.cropped and self.crop.adapt else self.crop

    def make_detector(self) -> Detector:
        """The detector, loaded once a process."""
        upsample = 0 if self.detector == "dlib" and self.upsample is None else self.upsample
        return _load_detector(self.detector, self.device, self.landmark_model, upsample)

    def as_dict(self, corpus: str) -> dict:
        """For ``prepare.json``; the device is left out, as it does not matter."""
        return {"version": VERSION, "corpus": corpus} | {k: v for k, v in asdict(self).items() if k != "device"}


@dataclass(frozen=True)
class Task:
    """One clip to write: its folder, and the file of its record, with the picture of its onset beside it."""

    clip: RawClip
    folder: Path
    record: Path
    settings: Settings

    def __len__(self) -> int:
        return max(1, len(self.clip.frames))


def clip_digest(clip: RawClip) -> str:
    """Changes whenever the written clip could, and where the raw frames lie or are dated elsewhere."""
    return digest(clip.stamp, clip.cropped, clip.fps)


def clip_content(clip: RawClip) -> str | None:
    """Changes whenever the written clip could; the raw frames are read.  None where one cannot be."""
    try:
        return digest(clip.content(), clip.cropped, clip.fps)
    except OSError:
        return None


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
                warnings.simplefilter("ignore")  # of whatever else runs between two frames
                warnings.filterwarnings("always", message=re.escape(str(self.clip.video.path)))  # media's, of this file
                clip = media.open_clip(self.clip.video.path)
                number = -1
                for number, frame in enumerate(clip):
                    if self.clip.uses(number):
                        yield number, frame
                for mark in MARKS:
                    if (there := getattr(self.clip, mark)) is not None and there > number:
                        rule = "apex-frame-missing" if mark == "apex" else "offset-beyond"
                        self.note(rule, f"{mark} {there + 1}, the video has {number + 1} frames")
                self._take_rate(clip.fps)  # a video tells with its last frame
        except media.MediaError as error:
            self.note("unreadable-frame", str(error))
        for warning in caught:
            damaged = issubclass(warning.category, media.DamageWarning)
            self.note("unreadable-frame" if damaged else "as-recorded", str(warning.message))

    def _take_rate(self, recorded: float | None) -> None:
        """The given rate goes over the recorded one: cameras of 200 frames a second write files that say 25."""
        if self.fps and recorded and not math.isclose(self.fps, recorded, rel_tol=0.01):
            self.note("rate-overruled", f"the file says {recorded:.4g} frames a second, {self.fps:.4g} are given")
        self.fps = self.fps or recorded


def prepare_clip(task: Task) -> tuple[str, dict]:
    """Write one clip, its onset picture and its record; returns its name and the record.

    Raises:
        CorpusError: no face, with ``on_missing="error"``.
    """
    clip, source = task.clip, _Frames(task.clip)
    crop, frames = task.settings.crop_of(clip), iter(source)
    head = list(itertools.islice(frames, 1))
    face = _find_face(head, frames, source, task.settings) if head else None
    entry: dict = {"stamp": clip_digest(clip), "content": clip_content(clip), "status": SKIPPED, "frames": []}
    matrix = None
    if head:
        crop, matrix = _crop_matrix(crop, face, head[0][1].shape[:2], source, task.settings)
        if crop.recipe == "whole" and task.settings.crop.adapt and matrix is not None:
            why = "as the corpus says" if clip.cropped else f"the face at {face.place} fills them"
            source.note("already-cropped", f"{head[0][1].shape[1]}×{head[0][1].shape[0]} pixels, {why}")
    if matrix is not None:
        entry["frames"] = _write_frames(task, crop, matrix, itertools.chain(head, frames), source)
        if entry["frames"]:
            entry |= {"status": WRITTEN, "written": str(Fingerprint.of(task.folder))}
            if clip.spot:
                sheet = task.record.with_suffix(".jpg")
                entry |= describe_motion(task.folder, matrix, face and face.landmarks, sheet)
    elif not head:
        source.note("no-frames", "no frame of it can be read")
    if entry["status"] == SKIPPED:
        media.remove_own(task.folder)  # of an earlier run, when it could be used
    entry |= {"fps": source.fps} | _describe(head, face, crop, matrix)
    entry["notices"] = [(notice.rule, notice.clip, notice.text) for notice in source.notices]
    if head:
        picture = draw_onset(head[0][1], matrix, crop.size, face and face.landmarks)
        media.write_image(task.record.with_suffix(".png"), picture)
    write_json(task.record, entry)
    return clip.name, entry


def _find_face(
    head: list[tuple[int, np.ndarray]], frames: Iterator[tuple[int, np.ndarray]], source: _Frames, settings: Settings
) -> Face | None:
    """The face of the first frame that shows a sure one, else a doubtful one; frames read on the way join ``head``."""
    detector, doubtful = settings.make_detector(), None
    for later in range(LATER_FRAMES + 1):
        if later:
            head += itertools.islice(frames, 1)
        if later == len(head):
            break
        found = detector.detect(head[-1][1])
        if not found:
            continue
        try:
            face = choose_face(found, settings.face)
        except ValueError as error:
            source.note("no-face", f"frame {head[-1][0]}: {error}")
            return None
        if face.doubt:
            doubtful = doubtful or face
            continue
        if later:
            source.note("face-in-later-frame", f"frame {head[-1][0]} instead of {head[0][0]}")
        if several := several_faces(face, found, settings.face):
            source.note("several-faces", f"frame {head[-1][0]}: {several}")
        return face
    return doubtful


def _crop_matrix(
    crop: Crop, face: Face | None, size: tuple[int, int], source: _Frames, settings: Settings
) -> tuple[Crop, np.ndarray | None]:
    """The crop that is used, and its matrix; None for a clip that is left out."""
    if not crop.needs_face:
        return crop, crop.matrix(face, size)
    if face is not None:
        if face.doubt:
            use = "used all the same" if settings.keep_doubtful else "left out"
            source.note("doubtful-face", f"at {face.place}, {face.doubt}: {use}")
        crop = crop.adapted(face, size)
        return crop, None if face.doubt and not settings.keep_doubtful else crop.matrix(face, size)
    where = f"{source.clip.source}, {size[1]}×{size[0]} pixels"
    if settings.on_missing == "error":
        raise CorpusError(
            f"no face in the onset frame of {source.clip.name} ({where}). Look at the frame; --on-missing skip leaves "
            "such clips out, whole keeps them uncut"
        )
    source.note("no-face", f"{where}: {'used whole' if settings.on_missing == 'whole' else 'left out'}")
    if settings.on_missing == "skip":
        return crop, None
    whole = replace(crop.whole, align="none")
    return whole, whole.matrix(None, size)


def _write_frames(
    task: Task, crop: Crop, matrix: np.ndarray, frames: Iterable[tuple[int, np.ndarray]], source: _Frames
) -> list[int]:
    """Cut and write; returns the frames' numbers, none where there are too few."""
    least = 1 if len(task.clip.frames) == 1 else 2
    first = list(itertools.islice(frames, least))
    if len(first) < least:
        source.note("no-frames", f"{len(first)} of {max(1, len(task.clip.frames))} frames can be read")
        return []
    numbers: list[int] = []
    # The writer asks for a number when a frame comes, and the list's iterator sees what was added until then.
    with media.folder_writer(task.folder, iter(numbers)) as append:
        for number, frame in itertools.chain(first, frames):
            numbers.append(number)
            append(crop.apply(frame, matrix))
    return numbers


def _describe(head: list, face: Face | None, crop: Crop, matrix: np.ndarray | None) -> dict:
    """The record's geometry, in raw pixels."""
    found: dict = dict.fromkeys(("frame_size", "box", "recipe", "matrix", "landmarks", "score", "attempt", "doubt"))
    if head:
        found["frame_size"] = list(head[0][1].shape[:2])
    if matrix is not None:
        found["box"] = list(crop.box(face, tuple(found["frame_size"])))
        found["recipe"], found["matrix"] = crop.recipe, matrix.tolist()
    if face is not None:
        found |= {"score": round(face.score, 4), "attempt": face.attempt, "doubt": face.doubt}
        found["landmarks"] = np.round(face.landmarks.astype(float), 2).tolist()
    return found


def draw_onset(frame: np.ndarray, matrix: np.ndarray | None, size: int, landmarks: np.ndarray | None) -> np.ndarray:
    """The surroundings of the crop with its outline and the landmarks: uint8 (TILE, TILE, 3).

    Args:
        frame: uint8 RGB (H, W, 3), the onset.
        matrix: (2, 3), frame → crop; None for a clip that was left out.
        size: side of the crop.
        landmarks: (68, 2), pixels of the frame, or None.
    """
    height, width = frame.shape[:2]
    corners = np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], dtype=float)
    if matrix is not None:
        edges = [(-0.5, -0.5), (size - 0.5, -0.5), (size - 0.5, size - 0.5), (-0.5, size - 0.5)]
        corners = transform_points(invert_matrix(matrix), edges)
    low, high = corners.min(axis=0), corners.max(axis=0)
    around = 0.0 if matrix is None else SURROUNDINGS
    side = int(np.ceil((high - low).max() * (1.0 + 2.0 * around)))
    x0, y0 = np.rint((low + high - side) / 2).astype(int)
    view = box_matrix((int(x0), int(y0), int(x0) + side, int(y0) + side), TILE)
    picture = Image.fromarray(apply_crop(frame, view, TILE))
    draw = ImageDraw.Draw(picture)
    if matrix is not None:
        outline = [tuple(point) for point in transform_points(view, corners)]
        draw.line([*outline, outline[0]], fill=BOX_COLOUR, width=2)
    for x, y in transform_points(view, landmarks) if landmarks is not None else ():
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=LANDMARK_COLOUR)
    return np.asarray(picture)
