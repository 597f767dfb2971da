"""One pair of an evaluation from files to rows and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

import media
from faces.dlib_backend import identity_model
from metrics.canonical import MetricError
from metrics.identity import identity_figures
from metrics.image import sharpness
from metrics.motion import MIN_SNR, ClipMotion, MotionScore
from metrics.warp import still_clip, warp_clip

from . import clip_scorer
from .pairs import Pair
from .pictures import apex_time, make_sheet, motion_map, region_curves
from .report import PlayedClip, ScoredPair, method_colours
from .tables import FAILED, SCORED, UNRELIABLE, Row

PICTURES = "report"  # folder of the report's pictures, beside report.html
PROBLEMS = (MetricError, media.MediaError, cv2.error)  # what may be wrong with one clip, and says nothing of others

Target = tuple[np.ndarray, np.ndarray]  # the face the yardsticks move: a picture (H, W, 3) and its landmarks


@dataclass(frozen=True)
class _Job:
    """One pair being scored: what all of its results are compared with, and what was found."""

    pair: Pair
    driving: clip_scorer.DrivingClip
    truth: clip_scorer.Truth | None
    truth_problem: str
    found: ScoredPair
    scores: dict[str, MotionScore] = field(default_factory=dict)

    def fail(self, method: str, problem: str, path: str = "") -> None:
        self.found.rows.append(_failed(self.pair, method, problem, path))


def _read(path: Path, like: np.ndarray | None = None) -> tuple[np.ndarray, float | None]:
    """Frames and rate of a clip.

    Args:
        like: frames (N, H, W, 3) of the driving clip.  A strip does not say how wide its frames are: they are taken as
            square, or of this clip's proportions where only that gives as many frames as it has.
    """
    strip = path.is_file() and path.suffix.lower() in media.IMAGE_SUFFIXES
    sizes = [None, like.shape[1:3]] if strip and like is not None else [None]
    found: list[tuple[np.ndarray, float | None]] = []
    problems: list[media.MediaError] = []
    for size in sizes:
        try:
            clip = media.open_clip(path, size)
            found.append((clip.read_all(), clip.fps))
        except media.MediaError as error:
            problems.append(error)
        except OSError as error:
            raise media.MediaError(f"cannot read {path}: {error}") from error
    if not found:
        raise problems[0]
    return next((clip for clip in found if like is not None and len(clip[0]) == len(like)), found[0])


@dataclass
class PairScorer:
    """Scores pairs: results, yardsticks, truth, and the pictures of their pages.  Each process has its own.

    Attributes:
        out_dir: folder of the report.
        methods: names of the results to expect.
        yardsticks: any of ``still`` and ``warp``.
        identity: whether to measure identity.
        rates: driving clip → frames a second, where a list says so; else the file's own.
    """

    out_dir: Path
    methods: Sequence[str]
    yardsticks: Sequence[str]
    identity: bool
    rates: Mapping[str, float]
    _driving: dict[Path, tuple[clip_scorer.DrivingClip, PlayedClip] | Exception] = field(default_factory=dict)

    def _driving_clip(self, pair: Pair) -> tuple[clip_scorer.DrivingClip, PlayedClip]:
        """The measured clip and its pictures; what is wrong with it is raised for every pair that needs it."""
        path = pair.driving_path
        if path not in self._driving:
            self._driving.clear()  # the pairs of one driving clip come one after another
            try:
                frames, fps = _read(path)
                clip = clip_scorer.measure_driving(frames, self.rates.get(pair.driving) or fps)
                shown, apex = frames[clip.distinct], apex_time(clip.motion)
                drawn = self._draw(f"{pair.driving}-driving", "driving", shown, clip.motion, apex)
                self._driving[path] = clip, drawn
            except PROBLEMS as error:
                self._driving[path] = error
        found = self._driving[path]
        if isinstance(found, Exception):
            raise found
        return found

    def __call__(self, pair: Pair) -> ScoredPair:
        """Score one pair; whatever is wrong with it becomes rows with the status ``failed``."""
        everyone = (*self.methods, *self.yardsticks)
        if "" in pair.problems:
            return ScoredPair(pair.name, [_failed(pair, method, pair.problems[""]) for method in everyone])
        try:
            driving, drawn = self._driving_clip(pair)
        except PROBLEMS as error:
            problem = f"driving clip {pair.driving_path}: {error}"
            return ScoredPair(pair.name, [_failed(pair, method, problem) for method in everyone])
        found = ScoredPair(pair.name, [], len(driving.frames), driving.fps, apex_time(driving.motion), [drawn])
        job = _Job(pair, driving, *_truth(pair, driving), found)
        if job.truth is not None:
            self._show(job, "truth", job.truth.clip.frames[driving.distinct], job.truth.clip.motion)
        targets = [self._score_method(job, method) for method in self.methods]
        for name in self.yardsticks:
            self._score_yardstick(job, name, next((target for target in targets if target is not None), None))
        if job.scores:
            found.curves = region_curves(job.scores, method_colours(everyone))
        return found

    def _score_method(self, job: _Job, method: str) -> Target | None:
        """Add one method's row; returns the target its result begins with, if there is a face in it."""
        if method in job.pair.problems:
            job.fail(method, job.pair.problems[method])
            return None
        path, target = job.pair.results[method], None
        try:
            frames, fps = _read(path, job.driving.frames)
            target = frames[0], clip_scorer.find_landmarks(frames[0])
            self._score(job, method, frames, fps, str(path), target[1])
        except PROBLEMS as error:
            job.fail(method, f"{path}: {error}", str(path))
        return target

    def _score_yardstick(self, job: _Job, name: str, first: Target | None) -> None:
        """Make a yardstick on the target and add its row."""
        driving = job.driving
        try:
            picture, landmarks = _target(job, first)
            if name == "still":
                frames = still_clip(picture, len(driving.frames))
            else:
                frames = np.stack(list(warp_clip(picture, landmarks, driving.frames, driving.landmarks)))
            path = ""
            if not self.methods:
                path = str(self.out_dir / name / job.pair.name)
                media.write_frame_folder(path, frames)
            self._score(job, name, frames, driving.fps, path, landmarks)
        except PROBLEMS as error:
            job.fail(name, str(error))

    def _score(
        self, job: _Job, method: str, frames: np.ndarray, fps: float | None, path: str, landmarks: np.ndarray
    ) -> None:
        """Score a result, whose frame 0 has these landmarks, and add its row, curves and pictures."""
        scored = clip_scorer.score_result(job.driving, frames, fps, landmarks)
        figures, notes = {**scored.score.figures, "sharp": sharpness(frames)}, []
        if self.identity:
            figures.update(identity_figures(frames, landmarks, identity_model()))
        if not scored.score.reliable:
            notes.append(f"the driving clip moves only {figures['snr']:.1f} times the noise ({MIN_SNR:g} needed)")
        if job.truth is not None:
            found, note = clip_scorer.truth_figures(job.truth, scored, frames)
            figures.update(found)
            notes.append(note)
        else:
            notes.append(job.truth_problem)
        status = SCORED if scored.score.reliable else UNRELIABLE
        problem, rule = "; ".join(filter(None, notes)), scored.alignment.rule
        row = Row(job.pair.name, job.pair.driving, method, status, path, problem, rule, len(frames), figures)
        job.found.rows.append(row)
        job.scores[method] = scored.score
        self._show(job, method, frames[scored.alignment.indices], scored.motion)

    def _show(self, job: _Job, label: str, frames: np.ndarray, motion: ClipMotion) -> None:
        """Add a clip's pictures to the report's part."""
        found = job.found
        found.clips.append(self._draw(f"{found.name}-{label}", label, frames, motion, found.apex))

    def _draw(self, stem: str, label: str, frames: np.ndarray, motion: ClipMotion, apex: float) -> PlayedClip:
        """Write a clip's sheet and motion map."""
        image, sheet = make_sheet(frames, motion.times)
        files = [f"{PICTURES}/{stem}-{name}.webp" for name in ("sheet", "map")]
        media.write_image(self.out_dir / files[0], image)
        media.write_image(self.out_dir / files[1], motion_map(frames, motion, apex))
        return PlayedClip(label, sheet, *files)


def _truth(pair: Pair, driving: clip_scorer.DrivingClip) -> tuple[clip_scorer.Truth | None, str]:
    """The measured truth, or why there is none ("" where none was asked for)."""
    if pair.truth_path is None:
        return None, pair.problems.get("truth", "")
    try:
        return clip_scorer.measure_truth(_read(pair.truth_path, driving.frames)[0], driving), ""
    except PROBLEMS as error:
        return None, f"truth {pair.truth_path}: {error}"


def _target(job: _Job, first: Target | None) -> Target:
    """The untouched face: the truth's first frame, the source's, or what a result begins with, in this order."""
    if job.truth is not None:
        return job.truth.clip.frames[0], job.truth.clip.landmarks
    if job.pair.source_path is not None:
        picture = media.open_clip(job.pair.source_path).first()
        return picture, clip_scorer.find_landmarks(picture)
    if first is None:
        raise MetricError("no picture of the target: its result is missing, and so is its source clip")
    return first


def _failed(pair: Pair, method: str, problem: str, path: str = "") -> Row:
    return Row(pair.name, pair.driving, method, FAILED, path, problem)
