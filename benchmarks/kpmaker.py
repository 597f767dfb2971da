"""``python -m benchmarks kpmaker``: clips a second through dlib, with different numbers of workers in turns."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.scenes import make_folders
from benchmarks.turns import in_turns, report

SCRIPT = Path(__file__).parent.parent / "kpmaker.py"


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_folders(Path(folder), arguments.clips, 6)

        def path(workers: int) -> None:
            options = ["--root", str(root / "test"), "--out", str(root / f"points{workers}"), "--detector", "dlib"]
            command = [sys.executable, str(SCRIPT), *options, "--workers", str(workers), "--overwrite"]
            subprocess.run(command, check=True, capture_output=True)

        paths = {f"{workers} workers": lambda workers=workers: path(workers) for workers in arguments.workers}
        seconds = in_turns(paths, arguments.rounds, arguments.device)
    return report("kpmaker.py, dlib", "clips", arguments.clips, seconds)
