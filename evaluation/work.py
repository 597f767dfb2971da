"""One pair of an evaluation from files to rows and pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

import media
from metrics.canonical import MetricError
from metrics.motion import MIN_SNR, ClipMotion, MotionScore
from metrics.warp import still_clip, warp_clip

from .pairs import Pair
from .perceptual import load_lpips
from .pictures import apex_time, make_sheet, motion_map, region_curves
from .report import PairPage, PlayedClip
from .scorer import (
    DrivingClip,
    FaceModels,
    Truth,
    appearance_figures,
    measure_driving,
    measure_truth,
    score_result,
    truth_figures,
)
from .tables import FAILED, SCORED, UNRELIABLE, Row

PICTURES = "report"  # folder of the report's pictures, beside report.html
KEPT_CLIPS = 3  # measured driving clips that a scorer keeps: the pairs of one driving clip come one after another
PROBLEMS = (MetricError, media.MediaError, cv2.error)  # what may be wrong with one clip, and says nothing of others


@dataclass
class Outcome:
    """What one pair gave: its rows, and its part of the report unless everything failed."""

    rows: list[Row]
    page: PairPage | None = None


@dataclass(frozen=True)
class _Job:
    """One pair being scored: what all of its results are compared with, and what was found."""

    pair: Pair
    driving: DrivingClip
    truth: Truth | None
    truth_problem: str
    page: PairPage
    rows: list[Row] = field(default_factory=list)
    scores: dict[str, MotionScore] = field(default_factory=dict)


@dataclass(frozen=True)
class _Result:
    """One result to score: frames, their rate, where they come from, landmarks of frame 0."""

    method: str
    frames: np.ndarray
    fps: float | None
    path: str
    landmarks: np.ndarray


@dataclass(frozen=True)
class _Target:
    """The face the yardsticks move: a picture (H, W, 3) and its landmarks."""

    picture: np.ndarray
    landmarks: np.ndarray


def _read(path: Path, like: np.ndarray | None = None) -> tuple[np.ndarray, float | None]:
    """Frames and rate of a clip.

    Args:
        like: frames (N, H, W, 3) of the driving clip.  A strip does not say how wide its frames are: they are taken as
            square, or of this clip's proportions where only that gives as many frames as it has.
    """
    sizes = [None] if like is None or not _is_strip(path) else [None, like.shape[1:3]]
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


def _is_strip(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in media.IMAGE_SUFFIXES


class PairScorer:
    """Scores pairs: results, yardsticks, truth, and the pictures of their pages.  One object serves one process.

    Args:
        out_dir: folder of the report.
        methods: names of the results to expect.
        yardsticks: any of ``still`` and ``warp``.
        colours: of all of these, for the curves.
        identity: whether to measure identity.
        rates: driving clip → frames a second, where a list says so; else the file's own.
    """

    def __init__(
        self,
        out_dir: Path,
        methods: Sequence[str],
        yardsticks: Sequence[str],
        colours: Mapping[str, str],
        identity: bool,
        rates: Mapping[str, float],
    ):
        self.models, self.out_dir, self.identity = FaceModels(), out_dir, identity
        self.methods, self.yardsticks, self.colours, self.rates = methods, yardsticks, colours, rates
        self._driving: OrderedDict[Path, DrivingClip | Exception] = OrderedDict()
        self._shown: dict[str, PlayedClip] = {}  # the driving clips' pictures

    def _driving_clip(self, path: Path, rate: float | None) -> DrivingClip:
        """The measured clip; what is wrong with it is raised for every pair that needs it."""
        if path not in self._driving:
            while len(self._driving) >= KEPT_CLIPS:
                self._driving.popitem(last=False)
            try:
                frames, fps = _read(path)
                self._driving[path] = measure_driving(frames, self.models, rate or fps)
            except PROBLEMS as error:
                self._driving[path] = error
        found = self._driving[path]
        if isinstance(found, Exception):
            raise found
        return found

    def __call__(self, pair: Pair) -> Outcome:
        """Score one pair; whatever is wrong with it becomes rows with the status ``failed``."""
        everyone = (*self.methods, *self.yardsticks)
        if pair.driving_path is None or "" in pair.problems:
            return Outcome([_failed(pair, method, pair.problems[""]) for method in everyone])
        try:
            driving = self._driving_clip(pair.driving_path, self.rates.get(pair.driving))
        except PROBLEMS as error:
            problem = f"driving clip {pair.driving_path}: {error}"
            return Outcome([_failed(pair, method, problem) for method in everyone])
        page = PairPage(pair.name, len(driving.frames), driving.fps, apex_time(driving.motion))
        job = _Job(pair, driving, *self._truth(pair, driving), page)
        if pair.driving not in self._shown:
            drawn = self._draw(f"{pair.driving}-driving", driving.frames[driving.distinct], driving.motion, page.apex)
            self._shown[pair.driving] = drawn
        page.clips.append(self._shown[pair.driving])
        if job.truth is not None:
            self._show(page, "truth", job.truth.frames[driving.distinct], job.truth.clip.motion)
        first = [self._score_method(job, method) for method in self.methods]
        for name in self.yardsticks:
            self._score_yardstick(job, name, next((found for found in first if found is not None), None))
        if not job.scores:
            return Outcome(job.rows)
        page.curves = region_curves(job.scores, self.colours)
        return Outcome(job.rows, page)

    def _truth(self, pair: Pair, driving: DrivingClip) -> tuple[Truth | None, str]:
        """The measured truth, or why there is none ("" where none was asked for)."""
        if pair.truth_path is None:
            return None, pair.problems.get("truth", "")
        try:
            return measure_truth(_read(pair.truth_path, driving.frames)[0], driving, self.models), ""
        except PROBLEMS as error:
            return None, f"truth {pair.truth_path}: {error}"

    def _score_method(self, job: _Job, method: str) -> _Target | None:
        """Add one method's row; returns the target its result begins with, if there is a face in it."""
        pair, target = job.pair, None
        if method in pair.problems:
            job.rows.append(_failed(pair, method, pair.problems[method]))
            return None
        path = pair.results[method]
        try:
            frames, fps = _read(path, job.driving.frames)
            target = _Target(frames[0], self.models.landmarks(frames[0]))
            self._score(job, _Result(method, frames, fps, str(path), target.landmarks))
        except PROBLEMS as error:
            job.rows.append(_failed(pair, method, f"{path}: {error}", str(path)))
        return target

    def _target(self, job: _Job, first: _Target | None) -> _Target:
        """The untouched face: the truth's first frame, the source's, or what a result begins with, in this order."""
        if job.truth is not None:
            return _Target(job.truth.frames[0], job.truth.clip.landmarks)
        if job.pair.source_path is not None:
            picture = media.open_clip(job.pair.source_path).first()
            return _Target(picture, self.models.landmarks(picture))
        if first is None:
            raise MetricError("no picture of the target: its result is missing, and so is its source clip")
        return first

    def _score_yardstick(self, job: _Job, name: str, first: _Target | None) -> None:
        """Make a yardstick on the target and add its row."""
        pair, driving = job.pair, job.driving
        try:
            target = self._target(job, first)
            if name == "still":
                frames = still_clip(target.picture, len(driving.frames))
            else:
                moving = warp_clip(target.picture, target.landmarks, driving.frames, driving.landmarks)
                frames = np.stack(list(moving))
            path = ""
            if not self.methods:
                media.write_frame_folder(self.out_dir / name / pair.name, frames)
                path = str(self.out_dir / name / pair.name)
            self._score(job, _Result(name, frames, driving.fps, path, target.landmarks))
        except PROBLEMS as error:
            job.rows.append(_failed(pair, name, str(error)))

    def _score(self, job: _Job, result: _Result) -> None:
        """Score a result and add its row, curves and pictures to the pair's outcome."""
        scored = score_result(job.driving, result.frames, self.models, result.fps, result.landmarks)
        figures = dict(scored.score.figures)
        figures.update(appearance_figures(result.frames, scored.landmarks, self.models, self.identity))
        notes = []
        if not scored.score.reliable:
            times = figures["snr"]
            notes.append(f"the driving clip moves only {times:.1f} times the noise ({MIN_SNR:g} needed)")
        if job.truth is not None:
            found, note = truth_figures(job.truth, scored, result.frames, self.models, load_lpips())
            figures.update(found)
            notes.append(note)
        else:
            notes.append(job.truth_problem)
        job.rows.append(
            Row(
                job.pair.name, job.pair.driving, result.method, SCORED if scored.score.reliable else UNRELIABLE,
                result.path, "; ".join(filter(None, notes)), scored.alignment.rule, len(result.frames), figures,
            )
        )  # fmt: skip
        job.scores[result.method] = scored.score
        self._show(job.page, result.method, result.frames[scored.alignment.indices], scored.motion)

    def _show(self, page: PairPage, label: str, frames: np.ndarray, motion: ClipMotion) -> None:
        """Add a clip's pictures to the page."""
        page.clips.append(self._draw(f"{page.name}-{label}", frames, motion, page.apex, label))

    def _draw(
        self, stem: str, frames: np.ndarray, motion: ClipMotion, apex: float, label: str = "driving"
    ) -> PlayedClip:
        """Write a clip's sheet and motion map."""
        image, sheet = make_sheet(frames, motion.times)
        files = [f"{PICTURES}/{stem}-{name}.webp" for name in ("sheet", "map")]
        media.write_image(self.out_dir / files[0], image)
        media.write_image(self.out_dir / files[1], motion_map(frames, motion, apex))
        return PlayedClip(label, sheet, *files)


def _failed(pair: Pair, method: str, problem: str, path: str = "") -> Row:
    return Row(pair.name, pair.driving, method, FAILED, path, problem)
