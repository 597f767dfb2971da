"""Clips as tensors: pairs of frames for training, whole clips and (driving, source) pairs for testing.

A training sample depends only on (seed, epoch, index): the order and number of workers, and an interruption, change
nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from tqdm import tqdm

from augmentation import build_augmentation
from corpora import clip_record
from faces.keypoint_files import (
    KEYPOINT_FOLDER,
    TRACKS,
    KeypointError,
    average_faces,
    default_folder,
    doubtful_faces,
    find_file,
    load_keypoints,
    making_command,
    read_manifest,
)
from faces.records import check_source
from faces.tracking import check_track, load_track
from media import Clip, clip_name, first_names, list_clips, open_clip, resize_frame
from media.frame_cache import FrameCache
from modules.track import Track
from parallel.stopping import outlive_requests

PICTURES = ("source", "driving")  # of a sample
PREFETCH = 2  # batches that a loader's worker may be ahead
FALLBACK_FPS = 100.0  # the released code's constant, for clips that say nothing about their rate


class DataError(ValueError):
    """Data that cannot be used as the config asks; the message says what is wrong and what to do."""


def frame_size(dataset_params: dict) -> tuple[int, int] | None:
    """(height, width) of ``dataset_params.frame_shape``; None for the frames' own size."""
    shape = dataset_params.get("frame_shape")
    return None if shape is None else (shape[0], shape[1])


