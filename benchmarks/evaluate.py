"""How long an evaluation takes, landmarks and report included.

    python -m benchmarks.evaluate                        # 100 pairs of 80 frames from 10 driving clips
    python -m benchmarks.evaluate --driving 100          # every pair with a driving clip of its own
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import media
from benchmarks.sample_clips import sample_clip
from evaluate import evaluate

FACES = 4  # different clips made; all others are copies of them under other names
FPS = 100.0
TARGET = 300.0  # seconds, on two cores


def make_folders(root: Path, pairs: int, driving: int, frames: int) -> None:
    """``pairs`` results for ``driving`` driving clips of ``frames`` frames, 256×256, as videos."""
    made = []
    for seed in range(FACES):
        made.append(root / f"{seed}.mp4")
        media.write_clip(made[-1], sample_clip(seed=seed, frames=frames).frames, FPS)
    (root / "driving").mkdir()
    (root / "results").mkdir()
    for index in range(driving):
        shutil.copy(made[index % FACES], root / "driving" / f"clip{index}.mp4")
    for index in range(pairs):
        name = f"clip{index % driving}-face{index // driving}.mp4"
        shutil.copy(made[(index + 1) % FACES], root / "results" / name)


def processor_time() -> float:
    """Seconds of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(pairs: int, driving: int, frames: int, workers: int) -> str:
    """Evaluate ``pairs`` results in a folder of their own; returns what it took."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_folders(root, pairs, driving, frames)
        wall, busy = time.perf_counter(), processor_time()
        found = evaluate(
            root / "driving", root / "out", {"copy": root / "results"}, yardsticks=("still",), workers=workers
        )
        wall, busy = time.perf_counter() - wall, processor_time() - busy
    scored = sum(row.method == "copy" and row.status != "failed" for row in found.rows)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{scored} pairs of {frames} frames, {driving} driving clips, {workers} workers: "
        f"{wall:.0f} s, {wall / TARGET:.2f} of the {TARGET:.0f} s allowed for 100 pairs of 80 frames; "
        f"{busy:.0f} s of processor time, {busy / wall:.2f} cores busy; system load {load:.1f}"
    )


def run(arguments: argparse.Namespace) -> list[str]:
    """For ``python -m benchmarks evaluate``: 100 pairs of 80 frames, as many workers as asked for last."""
    return [measure(100, 10, 80, arguments.workers[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--driving", type=int, default=10, help="different driving clips (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(measure(arguments.pairs, arguments.driving, arguments.frames, arguments.workers))


if __name__ == "__main__":
    main()
