"""``python -m benchmarks first_hour``: ten clips as a user has them, README's three commands, what training brought.

The clips are of the sample data's kind, with another seed: people whom the shipped model has never seen.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from animation.clip_animator import ClipAnimator
from animation.pairs import Pair
from benchmarks.ablation import VARIANTS, load
from corpora.sample import dataset
from logger import last_checkpoint
from media import write_clip
from metrics.image import image_figures

ROOT = Path(__file__).parents[1]
SHIPPED, CONFIG = ROOT / "sup-mat" / "sample_model.pth.tar", ROOT / "config" / "your_dataset_small.yaml"
DATA = Path("data", "your_dataset")
SEED, CLIPS, HELD_OUT = 17, 10, (4, 8)  # numbers of two micro-expressions
COMMANDS = (
    ("kpmaker.py", "--root", DATA, "--detector", "dlib", "--track"),
    ("run.py", "--config", CONFIG, "--init-from", SHIPPED),
    ("run.py", "--config", CONFIG, "--mode", "animate", "--checkpoint", "last"),
)


def make_clips(root: Path) -> None:
    """Ten videos in ``root/train`` and ``root/test``."""
    for number, plan in enumerate(dataset.train_plans(SEED, CLIPS)):
        face = plan.face(256)
        motion = dataset.Motion(face.landmarks, face.head, plan.timeline(face))
        frames = list(dataset.render_frames(face, motion, (*plan.key, 3)))
        split = "test" if number in HELD_OUT else "train"
        write_clip(root / split / f"{plan.name}.mp4", frames, plan.fps)


def held_out(checkpoint: Path, data: Path, variant: str) -> list[float]:
    """PSNR of each held-out clip rebuilt from its first frame, dB."""
    model, clips = load(checkpoint, data, None)
    found = []
    with VARIANTS[variant](model):
        animator = ClipAnimator(model, clips, torch.device("cpu"), reconstruction=True)
        for name in clips.names:
            real = np.stack([clips.fit(frame) for frame in clips.open(name)])
            found.append(image_figures(np.stack(list(animator.take(Pair(name, name)))), real)["psnr"])
    return found


def run(arguments: argparse.Namespace) -> list[str]:
    """The three commands in a folder of their own; times, and figures before and after."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="first-hour-") as place:
        make_clips(Path(place, DATA))
        for script, *options in COMMANDS:
            began = time.monotonic()
            subprocess.run([sys.executable, str(ROOT / script), *map(str, options)], cwd=place, check=True)
            lines.append(f"{time.monotonic() - began:.0f} s: python {script} {' '.join(map(str, options))}")
        after = last_checkpoint(next(Path(place, "log").iterdir()))
        for name, checkpoint in (("before", SHIPPED), ("after", after)):
            for variant in ("all painted", "as trained"):
                values = held_out(checkpoint, Path(place, DATA), variant)
                lines.append(f"{name}, {variant}: PSNR {', '.join(f'{value:.1f}' for value in values)} dB")
    return lines
