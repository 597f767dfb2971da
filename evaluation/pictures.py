"""The pictures of a report: frames in sheets for the player, motion maps, curves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import cv2
import numpy as np

import media
from metrics.canonical import IOD, LIDS, REGIONS, canonical_frame
from metrics.figures import EPS
from metrics.motion import CELL, ClipMotion, MotionScore
from metrics.timing import evenly_spaced
from pages import Sheet, lay_out

SHEET_HEIGHT = 144  # pixels of one frame in a sheet
SHEET_COLUMNS = 10
SHEET_FRAMES = 60
MAP_SCALE = 2  # map pixels per canonical pixel
ARROW_LENGTH = 8.0  # arrows are drawn this many times longer than the motion
ARROW_SPACING = 2  # cells between arrows
OUTSIDE = 235  # grey level of what lies outside the clip's picture

DRIVING_COLOUR = "#202020"
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f")


def make_sheet(frames: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, Sheet]:
    """A picture (uint8 RGB) of at most 60 frames, evenly taken from ``frames`` (T, H, W, 3) shown at ``times`` (T,)."""
    chosen = evenly_spaced(len(frames), SHEET_FRAMES)
    width = max(1, round(frames.shape[2] * SHEET_HEIGHT / frames.shape[1]))
    cells = [media.resize_frame(frames[index], SHEET_HEIGHT, width) for index in chosen]
    return lay_out(cells, times[chosen], SHEET_COLUMNS)


def apex_time(motion: ClipMotion) -> float:
    """Time of the frame in which the regions other than the eyelids move most, in driving frames."""
    face = ~np.isin(REGIONS, LIDS)
    energy = np.sum(motion.curves[face] ** 2, axis=(0, 2))
    return float(motion.times[int(energy.argmax())])


def motion_map(frames: np.ndarray, motion: ClipMotion, time: float) -> np.ndarray:
    """The face at ``time`` with arrows of its motion since the onset, head motion removed: uint8 RGB (576, 512, 3).

    Args:
        frames: (T, H, W, 3), the frames ``motion`` was measured on.

    Arrows are eight times as long as the motion; motion under the noise gate (0.003 IOD) is a grey dot.
    """
    index = int(np.argmin(np.abs(motion.times - time)))
    grey = canonical_frame(frames[index], motion.face)
    size = (grey.shape[1] * MAP_SCALE, grey.shape[0] * MAP_SCALE)
    picture = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2RGB)
    picture = (picture * 0.75).astype(np.uint8)
    picture[cv2.resize(motion.face.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 0] = OUTSIDE
    hull = cv2.dilate(motion.face.hull().astype(np.uint8), np.ones((25, 25), np.uint8)) & motion.face.inside
    field = motion.field[index]
    for row in range(0, field.shape[0], ARROW_SPACING):
        for column in range(0, field.shape[1], ARROW_SPACING):
            x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
            if hull[int(y), int(x)]:
                _draw_arrow(picture, x, y, field[row, column])
    return picture


def _draw_arrow(picture: np.ndarray, x: float, y: float, vector: np.ndarray) -> None:
    """One motion vector (IOD) at canonical (x, y), from yellow (weak) to red (0.03 IOD and more)."""
    start = (round(x * MAP_SCALE), round(y * MAP_SCALE))
    strength = float(np.hypot(*vector))
    if strength < EPS:
        cv2.circle(picture, start, 1, (150, 150, 150), -1, cv2.LINE_AA)
        return
    tip = np.array([x, y]) + vector * IOD * ARROW_LENGTH
    share = min(strength / (10 * EPS), 1.0)
    colour = (255, round(230 * (1 - share)), 40)
    end = tuple(int(round(value * MAP_SCALE)) for value in tip)
    cv2.arrowedLine(picture, start, end, colour, 2, cv2.LINE_AA, tipLength=0.25)


def region_curves(scores: Mapping[str, MotionScore], colours: Mapping[str, str]) -> bytes:
    """SVG of the regional curves over time, driving against generated, one panel a region.

    Each curve is the motion along the region's main driving direction (first right singular vector of the driving
    curve, signed so that its largest excursion is positive), in thousandths of the inter-ocular distance.

    Args:
        scores: method → score, all against one driving clip; at least one.
        colours: of the methods and of "driving".
    """
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    times = next(iter(scores.values())).times
    regions = {name: lines for name in REGIONS if (lines := _projected(scores, name))}
    peak = max(np.abs(values).max() for name in regions if name not in LIDS for values in regions[name].values())
    peak = max(2 * EPS, float(peak))
    columns, rows = 5, math.ceil(len(regions) / 5)
    figure = Figure(figsize=(9.0, 1.05 * rows + 0.3))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, columns)
    axes.set_ylim(-rows, 0.3)
    axes.axis("off")
    start, end = times[0], max(times[-1], times[0] + 1)
    drawn: list[tuple[np.ndarray, str, float]] = []  # points (n, 2), colour, width
    for place, (name, lines) in enumerate(regions.items()):
        row, column = divmod(place, columns)
        x0, y0, width, height = column + 0.04, -row - 0.92, 0.92, 0.70
        middle = y0 + height / 2
        axes.add_patch(matplotlib.patches.Rectangle((x0, y0), width, height, fill=False, lw=0.5, ec="#bbbbbb"))
        drawn.append((np.array([[x0, middle], [x0 + width, middle]]), "#dddddd", 0.5))
        active = any(name in score.active for score in scores.values())
        label = f"{name.replace('_', ' ')}{' (apart)' if name in LIDS else ''}"
        axes.text(x0, y0 + height + 0.03, label, fontsize=8, weight="bold" if active else "normal", color="#202020")
        for method, values in lines.items():
            x = x0 + (times - start) / (end - start) * width
            y = middle + np.clip(values / peak, -1.15, 1.15) * height * 0.42
            drawn.append((np.column_stack([x, y]), colours[method], 1.6 if method == "driving" else 1.2))
    segments, line_colours, widths = zip(*drawn, strict=True)
    axes.add_collection(LineCollection(segments, colors=line_colours, linewidths=widths))
    axes.text(
        0.04, 0.12, f"panel height ±{peak / 0.42 * 0.5 * 1000:.0f} thousandths of the eye distance (eyelids may be "
        f"cut); frames {start:.0f} to {end:.0f}", fontsize=8, color="#505050",
    )  # fmt: skip
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _projected(scores: Mapping[str, MotionScore], name: str) -> dict[str, np.ndarray]:
    """A region's curves (T,) along its main driving direction, "driving" and each method's; {} where it is not seen."""
    seen = {method: score for method, score in scores.items() if name in score.driving}
    if not seen:
        return {}
    driving = next(iter(seen.values())).driving[name]
    main = np.linalg.svd(driving, full_matrices=False)[2][0]
    along = driving @ main
    if along[np.abs(along).argmax()] < 0:
        main, along = -main, -along
    return {"driving": along, **{method: score.generated[name] @ main for method, score in seen.items()}}
