"""``python -m benchmarks kills --rounds 20``: workers killed at random moments lose and double no result."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(arguments: argparse.Namespace) -> list[str]:
    """Repeat the suite's kill test, with other moments each time."""
    code = (
        "import sys, tempfile, pathlib; from tests.parallel.test_work_sharing import kill_at_random\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    kill_at_random(pathlib.Path(folder), pairs=8, kills=4, seed=int(sys.argv[1]))"
    )
    good = 0
    for seed in range(arguments.rounds):
        done = subprocess.run([sys.executable, "-c", code, str(seed)], cwd=ROOT, capture_output=True, text=True)
        good += done.returncode == 0
        print(f"round {seed}: {'good' if done.returncode == 0 else done.stderr}", file=sys.stderr, flush=True)
    return [f"{good} of {arguments.rounds} rounds ended with every result once and whole (8 pairs, 4 kills each)"]
