"""The sample data set on disk: which clips there are, and writing them.

Layout under the output folder, as real data has it:

    train/<clip>/0000000.png …     one clip of every training identity, micro and macro
    test/<clip>/0000000.png …      people and movements that training never shows, micro only
    truth/<driving>-<source>/…     for each pair: the driving clip's movement on the source's face
    clips.csv                      one row a clip, see `corpora.ClipRecord`
    pairs.csv                      distance,source,driving,frame: the test pairs, the most readable one first
    sample.json                    the settings it was made with

Truth: the driving clip's timeline, head drift included, played by the source's face.  Displacements keep their size
in inter-ocular distances and their place relative to the landmarks; frame 0 is the source clip's own frame 0, and
the noise is that of the source's camera.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

import media
from corpora import ClipRecord, read_clips, write_clips
from corpora.sample.action_units import CLASS3, EMOTIONS
from corpora.sample.clips import amplitude_in_iod, render_frames
from corpora.sample.identities import Crop, FaceModel, describe_morph, morph_face, portrait_face
from corpora.sample.motion import Motion, Timeline, draw_timeline

VERSION = 1  # raised when the same settings would give other pictures
TRAIN_CLIPS = 96
MICRO, MACRO = (1.5, 4.0), (4.0, 12.0)  # peak displacement, pixels at 256×256
SOURCE = "portraits shipped with scikit-image and matplotlib"
_TRAIN, _TEST = 1, 2  # first number of every random stream


@dataclass(frozen=True)
class ClipPlan:
    """What one clip will show; everything random in it follows from (seed, stream, index)."""

    name: str
    split: str
    subject: str
    identity: str  # "hopper", "collins" or "morph"
    emotion: str
    units: str
    amplitude_px: float
    fps: float
    seconds: float
    key: tuple[int, ...]  # seed, stream, index
    crop: Crop | None = None

    def face(self, size: int) -> FaceModel:
        if self.identity == "morph":
            return morph_face([*self.key, 1], size)
        return portrait_face(self.identity, size, self.crop)

    def describe(self) -> str:
        return describe_morph([*self.key, 1]) if self.identity == "morph" else f"{self.identity}: the portrait itself"

    def timeline(self, face: FaceModel | None = None) -> Timeline:
        """The clip's course; its amplitude is that on ``face``, and 0 without one."""
        amplitude = 0.0 if face is None else amplitude_in_iod(self.amplitude_px, face)
        rng = np.random.default_rng([*self.key, 2])
        return draw_timeline(rng, self.units, amplitude, self.fps, self.seconds)

    @property
    def noise_key(self) -> tuple[int, ...]:
        return (*self.key, 3)

    def record(self) -> ClipRecord:
        course = self.timeline()
        return ClipRecord(
            clip=self.name, split=self.split, corpus="sample", subject=self.subject, source=SOURCE, fps=self.fps,
            frames=len(course), onset=course.onset, apex=course.apex, offset=course.offset,
            onset_index=course.onset, apex_index=course.apex, offset_index=course.offset,
            action_units=self.units, emotion=self.emotion, class3=CLASS3[self.emotion], identity=self.describe(),
        )  # fmt: skip


# (subject, identity, emotion, units, peak pixels, frames a second, seconds)
_TEST_CLIPS = (
    ("hopper", "hopper", "surprise", "1+2+5", 3.0, 100, 0.40),
    ("collins", "collins", "happiness", "6+12", 3.0, 200, 0.25),
    ("s201", "morph", "happiness", "6+12", 4.0, 100, 0.45),
    ("s202", "morph", "surprise", "1+2+5", 3.5, 100, 0.40),
    ("s203", "morph", "disgust", "4+9", 3.0, 100, 0.35),
    ("s204", "morph", "repression", "15+17", 2.5, 100, 0.45),
    ("s205", "morph", "happiness", "L12", 2.0, 100, 0.30),
    ("s206", "morph", "sadness", "1+4+15", 2.0, 200, 0.25),
)
_SOURCES = ("hopper", "s202", "s203", "s206")
_DRIVERS = ("s201", "s202", "s204", "s205", "s203", "collins")


def test_plans(seed: int) -> list[ClipPlan]:
    """The clips of the test split: micro-expressions of eight people."""
    return [
        ClipPlan(
            f"{subject}_{emotion}_01", "test", subject, identity, emotion, units, pixels, float(fps), seconds,
            key=(seed, _TEST, number),
        )  # fmt: skip
        for number, (subject, identity, emotion, units, pixels, fps, seconds) in enumerate(_TEST_CLIPS)
    ]


