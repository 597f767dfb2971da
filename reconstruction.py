"""The engine behind ``run.py --mode reconstruction``: each test clip from its own first frame, and the L1 error."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from animate import ClipAnimator, check_settings, driving_rate, result_paths, write_result
from checkpoint import LoadedModel, file_hash
from frames_dataset import ClipFolder, Pair
from media import atomic_path
from modules import get_family


class L1Meter:
    """Mean |generated − real| in [0, 1] over a clip's frames, frame 0 left out: it is its own source."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def watch(self, generated: Iterator[np.ndarray], real: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass ``generated`` on and compare it with ``real``, frame by frame (uint8)."""
        for index, (frame, target) in enumerate(zip(generated, real, strict=True)):
            if index > 0:
                self.total += float(np.abs(frame.astype(np.int16) - target.astype(np.int16)).mean() / 255)
                self.count += 1
            yield frame

    @property
    def value(self) -> float:
        """The mean; NaN for a clip of one frame."""
        return self.total / self.count if self.count else float("nan")


def reconstruction(
    model: LoadedModel,
    checkpoint: str | Path,
    out: str | Path,
    device: torch.device,
    overwrite: bool = False,
) -> dict[str, float]:
    """Reconstruct the test clips, at most ``reconstruction_params.num_videos``.

    Writes clips as :func:`animate.animate` does, ``l1.csv`` (a row a clip) and ``l1.json`` (the mean).

    Returns:
        L1 by clip name, and ``mean``.
    """
    config, out = model.config, Path(out)
    params = config["reconstruction_params"]
    clips = ClipFolder(config["dataset_params"], "test", get_family(config).uses_prior)
    settings = {
        "checkpoint": file_hash(checkpoint),
        "model": model.family,
        "format": params["format"],
        "frame_shape": config["dataset_params"]["frame_shape"],
    }
    check_settings(out, settings, overwrite)
    animator = ClipAnimator(model, clips, device, config["animate_params"]["batch_size"], reconstruction=True)
    errors: dict[str, float] = {}
    for name in tqdm(clips.names[: params["num_videos"]], desc="reconstruct", unit="clip"):
        clip = clips.open(name)
        meter = L1Meter()
        video, lossless = result_paths(out, name, params["format"])
        real = (clips.fit(frame) for frame in clip)
        frames = meter.watch(animator.frames(Pair(driving=name, source=name)), real)
        write_result(frames, video, lossless, driving_rate(clip, config["animate_params"].get("fps")))
        errors[name] = meter.value
    mean = float(np.nanmean(list(errors.values()))) if errors else float("nan")
    with atomic_path(out / "l1.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "l1"])
        writer.writerows((name, f"{value:.6f}") for name, value in errors.items())
    with atomic_path(out / "l1.json") as temporary:
        temporary.write_text(json.dumps({"l1": mean, "clips": len(errors), **settings}, indent=2) + "\n")
    tqdm.write(f"Reconstruction loss (L1, frame 0 left out): {mean:.6f} over {len(errors)} clips: {out}")
    return {**errors, "mean": mean}
