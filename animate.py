"""The animation engine behind ``run.py --mode animate``: (driving, source) pairs → clips.

The source's features and the region map are computed once a pair; driving frames stream through in batches, so the
length of a clip costs no memory.  The lossless frames are always kept: micro-expressions are smaller than what lossy
video destroys.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from checkpoint import LoadedModel, file_hash
from frames_dataset import (
    ClipFolder,
    DataError,
    Pair,
    clip_rate,
    random_pairs,
    rate_is_known,
    read_pairs,
    to_frames,
    to_tensor,
)
from media import Clip, MediaError, atomic_path, clip_writer, folder_writer, gif_rate, strip_writer
from modules import get_family
from modules.animator import normalize_kp  # noqa: F401 - users of this family of codes look for it here

SETTINGS_FILE = "settings.json"
CONTROLS = {"amplify": 1, "regions": None}  # of the movement; what folders made before there were any have


@dataclass(frozen=True)
class Result:
    """A finished clip: its pair, its video (or frame folder), its lossless frames, and whether it was made now."""

    pair: Pair
    video: Path
    lossless: Path
    made: bool


def batches(clip: Clip, folder: ClipFolder, size: int) -> Iterator[np.ndarray]:
    """A clip's frames at the data set's size, ``size`` at a time: uint8 (n, H, W, 3)."""
    waiting: list[np.ndarray] = []
    for frame in clip:
        waiting.append(folder.fit(frame))
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


class ClipAnimator:
    """Animates clips of a data set with a loaded model.

    Args:
        model: networks and settings.
        clips: the data.
        device: where the networks are.
        batch_size: driving frames at a time.
        reconstruction: take the driving key points as they are (source and driving are one clip).
    """

    def __init__(
        self,
        model: LoadedModel,
        clips: ClipFolder,
        device: torch.device,
        batch_size: int = 8,
        reconstruction: bool = False,
    ):
        self.clips, self.device, self.batch_size = clips, device, batch_size
        self.animator = model.animator(reconstruction)

    def _input(self, name: str, clip: Clip, index: int) -> tuple[Tensor, Tensor | None]:
        frame = clip.read([index])[0]
        keypoints = self.clips.keypoints(name, frame.shape[:2])
        if self.clips.with_tracks:
            keypoints = self.clips.track(name, frame.shape[:2], [index])[0]
        image = to_tensor(self.clips.fit(frame)[None]).to(self.device)
        return image, None if keypoints is None else keypoints[None].to(self.device)

    def frames(self, pair: Pair) -> Iterator[np.ndarray]:
        """The animated frames of a pair, uint8 (H, W, 3), one by one.

        Raises:
            DataError: the reference frame is outside the clip, or the two clips differ in size.
        """
        driving, source = self.clips.open(pair.driving), self.clips.open(pair.source)
        if pair.reference and pair.reference >= len(driving):
            raise DataError(f"frame {pair.reference} is outside {pair.driving} ({len(driving)} frames)")
        source_image, source_points = self._input(pair.source, source, 0)
        initial, driving_points = self._input(pair.driving, driving, pair.reference)
        if source_image.shape != initial.shape:
            raise DataError(
                f"the frames of {pair.source} and {pair.driving} differ in size ({_size(source_image)} and "
                f"{_size(initial)} pixels): set dataset_params.frame_shape"
            )
        self.animator.start(source_image, initial, source_points, driving_points)
        first = 0
        for batch in batches(driving, self.clips, self.batch_size):
            points = self._track(pair.driving, driving, range(first, first + len(batch)))
            first += len(batch)
            out = self.animator.animate(to_tensor(batch).to(self.device), *points)
            yield from to_frames(out["prediction"])

    def _track(self, name: str, clip: Clip, indices: range) -> list[Tensor]:
        """Key points of the frames ``indices``, where the model's prior follows the movement; else nothing."""
        if not self.clips.with_tracks:
            return []
        return [self.clips.track(name, clip.first().shape[:2], indices).to(self.device)]


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}×{image.shape[-2]}"


def result_paths(out: Path, name: str, suffix: str) -> tuple[Path, Path]:
    """Where a result goes: the clip as asked for, and its lossless frames (the same, for a folder of PNG files)."""
    if suffix == ".png":
        return out / name, out / name
    return out / f"{name}{suffix}", out / "png" / f"{name}.png"


def finished(video: Path, lossless: Path) -> bool:
    """Whether a result is there, whole; long clips have a folder in place of the strip."""
    return video.exists() and (lossless.exists() or lossless.with_suffix("").is_dir())


