"""``python -m benchmarks memory --frames 10000``: memory of ``run.py --mode animate`` on a long clip, start to end."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.sample_clips import sample_clip
from benchmarks.scenes import SIZE, random_networks, settings
from benchmarks.turns import megabytes
from checkpoint import write_checkpoint
from faces.keypoint_files import save_keypoints
from media import write_clip, write_frame_folder
from modules.facial_prior import template_keypoints

RUN = Path(__file__).parent.parent / "run.py"


def peak_of_process(command: list[str]) -> int:
    """Most bytes that a command has in memory.

    Raises:
        RuntimeError: it fails.
    """
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {said}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "test").mkdir()
        frames = sample_clip(seed=0, frames=64).frames
        write_frame_folder(root / "test" / "source", frames[:1])
        write_clip(root / "test" / "long.mp4", (frames[i % 64] for i in range(arguments.frames)), 100)
        for name in ("source", "long"):
            save_keypoints(root / "keypoints", name, template_keypoints(SIZE, SIZE))
        (root / "pairs.csv").write_text("source,driving\nsource,long\n")
        own = [f"dataset_params.pairs_list={root / 'pairs.csv'}", f"animate_params.batch_size={arguments.batch_size}"]
        config = settings(root, arguments.config, [*own, *arguments.overrides])
        (root / "config.yaml").write_text(yaml.safe_dump(config))
        networks = random_networks(config, arguments.device)
        checkpoint = {name: network.state_dict() for name, network in networks.items()}
        write_checkpoint(root / "checkpoint.pth.tar", {**checkpoint, "config": config})
        command = [sys.executable, str(RUN), "--config", str(root / "config.yaml"), "--mode", "animate"]
        command += ["--checkpoint", str(root / "checkpoint.pth.tar"), "--device", arguments.device.type]
        command += ["--device_ids", str(arguments.device.index or 0)]
        peak = peak_of_process(command)
    what = f"{arguments.frames} frames in batches of {arguments.batch_size}, {config['animate_params']['precision']}"
    return [f"{what}: {megabytes(peak)} at most"]
