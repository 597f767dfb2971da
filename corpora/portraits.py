"""A training set from a folder of portraits: real faces that move by action units, and people held out to test with.

Layout under the output folder, as the sample data has it (`corpora.sample.dataset`):

    train/<person>_<emotion>_<n>/0000000.png …   clips of every training face, of macro- and micro-expressions
    test/<person>_<emotion>_1/0000000.png …      one micro-expression of each held-out face
    truth/<driving>-<source>/…                   for each pair: the driving clip's movement on the source's face
    keypoints/<clip>.pt                          the facial prior's key points, from the photo's landmarks
    clips.csv, pairs.csv                         the clips; the pairs, every test clip once as source and as driving
    left_out.csv                                 photos that were not used, and why
    portraits.json, faces.json                   the settings; what was found in the photos

The peaks of training are those of micro-expressions times 1, 2 or 4: a motion network learns nothing from small
movements alone.  Its clips are short, since a model sees two of their frames and not how long a movement takes.
What a clip shows follows from the seed and its photo, so that other photos may come and go.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import media
from corpora import check_unedited, open_table, read_clips, write_clips, write_json, write_table
from corpora.parallel import run_parallel
from corpora.photos import Photo, check_photos, keep_apart
from corpora.sample.action_units import EMOTIONS
from corpora.sample.dataset import MICRO, ClipPlan, Job
from corpora.sample.identities import FaceModel
from corpora.sample.portraits import CANONICAL_IOD, upright
from faces.keypoint_files import keypoint_path, save_keypoints
from modules.facial_prior import select_keypoints

VERSION = 1  # raised when the same settings would give other pictures
FACTORS = (1, 2, 4)  # of the peaks in training
TRAIN_FRAMES, TRAIN_FPS, TEST_FPS = 12, 50.0, 100.0
MOVEMENTS = tuple((emotion, units) for emotion, combinations in EMOTIONS.items() for units in combinations)
SETTINGS, KEYPOINTS = "portraits.json", "keypoints"
PAIR_COLUMNS = ("distance", "source", "driving", "frame")
_STREAMS = {"train": 1, "test": 2}  # first number of every random stream


@dataclass(frozen=True)
class PortraitPlan(ClipPlan):
    """What a clip will show: the photo ``identity``, moving; it is its person's clip ``number``."""

    identity: Photo
    number: int = 1

    @property
    def name(self) -> str:
        return f"{self.subject}_{self.emotion}_{self.number}"

    def face(self, size: int) -> FaceModel:
        return self.identity.face(size, self.key)

    def origin(self) -> dict[str, str]:
        return {"corpus": "portraits", "source": self.identity.path.name, "identity": "a photo"}


def plan_clips(photo: Photo, split: str, count: int, seed: int) -> list[PortraitPlan]:
    """``count`` clips of a photo, no two of one movement, each cut and photographed in its own way."""
    stream = (seed, _STREAMS[split], photo.number)
    plans = []
    for number, movement in enumerate(np.random.default_rng(stream).permutation(len(MOVEMENTS))[:count], start=1):
        emotion, units = MOVEMENTS[movement]
        rng = np.random.default_rng([*stream, number, 0])
        pixels, drift = rng.uniform(*MICRO), rng.uniform(0.0, 0.4)  # little: a model learns the head's motion first
        if split == "train":
            pixels *= FACTORS[int(rng.integers(len(FACTORS)))]
            fps, seconds, frames = TRAIN_FPS, TRAIN_FRAMES / TRAIN_FPS, TRAIN_FRAMES
        else:
            fps, seconds, frames = TEST_FPS, rng.uniform(0.30, 0.42), None
        plan = PortraitPlan(
            split, photo.name, photo, emotion, units, round(float(pixels), 2), fps, round(float(seconds), 3),
            (*stream, number), drift=round(float(drift), 2), frames=frames, number=number,
        )  # fmt: skip
        plans.append(plan)
    return plans


def test_pairs(plans: Sequence[PortraitPlan]) -> list[tuple[PortraitPlan, PortraitPlan]]:
    """(source, driving): every test clip drives the face of the next one."""
    return [(source, driving) for driving, source in zip(plans, [*plans[1:], *plans[:1]], strict=True)]


