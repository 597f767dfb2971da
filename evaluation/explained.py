"""Figures in print that explain themselves where they stand: beside each, what it says and what is good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

MEANINGS = {
    "rho": "the movement is the same, whatever its strength (1 perfect)",
    "vcor": "it is also at the same time, from frame to frame (1 perfect)",
    "gain": "so much of its strength has come over (1 all of it)",
    "skill": "so much of it is explained (1 all of it; below 0: a still face would be nearer)",
    "truth_rho": "the movement is the true one, whatever its strength (1 perfect)",
    "truth_vcor": "it is also at the same time (1 perfect)",
    "truth_gain": "so much of the true strength is there (1 all of it)",
    "truth_skill": "so much of the true movement is explained (1 all of it)",
    "l1": "mean difference of the pictures, of 0 to 1 (0: equal)",
    "psnr": "nearness of the pictures in dB (the more, the nearer)",
}
# What is good, in a word, for the headings of tables.
GOOD = {
    **dict.fromkeys(("rho", "vcor", "gain", "skill", "dir", "lid_gain", "ssim_moving"), "1 perfect"),
    **dict.fromkeys(("truth_rho", "truth_gain", "truth_skill"), "1 perfect"),
    **dict.fromkeys(("leak", "apex_err", "lpips", "epe_px"), "0 perfect"),
    "psnr_moving": "the more",
    "akd_px": "to the jitter",
    "akd_jitter_px": "the measure's",
    "snr": "from 4 on",
}
DECIMALS = {"l1": 4, "psnr": 1}  # two of the others
MOTION = ("rho", "vcor", "gain", "skill")
STILL_AND_WARP = "still: the face does not move; warp: it is moved by plain optical flow, without a model"


def explain(columns: Mapping[str, Mapping[str, float]], names: Sequence[str] = MOTION) -> list[str]:
    """Lines of a table: a figure a line, a column each of ``columns`` (heading → figure → value), and what it says."""
    widths = [max(7, len(heading)) for heading in columns]
    heading = "  ".join(f"{text:>{width}}" for text, width in zip(columns, widths, strict=True))
    lines = [f"  {'':11}  {heading}"]
    for name in names:
        values = [figures.get(name, math.nan) for figures in columns.values()]
        cells = "  ".join(f"{_text(name, value):>{width}}" for value, width in zip(values, widths, strict=True))
        lines.append(f"  {name:11}  {cells}  {MEANINGS[name]}")
    return lines


def _text(name: str, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.{DECIMALS.get(name, 2)}f}".replace("-0.00", "0.00")
