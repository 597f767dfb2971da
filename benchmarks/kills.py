"""``python -m benchmarks kills --rounds 20``: workers killed at random moments lose and double no result.

First whole programs (``run.py --mode animate``), then bare processes that share quick pieces of work, so that most
kills meet one that holds a claim.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from parallel.work_sharing import FOLDER, Claims

ROOT = Path(__file__).parent.parent
PIECES, WORKERS, KILLS = 200, 4, 60


def _work(folder: Path) -> None:
    def done(piece: int) -> bool:
        return (folder / f"{piece}.done").exists()

    for piece, _ in Claims(folder).share(range(PIECES), str, done):
        time.sleep(random.uniform(0, 0.02))
        own = folder / f"{piece}.{os.getpid()}"
        own.touch()
        try:
            os.link(own, folder / f"{piece}.done")
        except FileExistsError:
            (folder / f"{piece}.twice").touch()
        own.unlink()


def share_and_kill(folder: Path, seed: int) -> int:
    """Share ``PIECES`` among ``WORKERS`` processes, killed and replaced ``KILLS`` times; how many of the killed held a
    claim.

    Raises:
        AssertionError: a piece was not done, or twice; or something is left behind.
    """
    rng, fork, holders = random.Random(seed), get_context("fork"), 0

    def start():
        worker = fork.Process(target=_work, args=(folder,))
        worker.start()
        return worker

    workers = [start() for _ in range(WORKERS)]
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.002, 0.06))
        victim = rng.randrange(WORKERS)
        workers[victim].kill()
        workers[victim].join()
        owner = f"pid={workers[victim].pid}\n"
        holders += any(owner in _text(path) for path in folder.glob(f"{FOLDER}/*"))
        workers[victim] = start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0, worker.exitcode
    assert len(list(folder.glob("*.done"))) == PIECES and not list(folder.glob("*.twice"))
    assert not (folder / FOLDER).exists()
    return holders


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # the claim has just ended
        return ""


def run(arguments: argparse.Namespace) -> list[str]:
    """Repeat the suite's kill test, with other moments each time, and :func:`share_and_kill`."""
    programs = (
        "import sys, tempfile, pathlib; from tests.parallel.test_work_sharing import kill_at_random\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    kill_at_random(pathlib.Path(folder), pairs=8, kills=4, seed=int(sys.argv[1]))"
    )
    good, holders = 0, []
    for seed in range(arguments.rounds):
        done = subprocess.run([sys.executable, "-c", programs, str(seed)], cwd=ROOT, capture_output=True, text=True)
        good += done.returncode == 0
        print(f"round {seed}: {'good' if done.returncode == 0 else done.stderr}", file=sys.stderr, flush=True)
    for seed in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            holders.append(share_and_kill(Path(folder), seed))
    return [
        f"{good} of {arguments.rounds} rounds ended with every result once and whole (8 pairs, 4 kills each)",
        f"{len(holders)} of {arguments.rounds} rounds ended with every piece done once, and nothing left behind "
        f"({PIECES} pieces, {WORKERS} workers, {KILLS} kills each, {sum(holders)} in all while a claim was held)",
    ]
