"""Labelled sets of clips from faces and scores: what ``generate.py`` does.

Layout under the output folder, as every corpus has it:

    train/<person>_<emotion>_<n>/0000000.png …   the clips; people in test/ are none of those in train/
    test/…
    clips.csv                                    corpus ``synthetic``; emotion, action units, onset, apex, offset
    keypoints/<clip>.pt, keypoints/tracks/       the facial prior's key points; with tracks, their true course
    truth/<clip>.npz                             intensities, key points and dense motion of every frame, `scores.truth`
    left_out.csv                                 photos that were not used, and why
    generate.json, faces.json                    the settings; what was found in the photos

What a clip shows follows from the seed, its photo and its number, whatever other photos and clips there are.  Any
number of processes may work on one folder at a time.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import media
from corpora import ClipRecord, check_unedited, read_clips, write_clips, write_json, write_table
from corpora.parallel import run_parallel
from corpora.photos import Photo, check_photos, keep_apart
from corpora.sample.dataset import render_frames
from faces.keypoint_files import TRACKS, keypoint_path, save_keypoints
from faces.tracking import save_track
from media.fingerprint import Fingerprint
from modules.facial_prior import select_keypoints
from parallel.work_sharing import POLL, Claims
from scores.drawing import Draw, Drawn
from scores.performance import Performance, perform
from scores.playing import PlayedFace
from scores.truth import save_truth, truth_of

VERSION = 1  # raised when the same settings would give other clips
CORPUS, SETTINGS = "synthetic", "generate.json"
KEYPOINTS, TRUTH, FIRST_FRAMES = "keypoints", "truth", "faces"


@dataclass(frozen=True)
class Recipe:
    """How clips are made, the same for all."""

    size: int = 256  # side of the square frames in pixels
    fps: float = 100.0
    variety: float = 1.0  # see `scores.performance.perform`
    seed: int = 0
    tracks: bool = False  # also write the tracks that model: fpb_tracked trains on


@dataclass(frozen=True)
class Plan:
    """One clip: the photo, the score, and the key of everything random in it."""

    photo: Photo
    split: str
    number: int  # of the photo's clips, from 1
    drawn: Drawn
    recipe: Recipe

    @property
    def key(self) -> tuple[int, ...]:
        return self.recipe.seed, self.photo.number, self.number

    @property
    def name(self) -> str:
        return f"{self.photo.name}_{self.drawn.emotion or 'score'}_{self.number}"

    def performance(self) -> Performance:
        return perform(self.drawn.score, self.recipe.fps, self.recipe.variety, (*self.key, 2))

    def folder(self, out: Path) -> Path:
        return out / self.split / self.name

    def truth(self, out: Path) -> Path:
        return out / TRUTH / f"{self.name}.npz"

    def record(self, out: Path) -> ClipRecord:
        """The row of the clip, once it is made: its units are as the face has played them."""
        course = self.performance()
        with np.load(self.truth(out)) as truth:
            units = str(truth["action_units"])
        marks = {"onset": course.onset, "apex": course.apex, "offset": course.offset}
        return ClipRecord(
            clip=self.name, split=self.split, corpus=CORPUS, subject=self.photo.name, source=self.photo.path.name,
            fps=course.fps, frames=len(course), **marks, **{f"{name}_index": frame for name, frame in marks.items()},
            action_units=units, emotion=self.drawn.emotion, class3=self.drawn.class3, identity="a photo",
        )  # fmt: skip

    def is_done(self, out: Path) -> bool:
        """Whether the clip is there; its truth is written last."""
        folder = self.folder(out)
        return self.truth(out).is_file() and keypoint_path(out / KEYPOINTS, self.name).is_file() and folder.is_dir()

    def write(self, out: Path) -> str:
        """Make the clip and all that belongs to it; what a person should know about it, "" for nothing."""
        face = self.photo.face(self.recipe.size, self.key)
        motion = PlayedFace(self.performance(), face.landmarks, face.head)
        keypoints = select_keypoints(torch.from_numpy(face.landmarks))
        media.remove_own(self.truth(out))  # until the clip is whole
        save_keypoints(out / KEYPOINTS, self.name, keypoints)
        media.write_frame_folder(self.folder(out), render_frames(face, motion, (*self.key, 3)))
        if self.recipe.tracks:
            save_track(out / KEYPOINTS, self.name, motion.track(keypoints), Fingerprint.of(self.folder(out)))
        save_truth(self.truth(out), truth_of(motion))
        return f"{self.name}: {motion.notice}" if motion.notice else ""


def plan_clips(photos: dict[str, list[Photo]], count: int, draw: Draw, recipe: Recipe) -> list[Plan]:
    """``count`` clips, the same number of each photo or one more; ``photos`` by split."""
    everybody = [(split, photo) for split, own in photos.items() for photo in own]
    everybody.sort(key=lambda entry: entry[1].digest)
    plans = []
    for index in range(count):
        split, photo = everybody[index % len(everybody)]
        number = index // len(everybody) + 1
        drawn = draw(np.random.default_rng((recipe.seed, photo.number, number, 0)))
        plans.append(Plan(photo, split, number, drawn, recipe))
    return sorted(plans, key=lambda plan: (plan.split, media.natural_key(plan.name)))


def split_people(photos: Sequence[Photo], share: float) -> tuple[dict[str, list[Photo]], dict[str, str]]:
    """Photos by split, and reasons of those that are in neither.

    About ``share`` of the people are for testing, at least one where it is above 0 and never all: those of whose
    content's SHA-256 the last digits, read as a share, are below it.  Photos in training that show one of them are left
    out.
    """
    lot = {photo: int(photo.digest[-8:], 16) / 16**8 for photo in photos}
    testing = [photo for photo in photos if lot[photo] < share and len(photos) > 1]
    if share and len(photos) > 1 and len(testing) in (0, len(photos)):
        testing = [min(photos, key=lot.get)]
    training, near = keep_apart([photo for photo in photos if photo not in testing], testing)
    return {"train": training, "test": testing}, near


def first_frames(folder: Path, out: Path) -> Path:
    """The photos of a folder: itself, or the first frames of its clips, one of each subject that a ``clips.csv`` names.

    Raises:
        ValueError: there are neither pictures nor clips.
    """
    if not folder.is_dir():
        raise ValueError(
            f"no such folder: --faces {folder}. It takes a folder of photos, one face in each, or of clips"
        )
    if media.frame_files(folder):
        return folder
    splits = [folder / split for split in ("train", "test") if (folder / split).is_dir()] or [folder]
    clips = folder / "clips.csv"
    subjects = {record.clip: record.subject for record in read_clips(clips)} if clips.is_file() else {}
    seen: set[str] = set()
    for path in (path for place in splits for path in media.list_clips(place)):
        subject = subjects.get(media.clip_name(path)) or media.clip_name(path)
        if subject not in seen:
            seen.add(subject)
            if not (out / f"{subject}.png").is_file():
                media.write_image(out / f"{subject}.png", media.open_clip(path).first())
    return out


def build(
    faces: Path,
    out: Path,
    clips: int,
    draw: Draw,
    source: str,
    recipe: Recipe,
    test_share: float = 0.2,
    workers: int = 1,
    overwrite: bool = False,
) -> list[str]:
    """Make the set, or what is missing of it.

    Args:
        faces: folder of photos, or of clips whose first frames are taken.
        out: the set's folder.
        clips: how many.
        draw: makes the scores up; ``source`` says from what, for the settings.
        test_share: of the people who are for testing; nobody is in both parts.
        overwrite: make again what is there already, whatever its settings.

    Returns:
        what came of it, in lines.

    Raises:
        ValueError: no face can be used, an illegal value, or a folder that holds another set.
        OutputError: ``out`` is an input, or holds what this program did not write.
    """
    settings = {"version": VERSION, "scores": source, "test_share": test_share, **vars(recipe)}
    media.open_output_folder(out, "--out", "a set of scores", {"--faces": faces})
    _check_settings(out / SETTINGS, settings, overwrite)
    folder = first_frames(faces, out / FIRST_FRAMES)
    photos, left_out = check_photos(folder, recipe.size, workers, out / "faces.json")
    people, near = split_people(photos, test_share)
    plans = plan_clips(people, clips, draw, recipe)
    _clear(out, plans, overwrite)  # before the settings change: a killed run leaves nothing of other ones
    write_json(out / SETTINGS, settings)
    missing = [plan for plan in plans if not plan.is_done(out)]
    notices = _make(out, missing, workers)
    with Claims(out).exclusive("clips.csv"):
        write_table(out / "left_out.csv", ("file", "reason"), sorted((left_out | near).items()))
        write_clips(out / "clips.csv", [plan.record(out) for plan in plans], noted=True)
    counts = {split: sum(plan.split == split for plan in plans) for split in people}
    described = ", ".join(f"{counts[split]} clips of {len(own)} faces to {split}" for split, own in people.items())
    return [*notices, (
        f"{len(missing)} clips made, {len(plans) - len(missing)} were there: {described}; "
        f"{len(left_out) + len(near)} photos left out ({out / 'left_out.csv'})"
    )]  # fmt: skip


def _make(out: Path, missing: list[Plan], workers: int) -> list[str]:
    """Make clips, each once however many processes are at it; notices."""
    notices: list[str] = []
    while missing:
        done = list(run_parallel(functools.partial(_make_one, out=out), missing, [1] * len(missing), workers, "clip"))
        notices += [notice for notice in done if notice]
        missing = [plan for plan in missing if not plan.is_done(out)]
        if missing:  # others are at them
            time.sleep(POLL)
    return notices


def _make_one(plan: Plan, out: Path) -> str:
    with Claims(out).hold(plan.name) as mine:
        return plan.write(out) if mine and not plan.is_done(out) else ""


def _check_settings(file: Path, settings: dict, overwrite: bool) -> None:
    """A set of other settings is an error, unless all of it is made again; so is a list that somebody has edited."""
    check_unedited(file.with_name("clips.csv"))
    if not file.is_file() or overwrite:
        return
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); --overwrite makes the set again") from error
    if there != settings:
        raise ValueError(
            f"{file.parent} holds a set made with {there}, not with {settings}. Choose another folder with --out, or "
            "--overwrite it"
        )


def _clear(out: Path, plans: list[Plan], overwrite: bool) -> None:
    """With ``overwrite`` remove the clips that are there; without, those that would not be made now are an error."""
    if not (out / "clips.csv").is_file():
        return
    planned = {plan.folder(out) for plan in plans}
    there = read_clips(out / "clips.csv")
    others = [record for record in there if out / record.split / record.clip not in planned]
    if others and not overwrite:
        raise ValueError(
            f"{out} holds {len(others)} clips that this command would not make, such as {others[0].clip}: it was made "
            "with more --clips or other photos. Choose another folder with --out, or --overwrite it"
        )
    for record in there if overwrite else ():
        files = [keypoint_path(folder, record.clip) for folder in (out / KEYPOINTS, out / KEYPOINTS / TRACKS)]
        media.remove_own(out / TRUTH / f"{record.clip}.npz", out / record.split / record.clip, *files)
