"""The sample data set on disk: which clips there are, and writing them.

Layout under the output folder, as real data has it:

    train/<clip>/0000000.png …     one clip of every training identity, micro and macro
    test/<clip>/0000000.png …      people and movements that training never shows, micro only
    truth/<driving>-<source>/…     for each pair: the driving clip's movement on the source's face
    clips.csv                      one row a clip, see `corpora.ClipRecord`
    pairs.csv                      the test pairs, the most readable one first: mean distance of the two faces'
                                   landmarks (eyes aligned, in inter-ocular distances), source, driving, frame 0
    sample.json                    the settings it was made with

Truth: the driving clip's timeline, head drift included, played by the source's face.  Displacements keep their size
in inter-ocular distances and their place relative to the landmarks; frame 0 is the source clip's own frame 0, and
the noise is that of the source's camera.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import media
from corpora import ClipRecord, check_unedited, read_clips, write_clips, write_json, write_table
from corpora.parallel import run_parallel
from corpora.sample.action_units import CLASS3, EMOTIONS
from corpora.sample.identities import FaceModel, Identity, describe, face_shape, make_face, to_picture
from corpora.sample.motion import REFERENCE_SIZE, FaceMotion, Motion, Timeline, draw_timeline
from corpora.sample.portraits import CANONICAL_IOD, upright
from corpora.sample.warps import sample_image

VERSION = 1  # raised when the same settings would give other pictures
TRAIN_CLIPS = 96
MICRO, MACRO = (1.5, 4.0), (4.0, 12.0)  # peak displacement, pixels at 256×256
SOURCE = "portraits shipped with scikit-image and matplotlib"
_TRAIN, _TEST = 1, 2  # first number of every random stream


_face = functools.lru_cache(maxsize=8)(make_face)  # the truth needs each face of the test part again and again


def amplitude_in_iod(amplitude_px: float, face: FaceModel) -> float:
    """An amplitude in pixels at 256×256 as a share of a face's inter-ocular distance."""
    return amplitude_px * face.size / REFERENCE_SIZE / face.iod


@dataclass(frozen=True)
class ClipPlan:
    """What one clip will show; everything random in it follows from (seed, stream, index)."""

    split: str
    subject: str
    identity: Identity
    emotion: str
    units: str
    amplitude_px: float
    fps: float
    seconds: float
    key: tuple[int, ...]  # seed, stream, index
    liveliness: float = 1.0  # unevenness of the movement
    drift: float = 1.0  # amount of head drift
    frames: int | None = None  # exact length, instead of ``seconds``

    @property
    def name(self) -> str:
        return f"{self.subject}_{self.emotion}_01"

    def face(self, size: int) -> FaceModel:
        return _face(self.identity, size)

    def timeline(self, face: FaceModel | None = None) -> Timeline:
        """The clip's course; its amplitude is that on ``face``, and 0 without one."""
        amplitude = 0.0 if face is None else amplitude_in_iod(self.amplitude_px, face)
        rng = np.random.default_rng([*self.key, 2])
        return draw_timeline(
            rng, self.units, amplitude, self.fps, self.seconds, self.drift, self.liveliness, self.frames
        )

    def record(self) -> ClipRecord:
        course = self.timeline()
        return ClipRecord(
            clip=self.name, split=self.split, subject=self.subject, fps=self.fps,
            frames=len(course), onset=course.onset, apex=course.apex, offset=course.offset,
            onset_index=course.onset, apex_index=course.apex, offset_index=course.offset,
            action_units=self.units, emotion=self.emotion, class3=CLASS3[self.emotion], **self.origin(),
        )  # fmt: skip

    def origin(self) -> dict[str, str]:
        """The record's columns that say where the face comes from."""
        return {"corpus": "sample", "source": SOURCE, "identity": describe(self.identity)}


# Subject, identity (a portrait or the number of a morph), emotion, action units, peak displacement in pixels, frames a
# second, seconds, liveliness.  The morphs were chosen by eye among the first forty of the stream with seed 0.
_TEST_CLIPS = (
    ("hopper", "hopper", "sadness", "1+4", 3.0, 100, 0.35, 1.0),
    ("collins", "collins", "surprise", "1+2+5", 3.5, 100, 0.36, 1.0),
    ("s201", 33, "happiness", "6+12", 4.0, 100, 0.40, 0.4),
    ("s202", 12, "disgust", "4+9", 3.0, 100, 0.34, 1.0),
    ("s203", 39, "happiness", "L12", 2.5, 100, 0.30, 1.0),
    ("s204", 0, "repression", "15+17", 2.5, 100, 0.36, 1.0),
    ("s205", 22, "surprise", "1+2+25", 2.0, 200, 0.22, 1.0),
)
_SOURCES = ("hopper", "s204", "s205")
_DRIVERS = ("s201", "collins", "s202", "s203")


