"""The truth of a played score, as a file beside its clip.

``<clip>.npz`` holds, for N frames of H×W pixels, U units and M fields:

    units (U,)              the action units that move
    intensity (N, U, 2)     displacement of each at its strongest place, in inter-ocular distances; person's left, right
    keypoints (N, 18, 2), landmarks (N, 68, 2)                      the facial prior's and iBUG's, (x, y) in pixels
    weights (N, M), fields (M, H, W, 2)                             the expression's dense motion, pixels
    head (N, 2, 3), mask (H, W, 1)                                  the head's motion p ↦ M·p + t, and where it acts
    iod (pixels), fps, onset, apex, offset (frames), score, action_units (text)

The displacement of every pixel from frame 0 to frame t, (H, W, 2), (x, y) in pixels, in three lines:

    z = np.load("clip.npz"); own = np.tensordot(z["weights"][t], z["fields"], 1)       # the expression alone
    x = np.moveaxis(np.indices(own.shape[:2])[::-1], 0, -1) + own
    moved = own + z["mask"] * (x @ z["head"][t, :, :2].T + z["head"][t, :, 2])         # the head's motion with it

Fields are in half precision: displacements are right to a hundredth of a pixel.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from media import atomic_path
from media.ownership import MARK
from modules.facial_prior import select_keypoints
from scores.playing import PlayedFace


def truth_of(motion: PlayedFace, keypoints: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What the file of a played score holds; ``keypoints`` (18, 2) of frame 0, where they are not the landmarks'."""
    performance = motion.performance
    if keypoints is None:
        keypoints = select_keypoints(torch.from_numpy(motion.landmarks)).numpy()
    return {
        "units": np.array(performance.units, np.int16),
        "intensity": performance.intensities().astype(np.float32),
        "keypoints": (keypoints + motion.moved(keypoints)).astype(np.float32),
        "landmarks": (motion.landmarks + motion.moved(motion.landmarks)).astype(np.float32),
        "weights": motion.weights.astype(np.float32),
        "fields": np.stack(motion.fields).astype(np.float16),
        "head": motion.head_matrices(),
        "mask": motion.head.astype(np.float16),
        **{name: np.array(getattr(performance, name)) for name in ("fps", "onset", "apex", "offset", "action_units")},
        "iod": np.array(motion.iod),
        "score": np.array(performance.text),
    }


def save_truth(path: Path, truth: dict[str, np.ndarray]) -> None:
    """Write it, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **truth)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = MARK
