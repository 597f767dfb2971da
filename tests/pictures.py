"""Frames that tests write, read and compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def noise(count: int, height: int = 32, width: int = 32, seed: int = 0) -> np.ndarray:
    """Random frames, uint8 (count, height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright spot that moves a pixel a frame over a gradient: something a video codec keeps well."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for t in range(count):
        spot = 150 * np.exp(-((x - 10 - t) ** 2 + (y - 20) ** 2) / 40.0)
        frames.append(np.stack([spot + 40 + x / 2, spot + 50 + y / 2, 60 + x / 3 + y / 3], axis=-1))
    return np.clip(frames, 0, 255).astype(np.uint8)


def leftovers(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
