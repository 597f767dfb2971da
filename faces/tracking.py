"""Key points followed from the onset frame through a clip: by dense optical flow, to a fraction of a pixel.

Landmark detectors jitter by more than a micro-expression moves, so nothing is detected again: the flow from the onset
to each frame is read at the onset's key points, robustly over a small disc, and smoothed in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from faces.keypoint_files import KeypointError, MissingKeypoints, load_points, save_points
from metrics.flow import make_dis

TRACK_FOLDER = "tracks"
DISC_RADIUS = 0.03  # of the frame's larger side: the neighbourhood whose median motion a key point takes
TIME_SIGMA = 1.0  # frames


def track_keypoints(frames: Iterable[np.ndarray], keypoints: Tensor) -> Tensor:
    """Positions of key points in every frame.

    Args:
        frames: uint8 (H, W, 3) each, the onset first.
        keypoints: (K, 2), (x, y) in pixels of the onset frame.

    Returns:
        (T, K, 2) float32, (x, y) in pixels; row 0 is ``keypoints`` exactly.
    """
    dis, onset, movements = make_dis(), None, []
    for frame in frames:
        grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
        if onset is None:
            onset, cells = grey, _discs(keypoints.numpy(), grey.shape)
        flow = dis.calc(onset, grey, None) if movements else np.zeros((*grey.shape, 2), np.float32)
        movements.append(np.median(flow[cells[..., 1], cells[..., 0]], axis=1))
    curves = gaussian_filter1d(np.stack(movements), TIME_SIGMA, axis=0, mode="nearest")
    curves -= curves[:1]
    return keypoints.float() + torch.from_numpy(curves).float()


def _discs(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Integer cells (K, N, 2), (x, y), of a disc around each point, kept inside the frame."""
    radius = max(1, round(DISC_RADIUS * max(size)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    offsets = np.stack([x, y], axis=-1)[np.hypot(x, y) <= radius]
    cells = np.rint(points)[:, None].astype(int) + offsets
    return np.clip(cells, 0, np.array(size[::-1]) - 1)


def save_track(folder: str | Path, name: str, track: Tensor) -> Path:
    """Write a clip's track (T, 18, 2) to ``folder/tracks/<name>.pt``, atomically."""
    return save_points(Path(folder) / TRACK_FOLDER, name, track)


def load_track(folder: str | Path, name: str) -> Tensor:
    """A clip's track (T, 18, 2), float32 pixels.

    Raises:
        MissingKeypoints: there is none; the message says which command makes it.
        KeypointError: the file is broken.
    """
    try:
        track = load_points(Path(folder) / TRACK_FOLDER, name)
    except MissingKeypoints as error:
        raise MissingKeypoints(
            f"no tracked key points for the clip {name!r} in {Path(folder) / TRACK_FOLDER}. Make them with: "
            f"python kpmaker.py --track --root <your data folder> --out {folder}"
        ) from error
    if track.dim() != 3:
        raise KeypointError(f"the track of {name!r} should have shape (T, 18, 2), got {tuple(track.shape)}")
    return track
