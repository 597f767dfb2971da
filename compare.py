"""The comparison engine behind ``run.py --mode compare``: the paper's table of clips, one column a model.

    python run.py --mode compare --config config/compare.yaml --out comparison

A row is a driving clip and a source: driving | every model | the truth, where it is known.  What is missing is
animated; then every row becomes a GIF, and all of them one page, ``index.html``, on which they play in step.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("compare.py is no command: python run.py --mode compare (see python run.py --help)")

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from animate import animate
from animation.cast import data_set
from animation.clip_animator import driving_rate
from animation.pairs import Pair, read_pairs
from animation.results import find_lossless
from checkpoint import file_hash, load_for_inference
from evaluation.pairs import EvaluationError, clips_by_name
from frames_dataset import ClipFolder, DataError, frame_size, inputs_of, split_folders
from media import describe_error, gif_rate, open_clip, open_output_folder, png_bytes, resize_frame, write_clip
from media.names import composed
from media.side_by_side import side_by_side
from pages import data_url, lay_out, write_page
from settings import ConfigError, load_config, merge

PAGE = "index.html"
SHEET_COLUMNS = 8  # frames side by side in a sheet: pictures wider than 16,384 pixels are not shown by browsers
RESERVED = ("driving", "truth")
OURS = ("root_dir", "keypoint_folder")  # the comparison's data; a column keeps its own frame_shape


class ComparisonError(ValueError):
    """A column that cannot be had; the message names it and says why."""


@dataclass
class Column:
    """One model of the comparison.

    Attributes:
        name: heading.
        config_path, checkpoint: files.
        config: checked settings, with the comparison's data.
        folder: where its results are.
        clips: pair name → lossless frames on disk.
    """

    name: str
    config_path: str
    checkpoint: Path
    config: dict
    folder: Path
    clips: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownRow:
    """A row with all its frames: heading → uint8 (N, H, W, 3) of one size, the driving clip first; frames a second."""

    pair: Pair
    clips: dict[str, np.ndarray]
    fps: float


def folder_name(name: str) -> str:
    """A column's heading as the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_.") or "column"


def make_columns(settings: dict, out: Path) -> list[Column]:
    """The columns, everything about them checked that can be told without their networks.

    Raises:
        ComparisonError: a column that cannot be had.
    """
    columns: list[Column] = []
    for entry in settings["columns"]:
        name = entry["name"]
        if name.lower() in RESERVED:
            raise ComparisonError(f"a column cannot be called {name!r}: there is one already. Choose another name")
        try:
            config = load_config(entry["config"], entry.get("set"))
        except ConfigError as error:
            raise ComparisonError(f"column {name}: {error}") from error
        checkpoint = Path(entry["checkpoint"])
        if not checkpoint.exists():
            raise ComparisonError(
                f"column {name}: no such checkpoint: {checkpoint}. Train it with `python run.py --config "
                f"{entry['config']}`, put the file there, or take the column out of the comparison"
            )
        config = merge(config, {"dataset_params": {k: settings["dataset_params"][k] for k in OURS}})
        folder = out / folder_name(name)
        if any(folder == other.folder for other in columns):
            raise ComparisonError(f"column {name}: its results would lie in {folder}, as another column's. Rename one")
        columns.append(Column(name, entry["config"], checkpoint, config, folder))
    return columns


def make_pairs(settings: dict, clips: ClipFolder) -> list[Pair]:
    """The rows: listed in the file, or in a pairs list that it names."""
    rows = settings["rows"]
    if isinstance(rows, str):
        return read_pairs(rows, clips.names)
    pairs = [Pair(composed(row["driving"]), composed(row["source"]), row.get("frame", 0)) for row in rows]
    unknown = sorted({name for pair in pairs for name in (pair.driving, pair.source)} - set(clips.names))
    if unknown:
        raise DataError(
            f"rows name clips that are not in the data: {', '.join(unknown)}. In the data: {', '.join(clips.names)}"
        )
    return pairs


def animate_column(column: Column, pairs: list[Pair], device: torch.device, overwrite: bool) -> None:
    """Animate what is missing of a column and note where its frames are."""
    try:
        model = load_for_inference(column.checkpoint, column.config, device, single_use=True)
        results = animate(model, column.checkpoint, column.folder, device, overwrite, data_set(model.config, pairs))
    except ValueError as error:
        raise ComparisonError(f"column {column.name}: {describe_error(error)}") from error
    column.clips.update({result.pair.name: find_lossless(result.lossless) for result in results})


def find_truth(settings: dict, pairs: list[Pair]) -> dict[str, Path]:
    """Pair name → the true result, where the folder ``truth`` has one."""
    if settings["truth"] is None:
        return {}
    try:
        known = clips_by_name(settings["truth"])
    except EvaluationError as error:
        raise DataError(f"truth: {error}") from error
    return {pair.name: known[pair.name] for pair in pairs if pair.name in known}


