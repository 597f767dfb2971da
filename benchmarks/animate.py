"""``python -m benchmarks animate``: frames a second of animation, networks alone and files included."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from animation.clip_animator import ClipAnimator
from animation.pairs import Pair
from animation.results import write_result
from benchmarks import reference
from benchmarks.scenes import make_folders, random_networks, settings
from benchmarks.turns import difference, flops, in_turns, matmul_peaks, megabytes, peak_memory, report
from checkpoint import LoadedModel
from frames_dataset import ClipFolder, to_tensor

PAIR = Pair(driving="clip0", source="clip1")


def _animators(config: dict, networks: dict[str, nn.Module], clips: ClipFolder, arguments: argparse.Namespace) -> dict:
    out = {}
    for precision in arguments.precisions:
        settings_ = {**config, "animate_params": {**config["animate_params"], "precision": precision}}
        model = LoadedModel(networks, settings_, config["model"])
        out[f"project {precision}"] = ClipAnimator(model, clips, arguments.device, arguments.batch_size)
    return out


def _networks_alone(animator: ClipAnimator, clips: ClipFolder, device: torch.device, batch_size: int):
    """A call that animates a clip that is on the device already."""
    frames = to_tensor(np.stack([clips.fit(frame) for frame in clips.open(PAIR.driving)])).to(device)
    list(animator.take(PAIR))  # starts the pair

    def path() -> Tensor:
        return torch.cat([animator.animator.animate(part)["prediction"] for part in frames.split(batch_size)])

    return path


def _pictures(frames) -> Tensor:
    return torch.from_numpy(np.stack(list(frames))).float() / 255


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure; returns the table's lines."""
    device = arguments.device
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        root = make_folders(Path(folder), 2, arguments.frames)
        config = settings(root, arguments.config, arguments.overrides)
        networks = {name: net.eval() for name, net in random_networks(config, device).items()}
        clips = ClipFolder(config["dataset_params"], "test", with_keypoints=True)
        animators = _animators(config, networks, clips, arguments)

        def reference_frames():
            return reference.animate_frames(networks, config, clips, PAIR, device)

        alone = {name: _networks_alone(a, clips, device, arguments.batch_size) for name, a in animators.items()}
        files = {
            name: lambda a=a: write_result(
                a.take(PAIR), root / "a.mp4", root / "png" / "a", 100, overlap=a.overlap
            )
            for name, a in animators.items()
        }
        if arguments.compare:
            alone = {"reference": lambda: list(reference_frames()), **alone}
            files = {
                "reference": lambda: reference.animate_clip(networks, config, clips, PAIR, device, root), **files
            }  # fmt: skip
        work = {name: flops(path) for name, path in alone.items()}
        peaks = matmul_peaks(device, work)
        lines = ["matrix product: " + ", ".join(f"{dtype} {peak / 1e9:,.0f} GFLOP/s" for dtype, peak in peaks.items())]
        for title, paths in (("networks, clip in memory", alone), ("end to end, PNG read, MP4 and PNG written", files)):
            seconds = in_turns(paths, arguments.rounds, device)
            lines += report(title, "frames", arguments.frames, seconds, work if paths is alone else None, peaks)
        for name, path in files.items():
            lines.append(f"peak memory, {name}: {megabytes(peak_memory(path, device))}")
        if arguments.compare:
            expected = _pictures(reference_frames())
            for name, animator in animators.items():
                found = difference(_pictures(animator.take(PAIR)), expected)
                lines.append(f"{name} against the reference, 8 bit: {found}")
    return lines
