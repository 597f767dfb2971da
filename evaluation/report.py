"""``report.html``: one page that needs no network, plays all clips in step, and prints well."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from metrics.statistics import Comparison, Summary
from pages import Sheet, data_url, write_page

from .explained import GOOD
from .pictures import ARROW_LENGTH, DRIVING_COLOUR, PALETTE
from .tables import FAILED, FIGURES, SCORED, UNRELIABLE, YARDSTICKS, Row, methods_of, present_figures

MAIN_FIGURES = ("skill", "rho", "vcor", "gain", "dir", "leak", "apex_err", "lid_gain", "snr")
TRUTH_FIGURES = (
    "truth_rho", "truth_gain", "truth_skill", "psnr_moving", "ssim_moving", "lpips", "epe_px", "akd_px",
    "akd_jitter_px",
)  # fmt: skip
UNKNOWN_RATE = 100.0
EMBEDDED_BYTES = 150_000_000  # pictures of larger reports stay beside the page


@dataclass
class PlayedClip:
    """One clip of a pair in the report: its sheet's file and its motion map's, relative to the report."""

    label: str
    sheet: Sheet
    sheet_file: str
    map_file: str


@dataclass
class ScoredPair:
    """What one pair gave: its rows, and what the report shows of it unless everything failed.

    Attributes:
        rows: a row a method.
        frames, fps: of the driving clip; ``fps`` ``None`` where unknown.
        apex: driving frame of the motion maps.
        clips: the driving clip first.
        curves: SVG; empty where nothing could be scored.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    frames: int = 0
    fps: float | None = None
    apex: float = 0.0
    clips: list[PlayedClip] = field(default_factory=list)
    curves: bytes = b""

    @property
    def scored(self) -> list[Row]:
        """Its rows that did not fail."""
        return [row for row in self.rows if row.status != FAILED]


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for "driving" and each method, the same in curves and legends."""
    return {"driving": DRIVING_COLOUR, **dict(zip(dict.fromkeys(methods), itertools.cycle(PALETTE)))}


def format_figure(name: str, value: float | None) -> str:
    """A figure as text: two decimals, one for frames and dB, four for L1; a dash where it does not exist."""
    if value is None or not math.isfinite(value):
        return "–"
    if name in ("l1", "l1_moving", "lid_peak"):
        return f"{value:.4f}"
    if name in ("snr", "apex_err", "half_err") or name.startswith("psnr"):
        return f"{value:.1f}"
    return f"{value:.2f}".replace("-0.00", "0.00")


def write_report(
    path: str | Path,
    pairs: Sequence[ScoredPair],
    summary: Mapping[str, Mapping[str, Summary]],
    comparisons: Sequence[Comparison],
    settings: Mapping[str, object],
    missing: Mapping[str, str],
) -> None:
    """Write the report; ``missing``: figure → why nothing has it.

    Sheets and maps named in ``pairs`` must lie beside it; they move into the page, unless they are very large together.
    """
    folder = Path(path).parent
    pictures = {name for pair in pairs for clip in pair.clips for name in (clip.sheet_file, clip.map_file)}
    embedded = sum((folder / name).stat().st_size for name in pictures) <= EMBEDDED_BYTES
    rows = [row for pair in pairs for row in pair.rows]
    present = present_figures(rows)
    write_page(
        path,
        "evaluation.html",
        title="Motion fidelity",
        rows=rows,
        judged=any(row.beside_warp for row in rows),
        rows_by_skill=sorted(rows, key=_skill, reverse=True),
        row_class={SCORED: "", UNRELIABLE: " class=low", FAILED: " class=failed"},
        pairs=sorted((pair for pair in pairs if pair.curves), key=_best_skill, reverse=True),
        ranked=sorted(
            summary.items(), key=lambda item: item[1]["skill"].mean if "skill" in item[1] else -math.inf, reverse=True
        ),
        statuses={method: Counter(row.status for row in rows if row.method == method) for method in summary},
        comparisons=comparisons,
        present=present,
        main=[name for name in MAIN_FIGURES if name in present],
        truth=[name for name in TRUTH_FIGURES if name in present],
        missing=missing,
        meanings=FIGURES,
        good=GOOD,
        show=format_figure,
        settings={key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()},
        colours=method_colours(methods_of(rows)),
        arrow_length=f"{ARROW_LENGTH:g}",
        unknown_rate=UNKNOWN_RATE,
        url=functools.partial(_embedded, folder) if embedded else quote,
        data_url=data_url,
    )
    if embedded:
        for name in pictures:
            (folder / name).unlink()
        for parent in {(folder / name).parent for name in pictures}:
            with contextlib.suppress(OSError):  # something else is in it
                parent.rmdir()


def _skill(row: Row) -> float:
    return row.figures.get("skill", -math.inf)


def _best_skill(pair: ScoredPair) -> float:
    """Of a pair's results; of its yardsticks where there is no result."""
    results = [row for row in pair.scored if row.method not in YARDSTICKS]
    return max(map(_skill, results or pair.scored))


def _embedded(folder: Path, name: str) -> str:
    return data_url((folder / name).read_bytes(), "image/webp")
