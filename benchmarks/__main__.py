"""Measure the project's paths, alone or in turns with the published way of working (benchmarks/README.md).

    python -m benchmarks animate --compare                # frames a second, float32 and bf16
    python -m benchmarks train --compare --batch-size 2
    python -m benchmarks data --compare
    python -m benchmarks busy --workers 4                 # share of an epoch that is not spent waiting for samples
    python -m benchmarks region_map --compare
    python -m benchmarks kpmaker --compare --clips 100
    python -m benchmarks prepare --clips 200 --frames 50 --workers 2
    python -m benchmarks memory --frames 10000
    python -m benchmarks kills --rounds 60 --seed 0
    python -m benchmarks stops --rounds 20
    python -m benchmarks damage --count 300 --seed 0
    python -m benchmarks evaluate
    python -m benchmarks first_hour
    python -m benchmarks animate train busy data region_map --compare --device cuda --frames 512 --batch-size 32
"""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from benchmarks.scenes import CONFIG
from benchmarks.turns import machine

NAMES = (
    "animate", "train", "kpmaker", "data", "busy", "region_map", "memory", "kills", "stops", "damage", "prepare",
    "evaluate", "first_hour",
)  # fmt: skip
PRECISIONS = ("float32", "bf16")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", nargs="+", choices=NAMES)
    add("--device", default="cpu", help="cpu, cuda or cuda:1 (default: %(default)s)")
    add("--compare", action="store_true", help="also measure the reference path, in turns")
    add("--rounds", type=int, default=5, help="turns (default: %(default)s)")
    add("--threads", type=int, help="of the processor (default: torch's)")
    add("--config", default=str(CONFIG), help="settings of the networks (default: the paper's size)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change a setting")
    add("--frames", type=int, default=16, help="of a clip (default: %(default)s)")
    add("--clips", type=int, default=20, help="kpmaker, data, busy, prepare: number of clips (default: %(default)s)")
    add("--batch-size", type=int, default=4, help="animate, train, busy (default: %(default)s)")
    add("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="animate, train, busy")
    add("--workers", type=int, nargs="+", default=[1, 2], help="kpmaker, data, busy, prepare (default: 1 2)")
    add("--seed", type=int, default=0, help="kills, stops, damage (default: %(default)s)")
    add("--count", type=int, default=300, help="damage: inputs to try (default: %(default)s)")
    add("--first", type=int, default=0, help="damage: number of the first (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    options.device = torch.device(options.device)
    if options.device.type == "cuda" and not torch.cuda.is_available():
        print(f"error: --device {options.device}: there is no CUDA device. Use --device cpu", file=sys.stderr)
        return 2
    if options.threads:
        torch.set_num_threads(options.threads)
    for what in options.what:
        lines = importlib.import_module(f"benchmarks.{what}").run(options)
        print("\n".join([f"{what}: {machine(options.device)}", *lines]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
