"""``python -m benchmarks kpmaker --compare``: clips a second through dlib, each path a process, its start included.

Two sizes: face crops of 256×256, as ``prepare.py`` leaves them, and frames of 640×480 as cameras record them, the face
half as high as the frame.  Of a clip only the first frame is read, so it has no other.  All paths must find the same
key points.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.sample_clips import sample_clip
from benchmarks.turns import in_turns, ratio, report
from faces.keypoint_files import load_keypoints
from media import write_frame_folder

ROOT, REFERENCE = Path(__file__).parent.parent, "reference"
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
            commands = {}
            if arguments.compare:
                commands[REFERENCE] = ["-m", "benchmarks.reference_kpmaker", root / "clips", root / REFERENCE]
            for workers in arguments.workers:
                options = ["--detector", "dlib", "--overwrite", "--workers", str(workers)]
                name = f"{workers} workers"
                commands[name] = ["kpmaker.py", "--root", root / "clips", "--out", root / name, *options]
            paths = {
                name: partial(subprocess.run, [sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
                for name, command in commands.items()
            }
            seconds = in_turns(paths, arguments.rounds, arguments.device)
            _check_same([root / name for name in commands])
        lines += report(f"{arguments.clips} clips of {title}", "clips", arguments.clips, seconds)
        own = {name: values for name, values in seconds.items() if name != REFERENCE}
        if arguments.compare:
            one, *more = own
            lines += [f"  {name}: {ratio(own[one], own[name])} of {one}" for name in more]
    return lines


def _check_same(folders: list[Path]) -> None:
    """All folders hold the key points of the same clips, bit for bit."""
    names, *others = ({path.stem for path in folder.glob("*.pt")} for folder in folders)
    assert all(other == names for other in others)
    for name in names:
        points, *others = (load_keypoints(folder, name) for folder in folders)
        assert all(torch.equal(other, points) for other in others), name