def test_plans(seed: int) -> list[ClipPlan]:
    """The clips of the test split: micro-expressions of seven people."""
    plans = []
    for number, (subject, face, emotion, units, pixels, fps, seconds, liveliness) in enumerate(_TEST_CLIPS):
        plan = ClipPlan(
            "test", subject, face if isinstance(face, str) else (seed, _TEST, face, 1), emotion, units, pixels,
            float(fps), seconds, key=(seed, _TEST, number), liveliness=liveliness, drift=liveliness,
        )  # fmt: skip
        plans.append(plan)
    return plans


def train_plans(seed: int, count: int = TRAIN_CLIPS) -> list[ClipPlan]:
    """The first ``count`` clips of the training split, one a person; half of them micro."""
    movements = [(emotion, units) for emotion, combinations in EMOTIONS.items() for units in combinations]
    plans = []
    for number in range(count):
        key = (seed, _TRAIN, number)
        rng = np.random.default_rng([*key, 0])
        order = np.random.default_rng([seed, _TRAIN, number // len(movements)]).permutation(len(movements))
        emotion, units = movements[order[number % len(movements)]]
        low, high = MICRO if number % 2 == 0 else MACRO
        fast = rng.random() < 0.1
        pixels, seconds = rng.uniform(low, high), rng.uniform(0.2, 0.25 if fast else 0.42)
        drift = round(float(rng.uniform(0.0, 0.4)), 2)  # little: a model learns the head's motion first
        plan = ClipPlan(
            "train", f"s{number + 1:03d}", (*key, 1), emotion, units, round(float(pixels), 2),
            200.0 if fast else 100.0, round(float(seconds), 3), key, drift=drift,
        )  # fmt: skip
        plans.append(plan)
    return plans


def test_pairs(plans: list[ClipPlan]) -> list[tuple[ClipPlan, ClipPlan]]:
    """(source, driving) of the test pairs: every driver on every source but its own person, the demo pair first."""
    by_subject = {plan.subject: plan for plan in plans}
    return [(by_subject[s], by_subject[d]) for s in _SOURCES for d in _DRIVERS if s != d]


# ------------------------------------------------------------------------------------------------------ writing
def render_frames(face: FaceModel, motion: FaceMotion, noise_key: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames of a clip, each rendered straight from the still picture: uint8 (H, W, 3) RGB.

    Frame 0 passes through the same interpolation as the others.  The camera's noise is fresh in every frame and
    follows from ``noise_key``; its first draw makes frame 0, so clips of one face and key start identically.
    """
    rng = np.random.default_rng(list(noise_key))
    for t in range(len(motion)):
        image = sample_image(face.picture, to_picture(motion.origin(t), face.size))
        yield photograph(image, face, rng)


def photograph(image: np.ndarray, face: FaceModel, rng: np.random.Generator) -> np.ndarray:
    """Add the face's camera noise to float32 (H, W, 3) and round to uint8.

    Most of the noise is common to the channels, as brightness noise is; a grey face gets only that.
    """
    luma = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    grain = luma if face.grey else 0.9 * luma + 0.43 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + np.float32(face.noise) * grain), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Job:
    """A folder of frames to write: a clip, or with ``source`` the driving clip's movement on the source's face."""

    folder: Path
    plan: ClipPlan
    source: ClipPlan | None = None

    def __len__(self) -> int:
        return len(self.plan.timeline())

    def is_done(self) -> bool:
        """Whether it is there, whole; raises an OutputError where it holds what this program did not write."""
        media.check_own(self.folder)
        return self.folder.is_dir() and len(media.frame_files(self.folder)) == len(self)

    def run(self, size: int) -> None:
        face = self.plan.face(size)
        timeline = self.plan.timeline(face)
        motion = Motion(face.landmarks, face.head, timeline)
        shown = self.source or self.plan
        if self.source is not None:
            face = shown.face(size)
            motion = Motion(face.landmarks, face.head, replace(timeline, amplitude=motion.peak))
        media.write_frame_folder(self.folder, render_frames(face, motion, (*shown.key, 3)))


def _plans(seed: int, train_clips: int, only: str | None = None) -> dict[str, list[ClipPlan]]:
    """The clips of each split, or of the one that is asked for."""
    plans = {"test": test_plans(seed), "train": train_plans(seed, train_clips)}
    return plans if only is None else {only: plans[only]}


def _jobs(out: Path, plans: dict[str, list[ClipPlan]]) -> list[Job]:
    jobs = []
    for split, own in plans.items():
        jobs += [Job(out / split / plan.name, plan) for plan in own]
        if split == "test":
            jobs += [Job(out / "truth" / f"{d.name}-{s.name}", d, source=s) for s, d in test_pairs(own)]
    return jobs


def build(
    out: str | Path,
    seed: int = 0,
    size: int = 256,
    train_clips: int = TRAIN_CLIPS,
    workers: int = 1,
    only: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write the sample data set, or what is missing of it.

    Args:
        seed: of everything random; the same settings give the same bytes, on every run and whatever ``workers``
            (with the same versions of the libraries, on the same kind of processor).
        size: side of the square frames in pixels.
        only: ``train`` or ``test``: that part alone.
        overwrite: make again what is there already.

    Returns:
        The number of clips written now.

    Raises:
        ValueError: an illegal value, or the folder holds a sample made with other settings.
    """
    out = Path(out)
    _check(seed, size, train_clips, workers, only)
    media.open_output_folder(out, "--out", "a sample", {}, ours=_is_sample(out / "sample.json"))
    check_unedited(out / "clips.csv", out / "pairs.csv")
    _settle(out, seed, size, train_clips, only, overwrite)
    plans = _plans(seed, train_clips, only)
    missing = [job for job in _jobs(out, plans) if overwrite or not job.is_done()]
    run = functools.partial(Job.run, size=size)
    list(run_parallel(run, missing, list(map(len, missing)), workers))
    _write_lists(out, plans)
    return len(missing)


def _check(seed: int, size: int, train_clips: int, workers: int, only: str | None) -> None:
    if only not in (None, "train", "test"):
        raise ValueError(f"only is {only!r}; legal are 'train', 'test' and nothing")
    for name, value, low, high in (
        ("seed", seed, 0, 2**32 - 1), ("size", size, 32, 1024), ("train_clips", train_clips, 1, 899),
        ("workers", workers, 1, 256),
    ):  # fmt: skip
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; legal are whole numbers from {low} to {high}")


def _settle(out: Path, seed: int, size: int, train_clips: int, only: str | None, overwrite: bool) -> None:
    """Record the settings in ``sample.json``; a sample made with other ones is an error, or removed to be overwritten.

    More training clips than before are added to those there; fewer count as other settings.
    """
    file, settings = out / "sample.json", {"version": VERSION, "seed": seed, "size": size}
    count = 0 if only == "test" else train_clips
    if file.is_file():
        there = _read_settings(file)
        fits = settings.items() <= there.items() and (only == "test" or there["train_clips"] <= count)
        if not fits and (only or not overwrite):
            remedy = "run without --only to overwrite all of it" if overwrite else "--overwrite it"
            raise ValueError(
                f"{out} holds a sample made with {there}, not with {settings | {'train_clips': train_clips}}. "
                f"Choose another folder with --out, or {remedy}."
            )
        if fits:
            count = max(count, there["train_clips"])
        else:
            media.remove_own(*(job.folder for job in _jobs(out, _plans(there["seed"], there["train_clips"]))))
    write_json(file, settings | {"train_clips": count})


def _is_sample(file: Path) -> bool:
    """Whether a file holds a sample's settings: of that name alone, anybody may have one."""
    with contextlib.suppress(OSError, ValueError):
        return file.is_file() and bool(_read_settings(file))
    return False


def _read_settings(file: Path) -> dict:
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        if not all(isinstance(there[name], int) for name in ("version", "seed", "size", "train_clips")):
            raise ValueError("its values must be whole numbers")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is damaged ({error!r}); remove it, and the clips beside it if in doubt") from error
    return there


def _write_lists(out: Path, plans: dict[str, list[ClipPlan]]) -> None:
    """``clips.csv`` of both splits (that which was not asked for as it stands there already), and ``pairs.csv``."""
    file = out / "clips.csv"
    records = {split: [plan.record() for plan in own] for split, own in plans.items()}
    for record in read_clips(file) if len(plans) == 1 and file.is_file() else ():
        if record.split not in plans:
            records.setdefault(record.split, []).append(record)
    write_clips(file, [*records.get("train", []), *records.get("test", [])], noted=True)
    if "test" not in plans:
        return
    rows = []
    for source, driving in test_pairs(plans["test"]):
        shapes = [upright(face_shape(plan.identity)) for plan in (source, driving)]
        distance = np.linalg.norm(shapes[0] - shapes[1], axis=1).mean() / CANONICAL_IOD
        rows.append((f"{distance:.4f}", source.name, driving.name, 0))
    write_table(out / "pairs.csv", ("distance", "source", "driving", "frame"), rows, noted=True)