def to_tensor(frames: np.ndarray | Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 (T, H, W, 3) → float32 (T, 3, H, W) in [0, 1], on ``device`` if given: what moves there has 8 bits."""
    frames = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
    if device is not None:
        frames = frames.to(device, non_blocking=device.type == "cuda")
    return frames.permute(0, 3, 1, 2).div(255)


def to_frames(images: Tensor) -> np.ndarray:
    """float (T, 3, H, W) in [0, 1] → uint8 (T, H, W, 3)."""
    scaled = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def root_folders(dataset_params: dict) -> list[Path]:
    """``root_dir``: one folder, or several of a composite data set."""
    roots = dataset_params["root_dir"]
    return [Path(root) for root in (roots if isinstance(roots, list) else [roots])]


def split_folders(dataset_params: dict, split: str) -> list[Path]:
    """``root_dir/<split>`` of the root folder, or of each of a list of them (a composite data set)."""
    roots = root_folders(dataset_params)
    for root in roots:
        if not root.is_dir():
            raise DataError(
                f"dataset_params.root_dir: no such folder: {root}. `python prepare.py sample` makes a data set "
                "to try; `python prepare.py --help` lists the corpora that can be imported."
            )
        if not (root / split).is_dir():
            raise DataError(
                f"{root} has no folder {split!r}. A data set is {root}/train and {root}/test, one folder of frames, "
                "video or image strip per clip in each."
            )
    return [root / split for root in roots]


def keypoint_folders(dataset_params: dict) -> dict[Path, Path]:
    """Root folder → where the key points of its clips are: as ``keypoint_folder`` says, or beside the clips.

    Where there are none, but the working directory has the folder that the released code shares among all data sets,
    they are taken from there, which is said.
    """
    given, shared = dataset_params.get("keypoint_folder"), Path(KEYPOINT_FOLDER)
    folders = {root: Path(given) if given else default_folder(root) for root in root_folders(dataset_params)}
    for root, folder in folders.items():
        if not given and shared.is_dir() and not folder.is_dir():
            folders[root] = shared
            tqdm.write(f"there is no {folder}: key points of {root} are taken from {shared} in the working directory")
    return folders


def inputs_of(dataset_params: dict) -> dict[str, str | Path | None]:
    """What a run reads, by the names that users know it by: no output may take its place."""
    roots = {f"root_dir ({root})": root for root in root_folders(dataset_params)}
    splits = {f"{name}'s {split}": root / split for name, root in roots.items() for split in ("train", "test")}
    points = {f"{name}'s key points": default_folder(root) for name, root in roots.items()}
    return roots | splits | points | {name: dataset_params.get(name) for name in ("keypoint_folder", "pairs_list")}


def known_rate(clip: Clip) -> float | None:
    """Frames a second of a clip, as the data set's ``clips.csv`` or the file itself says."""
    record = clip_record(clip)
    return clip.fps if record is None else float(record.fps)


def clip_rate(clip: Clip, override: float | None = None) -> float:
    """Frames a second of a clip: ``override``, or as known, or the released code's 100."""
    return float(override or known_rate(clip) or FALLBACK_FPS)


class ClipFolder:
    """All clips of one split, ``train`` or ``test``, by name, with their key points.

    Args:
        with_keypoints: whether every clip must have its key point file.
        with_tracks: whether it must have its key points in every frame.
    """

    def __init__(self, dataset_params: dict, split: str, with_keypoints: bool, with_tracks: bool = False):
        self.with_tracks = with_tracks
        self.size = frame_size(dataset_params)
        self.paths: dict[str, Path] = {}
        self._keypoint_folders = keypoint_folders(dataset_params) if with_keypoints else {}  # by root
        # As check_keypoints has read them; arrays, as a tensor would keep its file mapped, and take two file
        # descriptors where the loader's processes are spawned.
        self._points: dict[str, np.ndarray] = {}
        for folder in split_folders(dataset_params, split):
            for path in list_clips(folder):
                other = self.paths.setdefault(clip_name(path), path)
                if other is not path:
                    raise DataError(f"two clips are called {clip_name(path)!r}: {other} and {path}. Rename one.")
        self.names = list(self.paths)

    def add(self, name: str, path: Path, keypoint_folder: Path) -> None:
        """A clip of another root, ``ROOT/SPLIT/CLIP``, with its own folder of key points; it is not among ``names``."""
        self.paths[name], self._keypoint_folders[path.parents[1]] = path, keypoint_folder

    def open(self, name: str) -> Clip:
        """Open a clip by name."""
        return open_clip(self.paths[name], self.size)

    def fit(self, frame: np.ndarray) -> np.ndarray:
        """A frame at the data set's size."""
        return frame if self.size is None else resize_frame(frame, *self.size)

    def keypoints(self, name: str, own_size: tuple[int, int]) -> Tensor | None:
        """Key points (18, 2) of a clip in pixels of the data set's size; ``own_size`` is (height, width) on disk."""
        if not self._keypoint_folders:
            return None
        known = self._points.get(name)
        points = load_keypoints(self.keypoint_folder(name), name) if known is None else torch.tensor(known)
        if self.size is None or self.size == own_size:
            return points
        return points * torch.tensor([self.size[1] / own_size[1], self.size[0] / own_size[0]])

    def track(self, name: str, indices: Iterable[int]) -> Track | None:
        """Movement of the frames ``indices`` of a clip, at the data set's size; None where the model needs none.

        Raises:
            KeypointError: the track is shorter than the clip.
        """
        if not self.with_tracks:
            return None
        folder = self.keypoint_folder(name)
        track, indices = load_track(folder, name), list(indices)
        if max(indices) >= len(track):
            raise KeypointError(
                f"the track of {name!r} has {len(track)} frames, but frame {max(indices)} is wanted: the clip was "
                f"changed. Run {making_command(folder, ' --track --overwrite')}"
            )
        track = track[indices].to("cpu")
        if not torch.isfinite(track.field).all():
            raise KeypointError(
                f"the track of {name!r} in {folder / TRACKS} holds NaN or infinite values. Make it anew with: "
                f"{making_command(folder, ' --track --overwrite')}"
            )
        return track.resized(self.size or track.size)

    def files(self, name: str) -> dict[str, Path]:
        """What is derived from a clip is derived from these: the clip, its key points and its track, as used."""
        found = {"clip": self.paths[name]}
        if self._keypoint_folders:
            found["key points"] = find_file(self.keypoint_folder(name), name)
        if self.with_tracks:
            found["track"] = find_file(self.keypoint_folder(name) / TRACKS, name)
        return found

    def keypoint_folder(self, name: str) -> Path:
        """Where a clip's key points are."""
        return self._keypoint_folders[self.paths[name].parents[1]]

    def _by_folder(self, names: Iterable[str] | None) -> dict[Path, list[str]]:
        """Key point folder → those of ``names`` (all clips) whose points are there."""
        found: dict[Path, list[str]] = {}
        if self._keypoint_folders:
            for name in self.names if names is None else names:
                found.setdefault(self.keypoint_folder(name), []).append(name)
        return found

    def doubtful_faces(self, names: Iterable[str] | None = None) -> dict[Path, list[str]]:
        """Key point folder → which of ``names`` (all clips) have points of a doubtful face: ``clip (score, place)``."""
        found = {folder: doubtful_faces(folder, own) for folder, own in self._by_folder(names).items()}
        return {folder: [f"{name} ({where})" for name, where in own.items()] for folder, own in found.items() if own}

    def say_faces(self, what: str, names: Iterable[str]) -> None:
        """Name those of ``names`` that are ``what`` (animated …) with key points of a doubtful face, or of none."""
        names = list(names)
        for folder, doubtful in self.doubtful_faces(names).items():
            for face in doubtful:
                tqdm.write(f"doubtful face, {what} all the same: {face}; look at preview.png in {folder}")
        self.say_average_faces(names)

    def say_average_faces(self, names: Iterable[str] | None = None) -> None:
        """Name those of ``names`` (all clips) in which no face was found."""
        for folder, own in self._by_folder(names).items():
            if average := average_faces(folder, own):
                listed = first_names(average, 8)
                tqdm.write(
                    f"no face was found in {len(average)} of {len(own)} clips, and an average face's key points "
                    f"stand in for theirs: {listed}; look at preview.png in {folder}"
                )

    def check_keypoints(self, names: Iterable[str] | None = None) -> None:
        """Read the key points of ``names`` (all), for good: what is missing, or of another clip, is said first."""
        for folder, own in self._by_folder(names).items():
            entries, unknown = read_manifest(folder), []
            for name in own:
                points = load_keypoints(folder, name)
                self._points[name] = points.numpy().copy()
                check_source(name, self.paths[name], entries.get(name), folder)
                if self.with_tracks and not check_track(folder, name, self.paths[name], points):
                    unknown.append(name)
            if unknown:
                where = f"{len(unknown)} tracks in {folder / TRACKS}"
                again = making_command(folder, " --track")
                tqdm.write(f"{where} do not say which clip they were made from ({again} makes them anew)")


class FramesDataset(Dataset):
    """Training samples: two frames of a clip and the clip's key points.

    Args:
        with_keypoints: the family uses the facial prior.
        num_repeats: how often a clip comes in an epoch.
        seed: of all random choices.
        with_tracks: the family's key points follow the movement.

    Clips are decoded once where ``dataset_params.frame_cache`` says where to keep them (:class:`FrameCache`).
    Items are addressed by (epoch, index); see :class:`EpochSampler`.
    """

    def __init__(
        self, dataset_params: dict, with_keypoints: bool, num_repeats: int = 1, seed: int = 0, with_tracks: bool = False
    ):
        self.clips = ClipFolder(dataset_params, "train", with_keypoints, with_tracks)
        self.clips.check_keypoints()
        for folder, doubtful in self.clips.doubtful_faces().items():
            listed = first_names(doubtful, 8)
            raise KeypointError(
                f"the key points of {len(doubtful)} of {len(self.clips.names)} training clips are of doubtful faces: "
                f"{listed}. Look at preview.png in {folder}; remove the clips, or accept them: "
                f"{making_command(folder, ' --accept [CLIP ...]')}"
            )
        self.clips.say_average_faces()
        self.num_repeats, self.seed = num_repeats, seed
        self.augment = build_augmentation(dataset_params.get("augmentation_params"))
        cache = dataset_params.get("frame_cache")
        self._open = open_clip if cache is None else FrameCache(**cache).open
        groups: dict[str, list[str]] = {}
        for name in self.clips.names:
            groups.setdefault(name.split("#")[0] if dataset_params.get("id_sampling") else name, []).append(name)
        self.groups = list(groups.values())

    def __len__(self) -> int:
        return len(self.groups) * self.num_repeats

    def __getitem__(self, address: tuple[int, int]) -> dict[str, Tensor | str]:
        """``source``, ``driving`` (3, H, W) in [0, 1], ``name``; with the prior ``keypoint`` (18, 2) pixels, or with
        tracks ``keypoint_source``, ``keypoint_driving`` and the displacements ``field_source``, ``field_driving``
        (h, w, 2), normalised.
        """
        epoch, index = address
        rng = np.random.default_rng((self.seed, epoch, index))
        group = self.groups[index % len(self.groups)]
        name = group[int(rng.integers(len(group)))]
        clip = self._open(self.clips.paths[name], self.clips.size)
        count = len(clip)
        chosen = np.sort(rng.choice(count, size=2, replace=count < 2))  # two different frames where there are two
        frames = clip.read(chosen.tolist())
        keypoints = self.clips.track(name, chosen.tolist())
        if keypoints is None:
            keypoints = self.clips.keypoints(name, frames.shape[1:3])
        if self.clips.size not in (None, frames.shape[1:3]):
            frames = np.stack([self.clips.fit(frame) for frame in frames])
        frames, keypoints = self.augment(to_tensor(frames), keypoints, rng)
        sample: dict[str, Tensor | str] = {"source": frames[0], "driving": frames[1], "name": name}
        if isinstance(keypoints, Track):
            field = keypoints.displacement()
            sample.update(keypoint_source=keypoints.points[0], keypoint_driving=keypoints.points[1])
            sample.update(field_source=field[0], field_driving=field[1])
        elif keypoints is not None:
            sample["keypoint"] = keypoints
        return sample


def collate(
    samples: list[dict[str, Tensor | str]], buffers: SharedBuffers | None = None
) -> dict[str, Tensor | list[str]]:
    """Samples → batch; the frames (B, 3, H, W) lie in memory channels last, in the next of ``buffers`` if given.

    Raises:
        DataError: the frames differ in size.
    """
    first = samples[0]
    for sample in samples:
        if sample["source"].shape != first["source"].shape:
            (height, width), (other_height, other_width) = first["source"].shape[-2:], sample["source"].shape[-2:]
            raise DataError(
                f"the frames of a batch differ in size: {width}×{height} of {first['name']}, "
                f"{other_width}×{other_height} of {sample['name']}. Set dataset_params.frame_shape, and "
                "augmentation_params.crop_param where there is a resize_param."
            )
    # Frames are put together as they lie in memory, and need not be rearranged for the networks either.
    stacks = {key: [sample[key].permute(1, 2, 0) for sample in samples] for key in PICTURES}
    out = dict.fromkeys(PICTURES) if buffers is None else buffers(len(samples), stacks[PICTURES[0]][0].shape)
    rest = default_collate([{key: value for key, value in s.items() if key not in PICTURES} for s in samples])
    return {**{key: torch.stack(stacks[key], out=out[key]).permute(0, 3, 1, 2) for key in PICTURES}, **rest}


class SharedBuffers:
    """Memory for the frames of batches that a ``DataLoader``'s worker hands over, used again and again.

    Memory that processes share is expensive to begin with: the system clears it page by page as it is touched, which
    takes longer than making the sample.  ``DataLoader`` alone takes fresh memory for every batch.

    A worker is at most ``prefetch_factor`` batches ahead when a batch is taken from it, so the frames of a batch hold
    at least until the next one is taken.
    """

    def __init__(self, prefetch_factor: int):
        self._ring: list[Tensor | None] = [None] * (prefetch_factor + 1)
        self._turn = 0

    def __call__(self, count: int, frame: tuple[int, int, int]) -> dict[str, Tensor]:
        """Where the next batch's frames go, ``count`` of each role, of shape (H, W, 3): float32 (count, H, W, 3).

        Raises:
            DataError: the system has too little shared memory.
        """
        shape = (len(PICTURES), count, *frame)
        buffer = self._ring[self._turn]
        if buffer is None or buffer.shape != shape:
            buffer = torch.empty(shape)
            try:
                self._ring[self._turn] = buffer.share_memory_()
            except RuntimeError as error:
                raise DataError(
                    f"each of the dataloader_workers needs {len(self._ring) * buffer.nbytes / 1e6:.0f} MB of shared "
                    f"memory, which is not there ({error}). Containers have 64 MB unless told otherwise (docker run "
                    "--shm-size 1g). Or lower dataloader_workers or batch_size; 0 workers need none."
                ) from error
        self._turn = (self._turn + 1) % len(self._ring)
        return dict(zip(PICTURES, buffer, strict=True))


def make_loader(
    data: FramesDataset, sampler: Sampler, batch_size: int, workers: int = 0, pin_memory: bool = False
) -> DataLoader:
    """Batches of training samples, made by ``workers`` processes, or in this one; an incomplete last batch is left out.

    With workers a batch holds until the next one is taken: copy what should stay (``pin_memory`` does).
    """
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=True,
        collate_fn=functools.partial(collate, buffers=SharedBuffers(PREFETCH)) if workers else collate,
        num_workers=workers,
        persistent_workers=workers > 0,  # or each epoch starts them anew
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=outlive_requests,
    )


