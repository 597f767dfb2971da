"""Frames that tests write, read and compare."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import numpy as np

import media


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


def write_strip(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Frames side by side, as earlier versions wrote lossless ones."""
    media.write_image(path, np.concatenate(list(frames), axis=1))


def write_truncated_mp4(path: Path, frames: np.ndarray, fps: float, share: float) -> None:
    """A video with its index in front, cut off after a ``share`` of its bytes, as a broken download is."""
    whole = path.with_name("whole.mp4")
    media.write_clip(whole, frames, fps)
    options = ["-v", "error", "-y", "-i", str(whole), "-c", "copy", "-movflags", "faststart", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *options], check=True)
    whole.unlink()
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
