"""``python -m benchmarks train``: training steps a second, all losses of the paper, VGG-19 with random weights.

Each path has processes of its own, two in turns, and makes its steps in a row, as a training run does.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import torch

from benchmarks.reference import TrainingStep
from benchmarks.scenes import make_folders, random_networks, random_vgg, settings
from benchmarks.turns import Path_, flops, matmul_peaks, megabytes, peak_memory, report, timed
from modules import get_family
from training import trainer as training
from training.trainer import Trainer, to_device

WARM_UP = 3  # steps


def make_trainer(config: dict, device: torch.device, precision: str) -> Trainer:
    """A trainer of ``config`` with :func:`random_networks` and a VGG-19 of random weights."""
    own = copy.deepcopy(config)
    own["train_params"]["precision"] = precision
    with mock.patch.object(training, "load_perceptual_network", lambda name, weights: random_vgg(device)):
        trainer = Trainer(own, "train", device)
    networks = random_networks(config, device)
    for name, network in trainer.networks.items():
        network.load_state_dict(networks[name].state_dict())
    return trainer


class _Step:
    """The training step of a path, ``reference`` or ``project <precision>``."""

    own: _Step  # this process's

    def __init__(self, path: str, config: dict, device: torch.device, threads: int):
        torch.set_num_threads(threads)
        self.device, self.seed = device, config["train_params"]["seed"]
        trainer = make_trainer(config, device, path.removeprefix("project ") if path != "reference" else "float32")
        trainer.begin_epoch()
        batch = to_device(next(iter(trainer.loader)), device)
        self.step: Path_ = lambda: trainer.train_step(batch)[0]
        if path == "reference":
            networks = {name: net.train() for name, net in random_networks(config, device).items()}
            vgg = random_vgg(device) if get_family(config).needs_perceptual_network(config) else None
            reference = TrainingStep(networks, config["train_params"], vgg)
            self.step = lambda: reference(batch)


def _start(*arguments: object) -> None:
    _Step.own = _Step(*arguments)


def _losses() -> dict[str, float]:
    torch.manual_seed(_Step.own.seed * 1_000_003)  # the project's own first transform
    return {key: float(value) for key, value in _Step.own.step().items() if key != "background_share"}


def _seconds(rounds: int) -> list[float]:
    for _ in range(WARM_UP):
        _Step.own.step()
    return [timed(_Step.own.step, _Step.own.device) for _ in range(rounds)]


def _work() -> int:
    return flops(_Step.own.step)


def _memory() -> int | None:
    return peak_memory(_Step.own.step, _Step.own.device)


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    device, size = arguments.device, arguments.batch_size
    overrides = [*arguments.overrides, f"train_params.batch_size={size}", "train_params.dataloader_workers=0"]
    paths = ["reference"] * arguments.compare + [f"project {precision}" for precision in arguments.precisions]
    lines, memory, work = [], [], {}
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        config = settings(make_folders(Path(folder), 2, 8, "train"), arguments.config, overrides)
        for path in [*paths, *reversed(paths)]:
            start = (path, config, device, torch.get_num_threads())
            with ProcessPoolExecutor(1, get_context("spawn"), initializer=_start, initargs=start) as process:
                if path not in work:
                    losses = process.submit(_losses).result().items()
                    lines.append(f"losses of the first step, {path}: {', '.join(f'{k} {v:.5f}' for k, v in losses)}")
                    work[path] = process.submit(_work).result()
                    memory.append(f"peak memory, {path}: {megabytes(process.submit(_memory).result())}")
                seconds[path] += process.submit(_seconds, arguments.rounds).result()
    lines += report(f"training steps of {size}", "samples", size, seconds, work, matmul_peaks(device, work))
    return lines + memory
