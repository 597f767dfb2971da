"""``python -m benchmarks kpmaker``: clips a second through dlib with different numbers of workers, start included.

Two sizes: face crops of 256×256, as ``prepare.py`` leaves them, and frames of 640×480 as cameras record them, the face
half as high as the frame.  Of a clip only the first frame is read, so it has no other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.turns import in_turns, report
from corpora.sample import sample_clip
from media import write_frame_folder

SCRIPT = Path(__file__).parent.parent / "kpmaker.py"
RECORDED = (480, 640)


def recorded(face: np.ndarray) -> np.ndarray:
    """A face crop as a part of a recorded frame, its border going on at the sides."""
    y, x = ((length - own) // 2 for length, own in zip(RECORDED, face.shape, strict=False))
    below, right = RECORDED[0] - face.shape[0] - y, RECORDED[1] - face.shape[1] - x
    return cv2.copyMakeBorder(face, y, below, x, right, cv2.BORDER_REPLICATE)


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    lines = []
    faces = [sample_clip(seed=seed, frames=6).frames[0] for seed in range(4)]
    for title, pictures in {"256×256": faces, "640×480": [recorded(face) for face in faces]}.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for index in range(arguments.clips):
                write_frame_folder(root / "clips" / f"clip{index}", [pictures[index % len(pictures)]])

            def path(workers: int, root: Path = root) -> None:
                options = ["--root", str(root / "clips"), "--out", str(root / f"points{workers}"), "--detector", "dlib"]
                command = [sys.executable, str(SCRIPT), *options, "--workers", str(workers), "--overwrite"]
                subprocess.run(command, check=True, capture_output=True)

            paths = {f"{workers} workers": lambda workers=workers: path(workers) for workers in arguments.workers}
            seconds = in_turns(paths, arguments.rounds, arguments.device)
        lines += report(f"{arguments.clips} clips of {title}", "clips", arguments.clips, seconds)
    return lines