# ------------------------------------------------------------------------------------------------------ writing
def build(
    folder: str | Path,
    out: str | Path,
    held_out: str | None = None,
    clips: int = 3,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    overwrite: bool = False,
) -> str:
    """Write the set, or what is missing of it.

    Args:
        folder: the photos.
        held_out: pattern of the file names of the faces to test with, such as ``"f*"``; None takes those whose
            content's SHA-256 begins with f, one in sixteen.
        clips: of each face in training, at most as many as there are movements.
        seed: of everything random.
        size: side of the square frames in pixels.
        overwrite: make again what is there already, whatever its settings.

    Returns:
        what came of it, in a line.

    Raises:
        ValueError: an illegal value, too few faces, or the folder holds a set made with other settings.
    """
    folder, out = Path(folder), Path(out)
    if not 1 <= clips <= len(MOVEMENTS):
        raise ValueError(f"--clips is {clips}; legal are 1 to {len(MOVEMENTS)}, the movements that there are")
    settings = {"version": VERSION, "seed": seed, "size": size, "held_out": held_out}
    ours = _read_settings(out / SETTINGS) is not None
    media.open_output_folder(out, "--out", "a set of portraits", {"--faces": folder}, ours)
    _check_settings(out / SETTINGS, settings, overwrite)
    photos, left_out = check_photos(folder, size, workers, out / "faces.json")
    training, testing, too_near = _split(photos, held_out, folder)
    plans = {
        "train": [plan for photo in training for plan in plan_clips(photo, "train", clips, seed)],
        "test": [plan for photo in testing for plan in plan_clips(photo, "test", 1, seed)],
    }
    jobs = [Job(out / split / plan.name, plan) for split, own in plans.items() for plan in own]
    jobs += [Job(out / "truth" / f"{d.name}-{s.name}", d, source=s) for s, d in test_pairs(plans["test"])]
    points = [(plan, keypoint_path(out / KEYPOINTS, plan.name)) for own in plans.values() for plan in own]
    if overwrite:
        _clear(jobs, [file for _, file in points])
    write_json(out / SETTINGS, settings)
    _remove_others(out, {job.folder for job in jobs})
    missing = [job for job in jobs if not job.is_done()]
    list(run_parallel(functools.partial(Job.run, size=size), missing, list(map(len, missing)), workers))
    for plan, file in points:
        if not file.is_file():
            landmarks = torch.from_numpy(plan.identity.landmarks_in(size, plan.key))
            save_keypoints(out / KEYPOINTS, plan.name, select_keypoints(landmarks))
    write_table(out / "left_out.csv", ("file", "reason"), sorted((left_out | too_near).items()))
    _write_lists(out, plans)
    return (
        f"{len(missing)} clips written, {len(jobs) - len(missing)} were there: {len(training)} faces to train with, "
        f"{len(testing)} to test with; {len(left_out) + len(too_near)} photos left out ({out / 'left_out.csv'})"
    )


def _split(photos: list[Photo], held_out: str | None, folder: Path) -> tuple[list[Photo], list[Photo], dict[str, str]]:
    """Photos to train with, those to test with, and why others are neither."""
    testing = [photo for photo in photos if _is_held_out(photo, held_out)]
    training, too_near = keep_apart([photo for photo in photos if photo not in testing], testing)
    if len(testing) < 2 or not training:
        raise ValueError(
            f"{len(photos)} photos of {folder} can be used, {len(testing)} of them to test with: at least two are "
            "needed there and one to train with. --held-out PATTERN says which file names are for testing"
        )
    return training, testing, too_near


def _is_held_out(photo: Photo, pattern: str | None) -> bool:
    return photo.digest.startswith("f") if pattern is None else fnmatch.fnmatchcase(photo.path.name, pattern)


def _read_settings(file: Path) -> dict | None:
    """What a set was made with; None where the file is none of ours, or damaged."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if isinstance(content, dict) and content.keys() >= {"version", "seed", "size", "held_out"}:
            return content
    return None


def _check_settings(file: Path, settings: dict, overwrite: bool) -> None:
    """Others in the folder are an error, unless all is made again."""
    check_unedited(file.with_name("clips.csv"), file.with_name("pairs.csv"))
    if file.is_file() and not overwrite:
        there = _read_settings(file)
        if there is None:
            raise ValueError(f"{file} is damaged: nothing says what the set was made with; --overwrite makes it again")
        if there != settings:
            raise ValueError(
                f"{file.parent} holds a set made with {there}, not with {settings}. Choose another folder with --out, "
                "or --overwrite it"
            )
    elif not file.is_file() and (file.parent / "clips.csv").exists():
        raise ValueError(f"{file.parent} holds another data set: choose another folder with --out")


def _clear(jobs: Sequence[Job], keypoints: Sequence[Path]) -> None:
    """Remove what is to be made again, before the settings change: a killed run leaves nothing of other ones."""
    media.remove_own(*(job.folder for job in jobs))
    for file in keypoints:
        file.unlink(missing_ok=True)


def _remove_others(out: Path, folders: set[Path]) -> None:
    """Remove clips that an earlier run listed and this one does not make: of other photos or settings."""
    listed = []
    if (out / "clips.csv").is_file():
        listed += [out / record.split / record.clip for record in read_clips(out / "clips.csv")]
    if (out / "pairs.csv").is_file():
        with open_table(out / "pairs.csv") as rows:
            listed += [out / "truth" / f"{row['driving']}-{row['source']}" for row in rows]
    media.remove_own(*(set(listed) - folders))


def _write_lists(out: Path, plans: dict[str, list[PortraitPlan]]) -> None:
    write_clips(out / "clips.csv", [plan.record() for own in plans.values() for plan in own], noted=True)
    rows = []
    for source, driving in test_pairs(plans["test"]):
        shapes = [upright(plan.identity.landmarks) for plan in (source, driving)]
        distance = np.linalg.norm(shapes[0] - shapes[1], axis=1).mean() / CANONICAL_IOD
        rows.append((f"{distance:.4f}", source.name, driving.name, 0))
    write_table(out / "pairs.csv", PAIR_COLUMNS, rows, noted=True)