class EpochSampler(Sampler):
    """Addresses (epoch, index) in an order that depends on (seed, epoch) alone.

    Args:
        length: of the data set.
        seed: of the order.
        shares: how many equal shares a batch is cut into; a part of a batch that is worked on at a time has one share
            for every process.
        size: number of processes.
        rank: whose shares are wanted.
        batch_size: of the whole batch; needed where there are several shares.

    Attributes:
        epoch: set it before each epoch.
        start: number of addresses, of all processes, to leave out, for going on in the middle of an epoch.
    """

    def __init__(
        self, length: int, seed: int = 0, shares: int = 1, size: int = 1, rank: int = 0, batch_size: int | None = None
    ):
        self.length, self.seed, self.epoch, self.start = length, seed, 0, 0
        self.shares, self.size, self.rank, self.batch_size = shares, size, rank, batch_size

    def __len__(self) -> int:
        if self.shares == 1:
            return self.length - self.start
        return (self.length - self.start) // self.batch_size * self.batch_size // self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch, self.length)).permutation(self.length)[self.start :]
        if self.shares > 1:
            whole = len(order) // self.batch_size * self.batch_size
            parts = order[:whole].reshape(-1, self.size, self.batch_size // self.shares)  # (parts, processes, rows)
            order = parts[:, self.rank].reshape(-1)
        return iter([(self.epoch, int(index)) for index in order])
