"""``python -m benchmarks stops --rounds 20``: a training that gets SIGTERM at a random moment leaves a checkpoint.

In turns the signal goes to the process alone and, as queues send it, to all processes of its group; without workers of
the loader, and with two.  Gone on with, every run must come to what an undisturbed run comes to.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import torch

from benchmarks.kills import leftovers, outcome
from benchmarks.workshop import COMMANDS, Run, furnish
from checkpoint import read_checkpoint

SAID = re.compile(r"SIGTERM: stopped after step (\d+)\. Go on with the same command and --checkpoint '(.+)'")
STOPPED = 130


def arguments_of(workers: int, *more: str) -> tuple[str, ...]:
    """The training's, validated after every epoch."""
    settings = (f"dataloader_workers={workers}", "validate_every=1", "validate_pairs=1")
    chosen = (word for setting in settings for word in ("--set", f"train_params.{setting}"))
    return *COMMANDS["train"].arguments, *chosen, *more


def trained(root: Path) -> dict[str, str]:
    """What a training has left, but for its settings: the number of workers is among them."""
    return {path: what for path, what in outcome(root, COMMANDS["train"]).items() if not path.endswith("resolved.yaml")}


def stop_round(base: Path, root: Path, number: int, delay: float, whole: dict) -> tuple[str, int | None]:
    """Send SIGTERM after ``delay`` seconds, and go on.

    Args:
        whole: what an undisturbed run leaves.

    Returns:
        what is wrong, "" if nothing; and after which step it stopped, None where it had ended before.
    """
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    workers, group = 2 * (number % 2), number // 2 % 2
    run = Run(arguments_of(workers), root)
    time.sleep(delay)
    (os.killpg if group else os.kill)(run.pid, signal.SIGTERM)
    code, said = run.wait(300), run.said()
    if code == 0:
        return "", None
    found = SAID.search(said)
    if code != STOPPED or found is None:
        return f"exit code {code}: {said[-800:]}", None
    if read_checkpoint(root / found[2])["step"] != int(found[1]):
        return f"{found[2]} is not of step {found[1]}", int(found[1])
    run = Run(arguments_of(workers, "--checkpoint", "last"), root)
    if (code := run.wait(300)) != 0:
        return f"exit code {code} of the run that goes on: {run.said()[-800:]}", int(found[1])
    now = trained(root)
    differing = sorted(path for path in now.keys() | whole.keys() if now.get(path) != whole.get(path))
    wrong = f"not as after an undisturbed run: {differing[:8]}" if differing else ""
    return wrong or (f"left behind: {left[:5]}" if (left := leftovers(root)) else ""), int(found[1])


def run(arguments: argparse.Namespace) -> list[str]:
    """Rounds until ``--rounds`` trainings were stopped before their end."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # its threads do not live on in a forked process
    rng, good, number, steps = random.Random(arguments.seed), 0, 0, Counter()
    with tempfile.TemporaryDirectory(prefix="stops-") as place:
        base, root = Path(place, "base", "work"), Path(place, "scratch", "work")
        base.mkdir(parents=True)
        root.parent.mkdir()
        furnish(base)
        shutil.copytree(base, root)
        undisturbed = Run(arguments_of(0), root)
        if undisturbed.wait(600) != 0:
            raise RuntimeError(f"the training fails undisturbed: {undisturbed.said()}")
        seconds, whole = time.monotonic() - undisturbed.began, trained(root)
        while sum(steps.values()) < arguments.rounds:
            wrong, step = stop_round(base, root, number, rng.uniform(0.1, max(0.2, seconds)), whole)
            number += 1
            if wrong:
                print(f"round {number - 1}: {wrong}", file=sys.stderr, flush=True)
            if wrong or step is not None:
                steps[step] += 1
                good += not wrong
    after = ", ".join(f"{step}: {count}" for step, count in sorted(steps.items(), key=lambda item: item[0] or 0))
    return [
        f"{good} of {arguments.rounds} trainings that got SIGTERM at a random moment left a checkpoint and went on "
        f"to what an undisturbed one comes to (after step: so often: {after}; {number - arguments.rounds} more had "
        "ended before)"
    ]
