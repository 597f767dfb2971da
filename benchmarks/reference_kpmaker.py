"""The reference path of ``kpmaker.py``, a script as it is: ``python -m benchmarks.reference_kpmaker CLIPS POINTS``.

The published code's way: all is imported first, and one process does one clip after the other.  Detector and work per
face are the project's; the published code also loads the landmark model again for every clip, which is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from faces import largest_face, make_detector
from media import read_image
from modules.facial_prior import select_keypoints


def make_keypoints(clips: Path, points: Path) -> None:
    """Key points of every folder of PNG frames in ``clips``, written to ``points/<clip>.pt``."""
    detector = make_detector("dlib")
    points.mkdir(parents=True, exist_ok=True)
    for clip in sorted(clips.iterdir()):
        face = largest_face(detector, read_image(min(clip.iterdir())))
        torch.save(select_keypoints(torch.from_numpy(np.rint(face.landmarks))), points / f"{clip.name}.pt")


if __name__ == "__main__":
    make_keypoints(*map(Path, sys.argv[1:]))
