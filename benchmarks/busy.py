"""``python -m benchmarks busy``: how much of a training epoch the networks compute rather than wait for samples.

An epoch through the loader takes turns with as many steps on a batch that is on the device already; their ratio is the
share.  The paper's augmentation, frames decoded once, all losses, VGG-19 with random weights.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.scenes import make_folders, settings
from benchmarks.train import make_trainer
from benchmarks.turns import Path_, in_turns, report
from training.trainer import Trainer, to_device

STEPS, FRAMES = 8, 66


def _paths(trainer: Trainer) -> dict[str, Path_]:
    batch = to_device(next(iter(trainer.loader)), trainer.device)

    def epoch() -> None:
        for sample in trainer.loader:
            trainer.train_step(to_device(sample, trainer.device))

    def steps() -> None:
        for _ in range(trainer.steps):
            trainer.train_step(batch)

    return {"through the loader": epoch, "batch on the device": steps}


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    size, lines = arguments.batch_size, []
    with tempfile.TemporaryDirectory() as folder:
        root = make_folders(Path(folder), arguments.clips, FRAMES, "train")
        own = [f"train_params.batch_size={size}", f"train_params.num_repeats={-(-STEPS * size // arguments.clips)}"]
        config = settings(root, arguments.config, [*own, *arguments.overrides])
        config["dataset_params"]["frame_cache"] = {"folder": str(root / "cache")}
        for precision in arguments.precisions:
            for workers in arguments.workers:
                config["train_params"]["dataloader_workers"] = workers
                trainer = make_trainer(config, arguments.device, precision)
                seconds = in_turns(_paths(trainer), arguments.rounds, arguments.device)
                title = f"{precision}, {trainer.steps} steps of {size}, {workers} workers"
                lines += report(title, "samples", trainer.steps * size, seconds)
                fed, alone = (min(values) for values in seconds.values())
                lines.append(f"  busy {alone / fed:.0%} of the epoch")
    return lines
