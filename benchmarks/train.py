"""``python -m benchmarks train``: training steps a second, all losses of the paper, VGG-19 with random weights."""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from unittest import mock

import torch

import train as engine
from benchmarks.reference import TrainingStep
from benchmarks.scenes import make_folders, random_networks, random_vgg, settings
from benchmarks.turns import flops, in_turns, matmul_peaks, megabytes, peak_memory, report


def make_trainer(config: dict, device: torch.device, precision: str) -> engine.Trainer:
    """A trainer of ``config`` with :func:`random_networks` and a VGG-19 of random weights."""
    own = copy.deepcopy(config)
    own["train_params"]["precision"] = precision
    vgg = random_vgg(device)
    with mock.patch.object(engine, "load_vgg19", lambda weights: vgg):
        trainer = engine.Trainer(own, "train", device)
    networks = random_networks(config, device)
    for name, network in trainer.networks.items():
        network.load_state_dict(networks[name].state_dict())
    return trainer


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    device, size = arguments.device, arguments.batch_size
    overrides = [*arguments.overrides, f"train_params.batch_size={size}", "train_params.dataloader_workers=0"]
    with tempfile.TemporaryDirectory() as folder:
        root = make_folders(Path(folder), 2, 8, "train")
        config = settings(root, arguments.config, overrides)
        trainers = {f"project {p}": make_trainer(config, device, p) for p in arguments.precisions}
        first = next(iter(trainers.values()))
        first.begin_epoch()
        batch = engine.to_device(next(iter(first.loader)), device)
        steps = {name: lambda t=t: t.train_step(batch)[0] for name, t in trainers.items()}
        lines = []
        if arguments.compare:
            networks = {name: net.train() for name, net in random_networks(config, device).items()}
            reference = TrainingStep(networks, config["train_params"], random_vgg(device))
            steps = {"reference": lambda: reference(batch), **steps}
        for name, step in steps.items():
            torch.manual_seed(config["train_params"]["seed"] * 1_000_003)  # the project's own first transform
            values = {key: float(value) for key, value in step().items() if key != "background_share"}
            lines.append(f"losses of the first step, {name}: {', '.join(f'{k} {v:.5f}' for k, v in values.items())}")
        work = {name: flops(step) for name, step in steps.items()}
        seconds = in_turns(steps, arguments.rounds, device)
        lines += report(f"training steps of {size}", "samples", size, seconds, work, matmul_peaks(device, work))
        lines += [f"peak memory, {name}: {megabytes(peak_memory(step, device))}" for name, step in steps.items()]
    return lines
