"""What a run leaves behind: ``log.txt``, ``metrics.jsonl``, TensorBoard, curves, pictures, checkpoints' names."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from media import atomic_path, explain_write_error, write_image

CHECKPOINT_SUFFIX = "-checkpoint.pth.tar"
STEP_LOG, EPOCH_LOG, VALIDATION_LOG = "metrics.jsonl", "epochs.jsonl", "validation.jsonl"
TEXT_LOG = "log.txt"
CELLS = {  # pictures of a row, with the key points that are drawn on them
    "source": "kp_source", "driving": "kp_driving", "transformed_frame": "transformed_kp", "deformed": "",
    "prediction": "",
}  # fmt: skip


def checkpoint_path(folder: str | Path, epoch: int) -> Path:
    """``00000003-checkpoint.pth.tar`` of epoch 3."""
    return Path(folder) / f"{epoch:08d}{CHECKPOINT_SUFFIX}"


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints of epochs in a run folder, the newest last."""
    return sorted(Path(folder).glob(f"[0-9]*{CHECKPOINT_SUFFIX}"))


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest epoch's checkpoint in a run folder."""
    return next(reversed(checkpoints(folder)), None)


class Logger:
    """Writes a training run's records into its folder; an existing folder is continued.

    Args:
        folder: of the run.
        visualizer_params: of :class:`Visualizer`.
        step, epoch: the first that come.  What the folder's logs hold of these and later ones, because the run was
            stopped after its last checkpoint, comes again: it is cut off.  None: nothing is.
    """

    def __init__(self, folder: str | Path, visualizer_params: dict, step: int | None = None, epoch: int | None = None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.visualizer = Visualizer(**visualizer_params)
        _cut(self.folder / STEP_LOG, "step", step)
        _cut(self.folder / EPOCH_LOG, "epoch", epoch)
        _cut(self.folder / VALIDATION_LOG, "step", step)
        _cut(self.folder / TEXT_LOG, "epoch", epoch)
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step)
        self.started = time.time()

    def log_step(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """One training step's losses: a JSON line and TensorBoard."""
        line = {"step": step, "epoch": epoch, "seconds": round(time.time() - self.started, 3), **values}
        self._append(STEP_LOG, json.dumps(line))
        for name, value in values.items():
            self.board.add_scalar(f"step/{name}", value, step)

    def log_epoch(self, epoch: int, means: dict[str, float]) -> str:
        """An epoch's mean losses: the line of ``log.txt`` (returned), TensorBoard, ``epochs.jsonl``, the curves."""
        line = f"{epoch:08d}) " + "; ".join(f"{name} - {value:.5f}" for name, value in means.items())
        self._append(TEXT_LOG, line)
        self._append(EPOCH_LOG, json.dumps({"epoch": epoch, **means}))
        for name, value in means.items():
            self.board.add_scalar(f"epoch/{name}", value, epoch)
        self.board.flush()
        plot_curves(self.folder / EPOCH_LOG, self.folder / "curves.png")
        return line

    def log_validation(
        self,
        step: int,
        epoch: int,
        means: dict[str, float],
        pairs: dict[str, dict[str, float]],
        failed: dict[str, str],
        best: bool,
    ) -> None:
        """Held-out figures: the means logged as a step's losses are, each pair's in ``validation.jsonl``."""
        self.log_step(step, epoch, means)
        record = {"epoch": epoch, "step": step, "best": best, "means": means, "pairs": pairs, "failed": failed}
        self._append(VALIDATION_LOG, json.dumps(record))

    def log_pictures(self, epoch: int, batch: dict[str, Tensor], generated: dict[str, Tensor]) -> None:
        """``train-vis/00000003-rec.png``: inputs, warped source, prediction, occlusion and masks of a batch."""
        picture = self.visualizer.visualize(batch, generated)
        write_image(self.folder / "train-vis" / f"{epoch:08d}-rec.png", picture)

    def _append(self, name: str, line: str) -> None:
        path = self.folder / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise explain_write_error(error, path) from error

    def close(self) -> None:
        self.board.close()


def read_lines(path: str | Path) -> list[dict]:
    """The records of a ``.jsonl`` file; a line that a kill or a full disk cut short is left out."""
    path = Path(path)
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def _cut(path: Path, what: str, first: int | None) -> None:
    """Keep of a log the lines before the step or epoch ``first``, and none that a kill has cut short."""
    if first is None or not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    whole = ((line, _number(line, what)) for line in lines if line.endswith("\n"))
    kept = [line for line, number in whole if number is not None and number < first]
    if kept != lines:
        with atomic_path(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _number(line: str, what: str) -> int | None:
    """The step or epoch of a line of a log; None of one that is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return int(json.loads(line)[what] if line.startswith("{") else line.partition(")")[0])
    return None


def plot_curves(records: Path, picture: Path) -> None:
    """Draw every value of ``epochs.jsonl`` over the epochs, one panel each."""
    rows = {row["epoch"]: row for row in read_lines(records)}  # an epoch that was trained again counts once
    rows = [rows[epoch] for epoch in sorted(rows)]
    names = sorted({name for row in rows for name in row} - {"epoch"})
    if not names:
        return
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4 * columns, 2.6 * lines), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


class Visualizer:
    """Draws a batch as a grid: a row an item; source, driving, transformed frame, warped source, prediction,
    occlusion map and, in colours, which motion rules where.

    Args:
        kp_size: radius of a key point, in pixels.
        draw_border: white lines between the pictures.
        colormap: matplotlib colour map of the key points.
        region_bg_color: colour (r, g, b) in [0, 1] of the background in the mask picture.
    """

    def __init__(
        self,
        kp_size: int = 5,
        draw_border: bool = True,
        colormap: str = "gist_rainbow",
        region_bg_color: tuple[float, float, float] = (1, 1, 1),
    ):
        self.kp_size, self.draw_border = kp_size, draw_border
        if colormap not in matplotlib.colormaps:
            raise ValueError(
                f"visualizer_params.colormap is {colormap!r}; legal: matplotlib's colour maps, such as gist_rainbow"
            )
        self.colormap = plt.get_cmap(colormap)
        self.background = np.asarray(region_bg_color, dtype=np.float32)

    def colors(self, count: int) -> np.ndarray:
        """(count, 3) in [0, 1], one a key point."""
        return np.stack([self.colormap(i / count)[:3] for i in range(count)]).astype(np.float32)

    def picture(self, image: Tensor, keypoints: Tensor | None = None) -> np.ndarray:
        """(C, H, W) in [0, 1] with key points (K, 2), normalised, drawn on it → uint8 (H, W, 3)."""
        array = image.detach().float().cpu().clamp(0, 1).expand(3, -1, -1)
        frame = (array.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        if keypoints is None:
            return frame
        canvas = Image.fromarray(frame)
        draw = ImageDraw.Draw(canvas)
        points = (keypoints.detach().float().cpu().numpy() + 1) / 2 * [frame.shape[1], frame.shape[0]]
        for (x, y), color in zip(points, self.colors(len(points)), strict=True):
            radius = max(1.0, self.kp_size / 2)
            box = [x - radius, y - radius, x + radius, y + radius]
            draw.ellipse(box, fill=tuple(int(255 * c) for c in color))
        return np.asarray(canvas)

    def masks(self, mask: Tensor, size: tuple[int, int]) -> np.ndarray:
        """(K + 1, h, w), background first → uint8 (H, W, 3), the colours of the motions mixed by their weights."""
        mask = F.interpolate(mask.detach().float()[None].cpu(), size=size, mode="bilinear")[0].numpy()
        palette = np.concatenate([self.background[None], self.colors(mask.shape[0] - 1)])
        return (np.tensordot(mask, palette, axes=(0, 0)).clip(0, 1) * 255).astype(np.uint8)

    def visualize(self, batch: dict[str, Tensor], generated: dict[str, Tensor], limit: int = 8) -> np.ndarray:
        """The grid as uint8 (rows·H, columns·W, 3), of at most ``limit`` items."""
        rows = [self._row(batch, generated, index) for index in range(min(limit, len(batch["source"])))]
        return np.concatenate(rows, axis=0)

    def _row(self, batch: dict[str, Tensor], generated: dict[str, Tensor], index: int) -> np.ndarray:
        def points(name: str) -> Tensor | None:
            return generated[name]["value"][index] if name in generated else None

        size = tuple(batch["source"].shape[-2:])
        pictures = {**generated, "source": batch["source"], "driving": batch["driving"]}
        cells = [self.picture(pictures[name][index], points(kp)) for name, kp in CELLS.items() if name in pictures]
        if "occlusion_map" in generated:
            occlusion = F.interpolate(generated["occlusion_map"][index : index + 1].float(), size=size)[0]
            cells.append(self.picture(occlusion))
        if "mask" in generated:
            cells.append(self.masks(generated["mask"][index], size))
        row = np.concatenate(cells, axis=1)
        if self.draw_border:
            row[[0, -1]] = 255
            row[:, :: size[1]] = row[:, size[1] - 1 :: size[1]] = 255
        return row


def background_share(generated: dict[str, Tensor]) -> Tensor | None:
    """Mean weight of the background in the motion masks, in [0, 1]; near 1 nothing can move (mask collapse)."""
    mask = generated.get("mask")
    return None if mask is None else mask[:, 0].detach().float().mean()
