"""``python -m benchmarks region_map``: region maps of a batch of 9, 64×64, against NumPy on the host."""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks import reference
from benchmarks.turns import in_turns, report
from modules.facial_prior import region_map, template_keypoints

BATCH, SIZE, MAP = 9, (256, 256), (64, 64)
CALLS = 20  # in one turn


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    points = template_keypoints(*SIZE).expand(BATCH, -1, -1) + torch.randn(BATCH, 1, 2)
    on_host, on_device = points.numpy(), points.to(arguments.device)
    paths = {"project": lambda: [region_map(on_device, SIZE, MAP) for _ in range(CALLS)]}
    lines = []
    if arguments.compare:
        paths = {"reference": lambda: [reference.region_map(on_host, SIZE, MAP) for _ in range(CALLS)], **paths}
        error = np.abs(reference.region_map(on_host, SIZE, MAP) - region_map(on_device, SIZE, MAP).cpu().numpy()).max()
        lines.append(f"largest difference from the reference: {error:.1e}")
    seconds = in_turns(paths, arguments.rounds, arguments.device)
    return [*report(f"batches of {BATCH}", "batches", CALLS, seconds), *lines]
