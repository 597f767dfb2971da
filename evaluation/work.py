"""One pair of an evaluation from files to rows and pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import media
from metrics.canonical import MetricError
from metrics.motion import MIN_SNR, ClipMotion, MotionScore
from metrics.warp import still_clip, warp_clip

from .pairs import Pair
from .pictures import apex_time, make_sheet, motion_map
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


@dataclass
class Outcome:
    """What one pair gave: its rows, and its part of the report unless everything failed."""

    rows: list[Row]
    page: PairPage | None = None
    scores: dict[str, MotionScore] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """One pair being scored: what all of its results are compared with."""

    pair: Pair
    driving: DrivingClip
    truth: Truth | None
    truth_problem: str
    outcome: Outcome


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


def _read(path: Path) -> tuple[np.ndarray, float | None]:
    clip = media.open_clip(path)
    return clip.read_all(), clip.fps


class DrivingClips:
    """Driving clips measured once and kept while pairs that need them are near; serves several threads."""

    def __init__(self, models: FaceModels, keep: int):
        self._models, self._keep = models, keep
        self._lock = threading.Lock()
        self._clips: OrderedDict[Path, Future[DrivingClip]] = OrderedDict()

    def get(self, path: Path) -> DrivingClip:
        """The measured clip; what is wrong with it is raised for every pair that needs it."""
        with self._lock:
            first = path not in self._clips
            if first:
                self._clips[path] = Future()
                while len(self._clips) > self._keep:
                    self._clips.popitem(last=False)
            self._clips.move_to_end(path)
            future = self._clips[path]
        if first:
            try:
                frames, fps = _read(path)
                future.set_result(measure_driving(frames, self._models, fps))
            except Exception as error:  # handed on to every pair that waits for this clip
                future.set_exception(error)
        return future.result()


class PairScorer:
    """Scores pairs: results, yardsticks, truth, and the pictures of their pages.  Serves several threads.

    Args:
        out_dir: folder of the report.
        methods: names of the results to expect.
        yardsticks: any of ``still`` and ``warp``.
        identity: whether to measure identity.
        keep: number of driving clips to keep in memory.
    """

    def __init__(
        self,
        models: FaceModels,
        out_dir: Path,
        methods: Sequence[str],
        yardsticks: Sequence[str],
        identity: bool,
        keep: int,
    ):
        self.models, self.out_dir, self.identity = models, out_dir, identity
        self.methods, self.yardsticks = methods, yardsticks
        self.driving_clips = DrivingClips(models, keep)

    def __call__(self, pair: Pair) -> Outcome:
        """Score one pair; whatever is wrong with it becomes rows with the status ``failed``."""
        everyone = (*self.methods, *self.yardsticks)
        if pair.driving_path is None or "" in pair.problems:
            return Outcome([_failed(pair, method, pair.problems[""]) for method in everyone])
        try:
            driving = self.driving_clips.get(pair.driving_path)
        except (MetricError, media.MediaError) as error:
            problem = f"driving clip {pair.driving_path}: {error}"
            return Outcome([_failed(pair, method, problem) for method in everyone])
        page = PairPage(pair.name, len(driving.frames), driving.fps, apex_time(driving.motion))
        job = _Job(pair, driving, *self._truth(pair, driving), Outcome([], page))
        self._show(page, "driving", driving.frames[driving.distinct], driving.motion)
        if job.truth is not None:
            self._show(page, "truth", job.truth.frames[driving.distinct], job.truth.clip.motion)
        targets = [self._score_method(job, method) for method in self.methods]
        target = next((found for found in targets if found is not None), None)
        for name in self.yardsticks:
            self._score_yardstick(job, name, target)
        if not job.outcome.scores:
            job.outcome.page = None
        return job.outcome

    def _truth(self, pair: Pair, driving: DrivingClip) -> tuple[Truth | None, str]:
        """The measured truth, or why there is none ("" where none was asked for)."""
        if pair.truth_path is None:
            return None, pair.problems.get("truth", "")
        try:
            return measure_truth(_read(pair.truth_path)[0], driving, self.models), ""
        except (MetricError, media.MediaError) as error:
            return None, f"truth {pair.truth_path}: {error}"

    def _score_method(self, job: _Job, method: str) -> _Target | None:
        """Add one method's row; returns the target its result begins with, if there is a face in it."""
        pair, target = job.pair, None
        if method in pair.problems:
            job.outcome.rows.append(_failed(pair, method, pair.problems[method]))
            return None
        path = pair.results[method]
        try:
            frames, fps = _read(path)
            target = _Target(frames[0], self.models.landmarks(frames[0]))
            self._score(job, _Result(method, frames, fps, str(path), target.landmarks))
        except (MetricError, media.MediaError) as error:
            job.outcome.rows.append(_failed(pair, method, f"{path}: {error}", str(path)))
        return target

    def _score_yardstick(self, job: _Job, name: str, target: _Target | None) -> None:
        """Make a yardstick on ``target`` (by default the source clip's first frame) and add its row."""
        pair, driving = job.pair, job.driving
        try:
            if target is None:
                if pair.source_path is None:
                    raise MetricError("no picture of the target: its result is missing, and so is its source clip")
                picture = media.open_clip(pair.source_path).first()
                target = _Target(picture, self.models.landmarks(picture))
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
        except (MetricError, media.MediaError) as error:
            job.outcome.rows.append(_failed(pair, name, str(error)))

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
            found, note = truth_figures(job.truth, scored, result.frames, self.models)
            figures.update(found)
            notes.append(note)
        else:
            notes.append(job.truth_problem)
        job.outcome.rows.append(
            Row(
                job.pair.name, job.pair.driving, result.method, SCORED if scored.score.reliable else UNRELIABLE,
                result.path, "; ".join(filter(None, notes)), scored.alignment.rule, len(result.frames), figures,
            )
        )  # fmt: skip
        job.outcome.scores[result.method] = scored.score
        self._show(job.outcome.page, result.method, result.frames[scored.alignment.indices], scored.motion)

    def _show(self, page: PairPage, label: str, frames: np.ndarray, motion: ClipMotion) -> None:
        """Write a clip's sheet and motion map, and add them to the page."""
        image, sheet = make_sheet(frames, motion.times)
        stem = f"{PICTURES}/{page.name}-{label}"
        media.write_image(self.out_dir / f"{stem}-sheet.jpg", image)
        media.write_image(self.out_dir / f"{stem}-map.jpg", motion_map(frames, motion, page.apex))
        page.clips.append(PlayedClip(label, sheet, f"{stem}-sheet.jpg", f"{stem}-map.jpg"))


def _failed(pair: Pair, method: str, problem: str, path: str = "") -> Row:
    return Row(pair.name, pair.driving, method, FAILED, path, problem)
