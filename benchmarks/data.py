"""``python -m benchmarks data``: training samples a second from folders of PNG files, the paper's augmentation.

The clips are 66 frames of 256×256, about as long as CASME II's.  Workers run already when they are measured, as they do
from a training's second epoch on; how long they take to start is said apart.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.reference import load_sample
from benchmarks.scenes import make_folders, settings
from benchmarks.turns import in_turns, report, timed
from frames_dataset import EpochSampler, FramesDataset, make_loader

SAMPLES, BATCH, FRAMES = 180, 9, 66


def _in_workers(data: FramesDataset, workers: int) -> Callable[[], int]:
    """An epoch through a ``DataLoader`` as training has it."""
    loader = make_loader(data, EpochSampler(SAMPLES), BATCH, workers)
    return lambda: sum(len(batch["source"]) for batch in loader)


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_folders(Path(folder), arguments.clips, FRAMES, "train")
        plain = settings(root, arguments.config, arguments.overrides)["dataset_params"]
        cached = copy.deepcopy(plain) | {"frame_cache": {"folder": str(root / "cache")}}
        sets = {
            name: FramesDataset(params, with_keypoints=True, num_repeats=SAMPLES)
            for name, params in (("decoded anew", plain), ("decoded once", cached))
        }
        clips, hue = sets["decoded anew"].clips, plain["augmentation_params"]["jitter_param"]["hue"]

        def reference() -> None:
            rng = np.random.default_rng(0)
            for index in range(SAMPLES):
                load_sample(clips, clips.names[index % len(clips.names)], rng, hue)

        paths = {"reference": reference} if arguments.compare else {}
        for name, data in sets.items():
            paths[f"{name}, this process"] = lambda data=data: [data[0, index] for index in range(SAMPLES)]
        filling = timed(paths["decoded once, this process"], arguments.device)
        starts = []
        for name, data in sets.items():
            for workers in arguments.workers:
                path = paths[f"{name}, {workers} workers"] = _in_workers(data, workers)
                starts.append(f"{timed(path, arguments.device):.2f} s")
        seconds = in_turns(paths, arguments.rounds, arguments.device)
        lines = report(f"{SAMPLES} samples", "samples", SAMPLES, seconds)
        lines.append(f"  first epochs in workers, their start included: {', '.join(starts)}")
        return [*lines, f"  first epoch of the cache, which decodes {arguments.clips} clips: {filling:.2f} s"]