def train_plans(seed: int, count: int = TRAIN_CLIPS) -> list[ClipPlan]:
    """The first ``count`` clips of the training split, one a person; half of them micro."""
    movements = [(emotion, units) for emotion, combinations in EMOTIONS.items() for units in combinations]
    plans = []
    for number in range(count):
        rng = np.random.default_rng([seed, _TRAIN, number, 0])
        order = np.random.default_rng([seed, _TRAIN, number // len(movements)]).permutation(len(movements))
        emotion, units = movements[order[number % len(movements)]]
        low, high = MICRO if number % 2 == 0 else MACRO
        fast = rng.random() < 0.1
        plans.append(
            ClipPlan(
                f"s{number + 1:03d}_{emotion}_01", "train", f"s{number + 1:03d}", "morph", emotion, units,
                round(float(rng.uniform(low, high)), 2), 200.0 if fast else 100.0,
                round(float(rng.uniform(0.2, 0.3 if fast else 0.45)), 3), key=(seed, _TRAIN, number),
            )  # fmt: skip
        )
    return plans


def test_pairs(plans: list[ClipPlan]) -> list[tuple[ClipPlan, ClipPlan]]:
    """(source, driving) of the test pairs: every driver on every source but its own person, the demo pair first."""
    by_subject = {plan.subject: plan for plan in plans}
    return [(by_subject[s], by_subject[d]) for s in _SOURCES for d in _DRIVERS if s != d]


# ------------------------------------------------------------------------------------------------------ writing
def _write_clip(plan: ClipPlan, folder: Path, size: int) -> None:
    face = plan.face(size)
    motion = Motion(face.landmarks, face.head, plan.timeline(face))
    media.write_frame_folder(folder, render_frames(face, motion, plan.noise_key))


def _write_truth(source: ClipPlan, driving: ClipPlan, folder: Path, size: int) -> None:
    model, actor = source.face(size), driving.face(size)
    timeline = driving.timeline(actor)
    timeline = replace(timeline, amplitude=Motion(actor.landmarks, actor.head, timeline).peak)
    motion = Motion(model.landmarks, model.head, timeline)
    media.write_frame_folder(folder, render_frames(model, motion, source.noise_key))


def _limit_threads() -> None:
    cv2.setNumThreads(1)


def _is_whole(folder: Path, frames: int) -> bool:
    return folder.is_dir() and len(media.frame_files(folder)) == frames


def _jobs(out: Path, seed: int, size: int, train_clips: int, only: str | None) -> list[tuple[Path, int, Callable, tuple]]:
    """(folder, frames, function, its arguments) of everything the data set consists of."""
    jobs = []
    if only != "train":
        plans = test_plans(seed)
        jobs += [(out / "test" / p.name, len(p.timeline()), _write_clip, (p,)) for p in plans]
        jobs += [
            (out / "truth" / f"{d.name}-{s.name}", len(d.timeline()), _write_truth, (s, d))
            for s, d in test_pairs(plans)
        ]
    if only != "test":
        plans = train_plans(seed, train_clips)
        jobs += [(out / "train" / p.name, len(p.timeline()), _write_clip, (p,)) for p in plans]
    return [(folder, frames, function, (*arguments, folder, size)) for folder, frames, function, arguments in jobs]


def build(
    out: str | Path,
    seed: int = 0,
    size: int = 256,
    train_clips: int = TRAIN_CLIPS,
    workers: int = 1,
    only: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> int:
    """Write the sample data set, or what is missing of it.

    Args:
        out: its folder.
        seed: makes everything random; the same settings give the same bytes, whatever ``workers``.
        size: side of the square frames in pixels.
        train_clips: how many training clips.
        workers: processes.
        only: ``train`` or ``test``: that part alone.
        overwrite: make again what is there already.

    Returns:
        The number of clips written now.

    Raises:
        ValueError: an illegal value, or the folder holds a sample made with other settings.
    """
    out = Path(out)
    _check(seed, size, train_clips, workers, only)
    _check_settings(out, {"version": VERSION, "seed": seed, "size": size}, overwrite)
    jobs = _jobs(out, seed, size, train_clips, only)
    missing = [job for job in jobs if overwrite or not _is_whole(job[0], job[1])]
    _run(missing, workers, progress)
    _write_lists(out, seed, train_clips, only)
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


def _check_settings(out: Path, settings: dict, overwrite: bool) -> None:
    file = out / "sample.json"
    if file.is_file() and not overwrite:
        there = json.loads(file.read_text(encoding="utf-8"))
        if there != settings:
            raise ValueError(
                f"{out} holds a sample made with {there}, not with {settings}. "
                "Choose another folder with --out, or --overwrite it."
            )
    with media.atomic_path(file) as temporary:
        temporary.write_text(json.dumps(settings) + "\n", encoding="utf-8")


def _run(jobs: list, workers: int, progress: bool) -> None:
    bar = tqdm(total=sum(frames for _, frames, _, _ in jobs), unit="frame", disable=not progress or not jobs)
    with bar:
        if workers == 1 or len(jobs) < 2:
            for _, frames, function, arguments in jobs:
                function(*arguments)
                bar.update(frames)
            return
        # Spawned, not forked: forking a process that has started threads can hang.
        with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _limit_threads) as pool:
            running = {pool.submit(function, *arguments): frames for _, frames, function, arguments in jobs}
            for done in as_completed(running):
                done.result()
                bar.update(running[done])


def _write_lists(out: Path, seed: int, train_clips: int, only: str | None) -> None:
    """``clips.csv`` of both parts (that which was not asked for as it stands there already), and ``pairs.csv``."""
    file = out / "clips.csv"
    records = {"train": [], "test": []}
    if only is not None and file.is_file():
        for record in read_clips(file):
            records[record.split].append(record)
    if only != "train":
        plans = test_plans(seed)
        records["test"] = [plan.record() for plan in plans]
        _write_pairs(out / "pairs.csv", plans)
    if only != "test":
        records["train"] = [plan.record() for plan in train_plans(seed, train_clips)]
    write_clips(file, records["train"] + records["test"])


def _write_pairs(path: Path, plans: list[ClipPlan]) -> None:
    with media.atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("distance", "source", "driving", "frame"))
        for source, driving in test_pairs(plans):
            writer.writerow((0, source.name, driving.name, 0))