def write_result(frames: Iterator[np.ndarray], video: Path, lossless: Path, fps: float) -> None:
    """Write frames to both places as they come."""
    with contextlib.ExitStack() as stack:
        if video == lossless:
            writers = [stack.enter_context(folder_writer(video))]
        else:  # the lossless one is entered last and so finished first: a video stands for a complete result
            writers = [stack.enter_context(clip_writer(video, fps)), stack.enter_context(strip_writer(lossless))]
        for frame in frames:
            for append in writers:
                append(frame)


def check_settings(out: Path, settings: dict, overwrite: bool) -> None:
    """Refuse to mix results of different settings in one folder; writes ``settings.json`` into a new one."""
    path = out / SETTINGS_FILE
    if path.is_file() and not overwrite:
        before = {**CONTROLS, **json.loads(path.read_text(encoding="utf-8"))}
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise DataError(
                f"{out} holds results made with other settings ({', '.join(changed)} differ; see {path}). "
                "Use --overwrite to replace them, or --out for another folder."
            )
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def find_pairs(config: dict, clips: ClipFolder) -> list[Pair]:
    """The config's pairs list, or random pairs; at most ``animate_params.num_pairs``, which is said."""
    limit, listed = config["animate_params"]["num_pairs"], config["dataset_params"].get("pairs_list")
    if not listed:
        return random_pairs(clips.names, limit)
    pairs = read_pairs(listed, clips.names)
    if len(pairs) > limit:
        tqdm.write(f"{listed} lists {len(pairs)} pairs; animate_params.num_pairs: {limit} takes the first {limit}")
    return pairs[:limit]


def driving_rate(clip: Clip, override: float | None) -> float:
    """The driving clip's frames a second, saying so where nobody knows them."""
    if not override and not rate_is_known(clip):
        tqdm.write(
            f"{clip.name}: neither clips.csv nor the file says how many frames a second it has; taking "
            f"{clip_rate(clip):g}. Set animate_params.fps if that is wrong (CASME II and SAMM: 200, SMIC-HS: 100)."
        )
    return clip_rate(clip, override)


def animate(
    model: LoadedModel,
    checkpoint: str | Path,
    out: str | Path,
    device: torch.device,
    overwrite: bool = False,
) -> list[Result]:
    """Animate all pairs of the config.

    Args:
        model: networks, and settings with ``dataset_params`` and ``animate_params``.
        checkpoint: where the networks come from; its hash goes into ``settings.json``.
        out: results go to ``<out>/<driving>-<source>.mp4`` and ``<out>/png/<driving>-<source>.png``.
        device: where to compute.
        overwrite: make finished results again.

    Raises:
        DataError, MediaError: data that do not fit; every other pair is still made, then the failed ones are listed.
    """
    config, out = model.config, Path(out)
    params = config["animate_params"]
    family = get_family(config)
    clips = ClipFolder(config["dataset_params"], "test", family.uses_prior, family.uses_tracks)
    pairs = find_pairs(config, clips)
    clips.check_keypoints(dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source)))
    settings = {
        "checkpoint": file_hash(checkpoint),
        "model": model.family,
        "format": params["format"],
        "precision": model.precision,
        "frame_shape": config["dataset_params"]["frame_shape"],
        "mode": params.get("mode"),
        "normalization_params": params.get("normalization_params"),
        "fps": params.get("fps"),
        **{name: params.get(name, default) for name, default in CONTROLS.items()},
    }
    check_settings(out, settings, overwrite)
    animator = ClipAnimator(model, clips, device, params["batch_size"])
    results, failures = [], []
    for pair in tqdm(pairs, desc="animate", unit="pair"):
        video, lossless = result_paths(out, pair.name, params["format"])
        if not overwrite and finished(video, lossless):
            results.append(Result(pair, video, lossless, made=False))
            continue
        try:
            fps = driving_rate(clips.open(pair.driving), params.get("fps"))
            if params["format"] == ".gif" and gif_rate(fps) < fps * 0.99:
                tqdm.write(f"{pair.name}: {fps:g} frames a second, but a GIF plays at {gif_rate(fps):g}: slowed down")
            write_result(animator.frames(pair), video, lossless, fps)
            results.append(Result(pair, video, lossless, made=True))
        except (DataError, MediaError) as error:
            failures.append(f"{pair.name}: {error}")
            tqdm.write(f"failed: {failures[-1]}")
    with atomic_path(out / "results.json") as temporary:
        rows = [
            {**asdict(result.pair), "video": result.video.name, "lossless": str(result.lossless.relative_to(out))}
            for result in results
        ]
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    made = sum(result.made for result in results)
    tqdm.write(f"{made} made, {len(results) - made} were there already, {len(failures)} failed: {out}")
    if failures:
        raise DataError(f"{len(failures)} of {len(pairs)} pairs failed:\n  " + "\n  ".join(failures))
    return results
