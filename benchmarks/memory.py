"""``python -m benchmarks memory --frames 10000``: memory while a long clip is animated, files included."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from animate import ClipAnimator, write_result
from benchmarks.scenes import SIZE, random_networks, settings
from benchmarks.turns import megabytes, peak_memory
from checkpoint import LoadedModel
from corpora.sample import sample_clip
from faces.keypoint_files import save_keypoints
from frames_dataset import ClipFolder, Pair
from media import write_frame_folder, write_mp4
from modules.facial_prior import template_keypoints


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "test").mkdir()
        frames = sample_clip(seed=0, frames=64).frames
        write_frame_folder(root / "test" / "source", frames[:1])
        write_mp4(root / "test" / "long.mp4", (frames[i % 64] for i in range(arguments.frames)), 100)
        for name in ("source", "long"):
            save_keypoints(root / "keypoints", name, template_keypoints(SIZE, SIZE))
        del frames
        config = settings(root, arguments.config, arguments.overrides)
        networks = {name: net.eval() for name, net in random_networks(config, arguments.device).items()}
        networks.pop("discriminator", None)
        clips = ClipFolder(config["dataset_params"], "test", with_keypoints=True)
        model = LoadedModel(networks, config, config["model"])
        animator = ClipAnimator(model, clips, arguments.device, arguments.batch_size)
        pair, made = Pair("long", "source"), []

        def counted():
            for frame in animator.frames(pair):
                made.append(np.uint8(frame.mean()))
                yield frame

        def path() -> None:
            write_result(counted(), root / "a.mp4", root / "png" / "a.png", 100)

        peak = peak_memory(path, arguments.device)
    return [f"{len(made)} frames animated and written: {megabytes(peak)} at most"]
