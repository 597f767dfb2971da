"""How long a corpus takes from raw frames to crops: 640×480 JPEG frames in CASME II's layout, face detection included.

    python -m benchmarks prepare --clips 200 --frames 50 --workers 2      # 10,000 frames
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import media
from corpora import casme2
from corpora.coded import Source
from corpora.cutting import Settings
from corpora.pipeline import Prepared, prepare
from corpora.splits import SplitOptions
from corpora.tree import scan
from faces.crop import Crop

DIFFERENT = 10  # frames made; all others are links to them
HEIGHT, WIDTH, FACE = 480, 640, 420  # pixels; the portrait in the middle is FACE high


def make_frames(folder: Path) -> list[Path]:
    """Frames with a face before a noisy wall, as JPEG files."""
    from benchmarks.sample_clips import sample_clip

    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for number, portrait in enumerate(sample_clip(seed=0, frames=DIFFERENT).frames):
        frame = rng.normal(120, 4, (HEIGHT, WIDTH, 3))
        top, left = (HEIGHT - FACE) // 2, (WIDTH - FACE) // 2
        frame[top : top + FACE, left : left + FACE] = cv2.resize(portrait, (FACE, FACE))
        paths.append(folder / f"{number}.jpg")
        media.write_image(paths[-1], np.clip(frame, 0, 255).astype(np.uint8))
    return paths


def make_corpus(root: Path, clips: int, frames: int) -> None:
    """``clips`` clips of ``frames`` frames, linked to the few that are made."""
    made = make_frames(root / "made")
    for number in range(clips * frames):
        clip, place = divmod(number, frames)
        folder = root / "raw" / "CASME2_RAW_selected" / f"sub{clip % 26 + 1:02d}" / f"EP{clip // 26 + 1:02d}_01"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(made[place % DIFFERENT], folder / f"img{place + 40}.jpg")


def prepare_corpus(root: Path, workers: int) -> Prepared:
    """Everything that prepare.py does but the report."""
    listing = casme2.read(Source(scan(root / "raw"), use_sheet=False))
    return prepare(listing, root / "out", "casme2", Settings(Crop()), SplitOptions("train"), workers)


def run(options: argparse.Namespace) -> list[str]:
    """``options.clips`` clips of ``options.frames`` frames, with each number of processes in ``options.workers``."""
    return [measure(options.clips, options.frames, workers) for workers in options.workers]


def measure(clips: int, frames: int, workers: int) -> str:
    """One line of results; processor time is that of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_corpus(root, clips, frames)
        before, start = os.times(), time.perf_counter()
        done = prepare_corpus(root, workers)
        wall, after = time.perf_counter() - start, os.times()
        again = time.perf_counter()
        prepare_corpus(root, workers)
        again = time.perf_counter() - again
    busy = sum(after[:4]) - sum(before[:4])  # of this process and its finished children
    count = sum(record.frames for record in done.records)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"prepare: {count} frames of {WIDTH}×{HEIGHT} in {len(done.records)} clips, {workers} processes: {wall:.1f} s "
        f"({count / wall:.0f} frames a second), {busy:.1f} s of processor time ({1000 * busy / count:.2f} ms a frame); "
        f"a second run with nothing to do: {again:.1f} s; system load {load:.1f}"
    )
