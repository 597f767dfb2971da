"""The figures of an evaluation as rows, means and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import combinations
from pathlib import Path

import media
from corpora import write_table
from evaluation import YARDSTICKS
from metrics.motion import FIGURES as MOTION_FIGURES
from metrics.statistics import Comparison, Summary, compare_methods, mean_over_pairs

SCORED, UNRELIABLE, FAILED = "scored", "low SNR", "failed"
BETTER, NO_BETTER = "better than the plain warp", "no better than the plain warp"
COMPARED = ("rho", "vcor", "skill")

FIGURES: dict[str, str] = {
    **MOTION_FIGURES,
    "sharp": "high-pass energy of later frames / that of frame 0 (1 = as sharp)",
    "id_drift": "largest distance of four later frames' face embeddings to frame 0's (0.6 = another person)",
    "id_cosine": "smallest cosine of the same embeddings (1 = the same picture)",
    "truth_rho": "rho against the true result instead of the driving clip",
    "truth_vcor": "vcor against the true result",
    "truth_gain": "gain against the true result",
    "truth_skill": "skill against the true result",
    "l1": "mean absolute difference from the truth, 0…1, grey, frame 0 left out",
    "psnr": "PSNR against the truth, dB, grey, frame 0 left out (58.9 = equal)",
    "ssim": "SSIM against the truth, grey, frame 0 left out",
    "lpips": "LPIPS 0.1 on AlexNet against the truth, both grey, frame 0 left out (0 = equal)",
    "l1_moving": "l1 over the pixels that move in the truth",
    "psnr_moving": "psnr over the pixels that move in the truth",
    "ssim_moving": "ssim over the pixels that move in the truth",
    "epe_px": "end-point error of the measured motion where the truth moves, pixels at 256×256",
    "akd_px": "average landmark distance from the truth, pixels at 256×256",
    "akd_jitter_px": "the landmark detector's own jitter on a still face: akd_px means nothing below it",
}


@dataclass(frozen=True)
class Row:
    """One result of one method.

    Attributes:
        status: ``scored``; ``low SNR``: scored, but the driving clip hardly moves, so left out of means; ``failed``.
        problem: what is wrong and what to do; may also note what could not be measured of a scored result.
        alignment: how frames were matched in time, see `metrics.timing`.
        frames: frames of the result.
        beside_warp: how it does beside the plain warp of the same pair, see :func:`beside_warp`.
    """

    pair: str
    driving: str
    method: str
    status: str
    result: str = ""
    problem: str = ""
    alignment: str = ""
    frames: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    beside_warp: str = ""


def beside_warp(rows: Sequence[Row]) -> list[Row]:
    """The rows of one pair, each result's with a word on whether its model does better than the plain warp by optical
    flow, which needs none: in skill, and against a known truth in the truth's skill and the pictures' PSNR.
    """
    warp = next((row.figures for row in rows if row.method == "warp" and row.status != FAILED), None)
    if warp is None:
        return list(rows)
    return [row if row.method in YARDSTICKS or row.status == FAILED else _judged(row, warp) for row in rows]


def _judged(row: Row, warp: Mapping[str, float]) -> Row:
    names = ("truth_skill", "psnr_moving") if "truth_skill" in row.figures else ("skill",)
    measured = [name for name in names if name in row.figures and name in warp]
    better = [name for name in measured if round(row.figures[name], 2) > round(warp[name], 2)]
    values = ", ".join(f"{name} {row.figures[name]:.2f} against {warp[name]:.2f}" for name in measured)
    if len(better) == len(measured):
        said = BETTER
    else:
        said = f"better than the plain warp in {better[0]} alone" if better else NO_BETTER
    return replace(row, beside_warp=f"{said}: {values}")


def present_figures(rows: Iterable[Row]) -> list[str]:
    """Names of the figures that at least one row has, in the order of ``FIGURES``."""
    present = {name for row in rows for name, value in row.figures.items() if math.isfinite(value)}
    return [name for name in FIGURES if name in present]


def methods_of(rows: Iterable[Row]) -> list[str]:
    """Methods of the rows in order of appearance, the yardsticks last."""
    return sorted(dict.fromkeys(row.method for row in rows), key=lambda name: name in YARDSTICKS)


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Summary]]:
    """method → figure → mean over its reliably scored pairs."""
    summary = {}
    for method in methods_of(rows):
        counted = [row for row in rows if row.method == method and row.status == SCORED]
        clips = {row.pair: row.driving for row in counted}
        summary[method] = {
            name: mean_over_pairs({row.pair: row.figures.get(name, math.nan) for row in counted}, clips)
            for name in present_figures(counted)
        }
    return summary


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Every two methods (yardsticks apart) in rho, vcor and skill, on the pairs both were reliably scored on."""
    methods = [name for name in methods_of(rows) if name not in YARDSTICKS]
    clips = {row.pair: row.driving for row in rows if row.status == SCORED}

    def values(method: str, figure: str) -> tuple[str, dict[str, float]]:
        counted = (row for row in rows if row.method == method and row.status == SCORED)
        return method, {row.pair: row.figures[figure] for row in counted}

    return [
        compare_methods(figure, values(first, figure), values(second, figure), clips)
        for first, second in combinations(methods, 2)
        for figure in COMPARED
    ]


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """``evaluation.csv``: a row a result, empty cells where a figure does not exist."""
    names = present_figures(rows)
    table = []
    for row in rows:
        values = [row.figures.get(name, math.nan) for name in names]
        cells = [f"{value:.5g}" if math.isfinite(value) else "" for value in values]
        head = [row.pair, row.driving, row.method, row.status]
        table.append([*head, *cells, row.frames or "", row.alignment, row.result, row.problem, row.beside_warp])
    columns = ["pair", "driving", "method", "status", *names, "frames", "alignment", "result", "problem", "beside_warp"]
    write_table(path, columns, table)


def write_json(path: str | Path, content: dict) -> None:
    """Write ``content`` atomically as JSON; dataclasses become objects, numbers that do not exist ``null``."""
    with media.atomic_path(path) as temporary:
        text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
