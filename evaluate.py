"""``run.py --mode evaluate``: how faithfully generated faces move, on the results of any program.

    python run.py --mode evaluate --driving data/x/test --generated log/run/animation --pairs pairs.csv
    python run.py --mode evaluate --driving D --generated ours=A --generated theirs=B --truth T --out report
    python run.py --mode evaluate --driving D --pairs pairs.csv --method warp

Writes ``evaluation.csv`` (a row a result), ``evaluation.json`` (means, intervals, settings, versions) and
``report.html``.  The figures are defined in `metrics`; :func:`score_pair` gives those of one clip in memory.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("evaluate.py is no command: python run.py --mode evaluate (see python run.py --help)")

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from evaluation.clip_scorer import (
    TRUTH_MOTION,
    find_landmarks,
    landmark_model,
    measure_driving,
    model_versions,
    score_result,
)
from evaluation.lpips_weights import absent, lpips_version
from evaluation.pair_scorer import PairScorer
from evaluation.pairs import EvaluationError, find_pairs, listed_rates
from evaluation.report import ScoredPair, write_report
from evaluation.tables import (
    FAILED,
    YARDSTICKS,
    Row,
    beside_warp,
    compare,
    present_figures,
    summarise,
    write_csv,
    write_json,
)
from evaluation.workers import score_all
from media import open_output_folder
from metrics.flow import flow_settings
from metrics.image import image_figures
from metrics.landmarks import landmark_settings
from metrics.motion import MIN_SNR, MotionScore, compare_motion
from metrics.statistics import LEVEL, REPEATABILITY, Summary
from metrics.timing import evenly_spaced
from metrics.warp import still_clip, warp_clip

PACKAGES = ("numpy", "scipy", "opencv-python", "dlib-bin", "torch", "imageio-ffmpeg", "pillow")


def score_pair(
    driving_frames: np.ndarray,
    generated_frames: np.ndarray,
    driving_fps: float | None = None,
    generated_fps: float | None = None,
    driving_landmarks: np.ndarray | None = None,
    generated_landmarks: np.ndarray | None = None,
    max_frames: int | None = None,
) -> MotionScore:
    """Motion figures of one generated clip in memory, in about 40 ms of one core per frame of each clip.

    Args:
        driving_frames, generated_frames: uint8 (T, H, W, 3), frame 0 the onset; sizes and lengths may differ.
        driving_fps, generated_fps: frames a second, for clips of different length.
        driving_landmarks, generated_landmarks: (68, 2) pixels of frame 0; found by dlib when not given.
        max_frames: measure at most so many frames, evenly taken, of two clips of equal length: for quick checks
            during training.  Fewer frames are smoothed alike, so figures of different ``max_frames`` differ a little.

    Raises:
        MetricError: no face found, a single frame, a blank clip.
        faces.DetectorUnavailable: landmarks are needed and the model is missing.
    """
    driving_frames, generated_frames = np.asarray(driving_frames), np.asarray(generated_frames)
    if max_frames is not None and len(driving_frames) == len(generated_frames) > max_frames:
        if max_frames < 2:
            raise ValueError(f"max_frames is {max_frames}; at least 2 frames make a motion")
        chosen = evenly_spaced(len(driving_frames), max_frames)
        driving_frames, generated_frames = driving_frames[chosen], generated_frames[chosen]
    driving = measure_driving(driving_frames, driving_fps, driving_landmarks)
    return score_result(driving, generated_frames, generated_fps, generated_landmarks).score


def score_beside(
    driving_frames: np.ndarray, generated_frames: np.ndarray, truth_frames: np.ndarray | None = None
) -> dict[str, dict[str, float]]:
    """A generated clip beside the yardsticks: what a still face gets, and the plain warp by optical flow.

    Args:
        driving_frames, generated_frames: uint8 (T, H, W, 3), as many of each, frame 0 the onset.
        truth_frames: the true result, of the generated one's size, where it is known.

    Returns:
        ``result``, ``still``, ``warp`` → the figures of :func:`score_pair`; with a truth also ``truth_rho`` …, ``l1``,
        ``psnr``.

    Raises:
        MetricError: no face found, a single frame, a blank clip.
    """
    driving, target = measure_driving(driving_frames), generated_frames[0]
    truth = None if truth_frames is None else measure_driving(truth_frames)
    marks = find_landmarks(target)
    clips = {"result": generated_frames, "still": still_clip(target, len(driving_frames))}
    clips["warp"] = np.stack(list(warp_clip(target, marks, driving_frames, driving.landmarks)))
    found: dict[str, dict[str, float]] = {}
    for name, frames in clips.items():
        scored = score_result(driving, frames, landmarks=marks)
        found[name] = dict(scored.score.figures)
        if truth is not None:
            against = compare_motion(truth.motion, scored.motion).figures
            found[name] |= {f"truth_{figure}": against[figure] for figure in TRUTH_MOTION}
            found[name] |= image_figures(frames, truth_frames)
    return found


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """``["ours=A", "results/B"]`` → ``{"ours": Path("A"), "B": Path("results/B")}``, for ``--generated``.

    Raises:
        EvaluationError: two folders of one name.
    """
    folders: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        named = equals and "/" not in name and not Path(argument).is_dir()  # folders may have an = in their names
        path = Path(folder if named else argument)
        name = name if named else path.resolve().name
        if name in folders:
            raise EvaluationError(
                f"two folders of results are called {name!r}: {folders[name]} and {path}; give names: NAME={path}"
            )
        folders[name] = path
    return folders


@dataclass
class Evaluation:
    """What an evaluation found.

    Attributes:
        rows: a row a result, in the order of the pairs.
        summary: method → figure → mean over the reliably scored pairs.
        out_dir: where ``evaluation.csv``, ``evaluation.json`` and ``report.html`` lie.
        untold: the pairs whose truth was asked for and is not there: their rows have no ``truth_…`` figures.
    """

    rows: list[Row]
    summary: dict[str, dict[str, Summary]]
    out_dir: Path
    untold: list[str]

    @property
    def failures(self) -> list[Row]:
        """The rows that could not be scored."""
        return [row for row in self.rows if row.status == FAILED]


def evaluate(
    driving_dir: str | Path,
    out_dir: str | Path,
    generated: Mapping[str, str | Path] | None = None,
    pairs: str | Path | None = None,
    truth_dir: str | Path | None = None,
    source_dir: str | Path | None = None,
    yardsticks: Sequence[str] | None = None,
    identity: bool = True,
    workers: int | None = None,
) -> Evaluation:
    """Score results against their driving clips and write table, summary and report.

    Args:
        driving_dir: folder of driving clips (frame folders, videos, GIFs, strips).
        out_dir: folder for the results.
        generated: method → folder of its results, called ``<driving>-<source>`` or, for reconstructions, like the
            driving clip; without any, only the yardsticks are made and scored.
        pairs: CSV with the columns ``driving`` and ``source`` or ``generated``; default: from the results' names.
        truth_dir: true results, called like the results.
        source_dir: pictures or clips of the targets, for yardsticks without results; ``driving_dir`` by default.
        yardsticks: any of ``still`` and ``warp``, as methods of their own; default: both.  Without ``generated``,
            their clips are also written to ``<out_dir>/<name>/``.
        identity: whether to measure the drift of the face's identity.
        workers: processes; default: the cores this process may use, but none for fewer than four pairs.

    A pair that cannot be scored becomes a ``failed`` row that says what is wrong; all others are scored.

    Raises:
        EvaluationError: folders or lists that cannot be used, an unknown yardstick, or no result could be scored.
        faces.DetectorUnavailable: dlib or its models are missing.
    """
    generated = dict(generated or {})
    yardsticks = YARDSTICKS if yardsticks is None else yardsticks
    _check_methods(generated, yardsticks)
    found = find_pairs(driving_dir, generated, pairs, truth_dir, source_dir)
    landmark_model()  # a missing one is reported before any work is done
    folders = {"driving": driving_dir, "pairs": pairs, "truth": truth_dir, "sources": source_dir}
    inputs = {f"--{key}": path for key, path in (folders | generated).items()}
    out_dir = open_output_folder(out_dir, "--out", "an evaluation", inputs)
    rates = listed_rates(driving_dir)
    scorer = PairScorer(out_dir, tuple(generated), tuple(yardsticks), identity, rates)
    scored = score_all(found, scorer, workers)
    for pair in scored:
        pair.rows = beside_warp(pair.rows)
    rows = [row for pair in scored for row in pair.rows]
    if not any(row.status != FAILED for row in rows):
        problems = "\n  ".join(dict.fromkeys(f"{row.pair}: {row.problem}" for row in rows[:5]))
        raise EvaluationError(f"none of {len(found)} pairs could be scored:\n  {problems}")
    settings = _settings(folders, generated, identity)
    untold = [pair.name for pair in found if "truth" in pair.problems]
    return Evaluation(rows, _write(out_dir, rows, scored, settings), out_dir, untold)


def _write(out_dir: Path, rows: list[Row], scored: list[ScoredPair], settings: dict) -> dict[str, dict[str, Summary]]:
    """Write table, summary and report; returns the summary."""
    summary, comparisons, missing = summarise(rows), compare(rows), absent(present_figures(rows))
    content = {"settings": settings, "methods": summary, "comparisons": comparisons, "pairs": rows, "absent": missing}
    write_csv(out_dir / "evaluation.csv", rows)
    write_json(out_dir / "evaluation.json", content)
    write_report(out_dir / "report.html", scored, summary, comparisons, settings, missing)
    return summary


def _check_methods(generated: Mapping[str, str | Path], yardsticks: Sequence[str]) -> None:
    unknown = [name for name in yardsticks if name not in YARDSTICKS]
    if unknown:
        raise EvaluationError(f"no method {unknown[0]!r} here; legal are {', '.join(YARDSTICKS)}")
    taken = [name for name in generated if name in (*YARDSTICKS, "driving", "truth", "")]
    if taken:
        raise EvaluationError(f"results cannot be called {taken[0]!r}: that name is taken; choose another")
    if not generated and not yardsticks:
        raise EvaluationError("nothing to evaluate: give a folder of results or a yardstick (still, warp)")


def _settings(folders: Mapping[str, str | Path | None], generated: Mapping[str, str | Path], identity: bool) -> dict:
    """Everything that can change a figure, for the record."""
    return {
        **{name: str(value) for name, value in folders.items() if value is not None},
        "generated": {name: str(folder) for name, folder in generated.items()},
        "identity": identity,
        "colour": "both clips made grey by the ITU-R 601 weights",
        "landmarks": landmark_settings(),
        "flow": flow_settings(),
        "interval": f"Student's over driving clips, {LEVEL:.0%}",
        "repeatability of one clip": REPEATABILITY,
        "least SNR": MIN_SNR,
        "versions": {
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            **model_versions(),
            **lpips_version(),
            "code": _code_hash(),
            **{name: _version(name) for name in PACKAGES},
        },
    }


def _code_hash() -> str:
    """Of the files that the figures are computed by: another hash may mean other figures."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted((here / "metrics").glob("*.py")), here / "evaluation" / "clip_scorer.py"]:
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return f"sha256 {digest.hexdigest()[:12]} of metrics/ and evaluation/clip_scorer.py"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
