"""The engine behind ``run.py --mode reconstruction``: each test clip from its own first frame, and the L1 error."""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("reconstruction.py is no command: python run.py --mode reconstruction (see python run.py --help)")

import contextlib
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from animation.clip_animator import ClipAnimator, driving_rate
from animation.pairs import Pair
from animation.results import check_settings, common_settings, result_paths, some_failed, write_result
from checkpoint import LoadedModel
from frames_dataset import ClipFolder, DataError, inputs_of
from media import MediaError, atomic_path, open_output_folder
from media.threads import read_ahead
from modules import get_family


class L1Meter:
    """Mean |generated − real| in [0, 1] over a clip's frames, frame 0 left out: it is its own source."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def watch(self, generated: Iterable[np.ndarray], real: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
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


def reconstruct_clip(animator: ClipAnimator, name: str, out: Path, suffix: str, fps: float | None) -> float:
    """Write a clip's reconstruction; returns its L1."""
    clip = animator.clips.open(name)
    meter = L1Meter()
    real = read_ahead((animator.clips.fit(frame) for frame in clip), animator.overlap, animator.batch_size)
    with contextlib.closing(real):
        frames = meter.watch(animator.take(Pair(driving=name, source=name)), real)
        write_result(frames, *result_paths(out, name, suffix), driving_rate(clip, fps), overlap=animator.overlap)
    return meter.value


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

    Raises:
        DataError, MediaError: clips that cannot be used; the others are still made, then the failed ones are listed.
    """
    config = model.config
    params = config["reconstruction_params"]
    family = get_family(config)
    clips = ClipFolder(config["dataset_params"], "test", family.uses_prior, family.uses_tracks)
    names = clips.names[: params["num_videos"]]
    clips.check_keypoints(names)
    inputs = {**inputs_of(config["dataset_params"]), "--checkpoint": checkpoint}
    out = open_output_folder(out, "--out", "reconstructions", inputs)
    clips.say_faces("reconstructed", names)
    settings = common_settings(model, checkpoint, params["format"])
    check_settings(out, settings, overwrite)
    animator = ClipAnimator(model, clips, device, config["animate_params"]["batch_size"], reconstruction=True)
    errors: dict[str, float] = {}
    failures: list[str] = []
    for name in tqdm(names, desc="reconstruct", unit="clip"):
        try:
            errors[name] = reconstruct_clip(animator, name, out, params["format"], config["animate_params"].get("fps"))
        except (DataError, MediaError) as error:
            failures.append(f"{name}: {error}")
            tqdm.write(f"failed: {failures[-1]}")
    measured = [value for value in errors.values() if not np.isnan(value)]
    mean = float(np.mean(measured)) if measured else None
    with atomic_path(out / "l1.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "l1"])
        writer.writerows((name, f"{value:.6f}") for name, value in errors.items())
    with atomic_path(out / "l1.json") as temporary:
        temporary.write_text(json.dumps({"l1": mean, "clips": len(measured), **settings}, indent=2) + "\n")
    if mean is not None:
        tqdm.write(f"Reconstruction loss (L1, frame 0 left out): {mean:.6f} over {len(measured)} clips: {out}")
    if failures:
        raise DataError(some_failed(failures, len(names), "clips failed"))
    if mean is None:
        raise DataError("there is nothing to measure: every clip has one frame, which is its own source")
    return {**errors, "mean": mean}
