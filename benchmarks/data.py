"""``python -m benchmarks data``: training samples a second from folders of PNG files, the paper's augmentation."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from benchmarks.reference import load_sample
from benchmarks.scenes import make_folders, settings
from benchmarks.turns import in_turns, report
from frames_dataset import EpochSampler, FramesDataset, collate

SAMPLES = 32


def _loaded(data: FramesDataset, workers: int):
    def path() -> int:
        sampler = EpochSampler(SAMPLES * max(workers, 1))
        loader = DataLoader(data, batch_size=8, sampler=sampler, collate_fn=collate, num_workers=workers)
        return sum(len(batch["source"]) for batch in loader)

    return path


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_folders(Path(folder), arguments.clips, 8, "train")
        config = settings(root, arguments.config, arguments.overrides)
        data = FramesDataset(config["dataset_params"], with_keypoints=True, num_repeats=SAMPLES)
        hue = config["dataset_params"]["augmentation_params"]["jitter_param"]["hue"]

        def reference() -> None:
            rng = np.random.default_rng(0)
            for index in range(SAMPLES):
                load_sample(data.clips, data.clips.names[index % len(data.clips.names)], rng, hue)

        paths = {"project": lambda: [data[0, index] for index in range(SAMPLES)]}
        if arguments.compare:
            paths = {"reference": reference, **paths}
        seconds = in_turns(paths, arguments.rounds, arguments.device)
        lines = report("in one process", "samples", SAMPLES, seconds, {}, 1)
        for workers in arguments.workers:
            count = SAMPLES * workers
            found = in_turns({f"{workers} workers": _loaded(data, workers)}, arguments.rounds, arguments.device)
            lines += report("DataLoader, starting its workers included", "samples", count, found, {}, 1)
    return lines