def read_row(pair: Pair, clips: ClipFolder, columns: list[Column], truth: dict[str, Path]) -> ShownRow:
    """All frames of a row, at the comparison's size."""
    driving = clips.open(pair.driving)
    frames = np.stack([clips.fit(frame) for frame in driving])
    size = frames.shape[1:3]
    found = {c.name: (c.clips[pair.name], frame_size(c.config["dataset_params"]) or size) for c in columns}
    if pair.name in truth:
        found["truth"] = truth[pair.name], driving.first().shape[:2]
    shown = {"driving": frames}
    for name, (path, own_size) in found.items():
        shown[name] = np.stack([resize_frame(frame, *size) for frame in open_clip(path, own_size)])
        if len(shown[name]) != len(frames):
            raise DataError(
                f"{name}, row {pair.name}: {len(shown[name])} frames, but the driving clip has {len(frames)}. "
                "Use --overwrite to make the results again"
            )
    return ShownRow(pair, shown, driving_rate(driving, None))


def write_row(path: Path, row: ShownRow, settings: dict) -> None:
    """A row as a GIF: the slow-down under every picture, and below that the magnified change since frame 0."""
    gif_fps = gif_rate(row.fps / settings["slow_down"])
    shape, width = row.clips["driving"].shape, settings["gif_width"]
    size = max(1, round(shape[1] * width / shape[2])), width
    small = {name: np.stack([resize_frame(frame, *size) for frame in frames]) for name, frames in row.clips.items()}
    under = how_slow(row.fps / gif_fps)
    foot = f"{row.pair.driving} drives {row.pair.source}: {row.fps:g} frames a second, shown at {gif_fps:.4g}"
    write_clip(path, side_by_side(small, [foot], settings["difference_gain"], under), gif_fps)


def how_slow(factor: float) -> str:
    """The slow-down in words, as the page says it too."""
    return "true speed" if abs(factor - 1) < 5e-3 else f"{factor:.3g} times slower"


def shown_on_page(row: ShownRow) -> dict:
    """A row for the page, its frames lossless inside it."""
    clips = []
    for name, frames in row.clips.items():
        image, sheet = lay_out(frames, range(len(frames)), SHEET_COLUMNS)
        clips.append((name, sheet, data_url(png_bytes(image), "image/png")))
    return {"pair": row.pair, "frames": len(row.clips["driving"]), "fps": f"{row.fps:g}", "clips": clips}


def _facts(column: Column) -> tuple:
    size = frame_size(column.config["dataset_params"])
    pixels = f"{size[1]}×{size[0]}" if size else "as driving"
    model, checkpoint = column.config["model"], column.checkpoint
    return column.name, model, pixels, column.config_path, checkpoint, file_hash(checkpoint)


def _measuring(settings: dict, columns: list[Column], out: Path) -> str:
    """The command that measures the columns."""
    (driving, *_) = split_folders(settings["dataset_params"], "test")
    parts = ["python", "run.py", "--mode", "evaluate", "--driving", driving]
    parts += [part for column in columns for part in ("--generated", f"{column.name}={column.folder}")]
    parts += ["--truth", settings["truth"]] if settings["truth"] else []
    return shlex.join(map(str, [*parts, "--out", out / "evaluation"]))


def compare(settings: dict, out: str | Path, device: torch.device, overwrite: bool = False) -> Path:
    """Fill the table.

    Args:
        settings: of :func:`settings.load_comparison`.
        out: results go to ``<out>/<column>/``, rows to ``<out>/<driving>-<source>.gif``, the page to ``index.html``.
        device: where to compute.
        overwrite: animate again what is there.

    Returns:
        the page.

    Raises:
        ComparisonError: a column that cannot be had or animated; all of them are looked at before any work.
        DataError: rows or a truth that are not there.
    """
    out = Path(out)
    columns = make_columns(settings, out)
    clips = ClipFolder(settings["dataset_params"], "test", with_keypoints=False)
    pairs = make_pairs(settings, clips)
    truth = find_truth(settings, pairs)
    inputs = {**inputs_of(settings["dataset_params"]), "truth": settings["truth"]}
    open_output_folder(out, "--out", "a comparison", inputs)
    for column in columns:
        tqdm.write(f"{column.name}:")
        animate_column(column, pairs, device, overwrite)
    rows = []
    for pair in tqdm(pairs, desc="compare", unit="row"):
        row = read_row(pair, clips, columns, truth)
        write_row(out / f"{pair.name}.gif", row, settings)
        rows.append(shown_on_page(row))
    without = [pair.name for pair in pairs if pair.name not in truth]
    if truth and without:
        tqdm.write(f"no truth is known for {', '.join(without)}")
    gain, facts = f"{settings['difference_gain']:g}", map(_facts, columns)
    write_page(
        out / PAGE, "comparison.html", title=settings["title"], columns=facts, rows=rows, gain=gain,
        measure=_measuring(settings, columns, out),
    )  # fmt: skip
    return out / PAGE
