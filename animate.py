"""The animation engine behind ``run.py --mode animate``: (driving, source) pairs → clips.

The source's features and the region map are computed once a pair; driving frames stream through in batches, so the
length of a clip costs no memory (of a clip that is retimed, the key points of all frames are kept).  The lossless
frames are always kept: micro-expressions are smaller than what lossy video destroys.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from checkpoint import LoadedModel, file_hash
from claims import Claims
from corpora import ClipRecord, open_table
from corpora.generated import GeneratedSet, generated_record
from faces.expression import nearest_expression
from faces.tracking import track_keypoints
from frames_dataset import (
    ClipFolder,
    DataError,
    Pair,
    clip_rate,
    clip_record,
    random_pairs,
    rate_is_known,
    read_pairs,
    root_folders,
    to_frames,
    to_tensor,
)
from media import Clip, MediaError, atomic_path, clear_leftovers, clip_writer, folder_writer, gif_slowdown, strip_writer
from modules import get_family
from modules.animator import KeyPoints, movement, normalize_kp  # noqa: F401 - users look for normalize_kp here
from modules.colour import chrominance, combine, luminance, to_grey
from modules.coords import resize_grid, warp
from modules.track import Track
from overlap import WriteBehind, pays, read_ahead
from retiming import Marks, Retiming, RetimingError, moved_marks
from worker_process import global_rank, global_size

SETTINGS_FILE = "settings.json"
CONTROLS = {  # of the movement
    "amplify": 1, "regions": None, "retime": None, "output_fps": None, "reference": None, "colour": "model",
}  # fmt: skip
EARLIER = {**CONTROLS, "precision": "float32"}  # what folders were made with before settings had these
STILL = 0.1  # pixels: a result that moves less than this everywhere is called still


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


class Take:
    """One pair while it is animated: iterate over it, once, for the result's frames, uint8 (H, W, 3).

    Raises, while it is iterated over:
        torch.OutOfMemoryError: the device's memory does not suffice; the message says which batch size to try.

    Attributes:
        pair: what is animated, with the driving frame that relative motion starts from as ``reference``.
        fps: frames a second of the result.
        positions: (N,) driving frame that each frame of the result shows, fractions in between; None: frame by frame.
        count: frames given out so far.
    """

    def __init__(self, animator: ClipAnimator, pair: Pair, fps: float, motions: Iterator[KeyPoints]):
        self._animator, self._motions = animator, motions
        self.pair, self.fps = pair, fps
        self.positions: np.ndarray | None = None
        self.count = 0
        self._index = 0  # of the frame given out last, in its batch
        self._grids: Tensor | None = None  # of that batch
        self._first: Tensor | None = None
        self._pixels: Tensor | None = None  # in a normalised unit, x and y
        self._largest: Tensor | None = None  # on the device, which is not waited for

    def __iter__(self) -> Iterator[np.ndarray]:
        with contextlib.closing(self._motions), self._animator.advising_on_memory():
            for motion in self._motions:
                out = self._animator.animator.render(motion)
                self._grids = out.get("deformation", out.get("optical_flow"))
                self._watch(out["prediction"].shape[-2:])
                for index, frame in enumerate(to_frames(self._animator.coloured(out))):
                    self._index = index
                    self.count += 1
                    yield frame

    def _watch(self, size: tuple[int, int]) -> None:
        if self._grids is None:
            return
        if self._first is None:
            self._first, self._largest = self._grids[:1], self._grids.new_zeros(())
            self._pixels = self._grids.new_tensor([size[1] - 1, size[0] - 1]) / 2
        moved = ((self._grids - self._first) * self._pixels).norm(dim=-1).max()
        self._largest = torch.fmax(self._largest, moved)

    @property
    def grid(self) -> np.ndarray | None:
        """(h, w, 2) where each cell of the frame given out last comes from in the source, normalised (x, y); None
        where the model has no dense motion to tell.
        """
        if self._grids is None:
            return None
        self._grids = self._grids.float().cpu()  # a batch at a time, where they are asked for at all
        return self._grids[self._index].numpy()

    @property
    def largest(self) -> float | None:
        """Largest displacement of any pixel since the first frame, in pixels, so far; None where the model has no
        dense motion to tell.
        """
        return None if self._largest is None else float(self._largest)


class ClipAnimator:
    """Animates clips of a data set with a loaded model.

    Args:
        model: networks and settings; ``animate_params`` hold the controls.
        clips: the data.
        device: where the networks are.
        batch_size: driving frames at a time.
        reconstruction: take the driving key points as they are (source and driving are one clip), without controls.
        overlap: read driving frames in a background thread; None: where it pays.

    Raises:
        RetimingError, ValueError: controls that cannot be used, or not with this model.
    """

    def __init__(
        self,
        model: LoadedModel,
        clips: ClipFolder,
        device: torch.device,
        batch_size: int = 4,
        reconstruction: bool = False,
        overlap: bool | None = None,
    ):
        self.clips, self.device, self.batch_size = clips, device, batch_size
        self.overlap = pays(device) if overlap is None else overlap
        params = model.config.get("animate_params") or {}
        controls = CONTROLS if reconstruction else {**CONTROLS, **params}
        self.fps, self.reference = params.get("fps"), controls["reference"]
        self.retiming = Retiming(controls["retime"], controls["output_fps"])
        self.photo_colour = controls["colour"] == "source"
        family = get_family(model.config)
        if self.reference == "auto" and not family.uses_prior:
            raise DataError(
                "animate_params.reference: auto compares the key points of the facial prior, which model: "
                f"{family.name} does not have: give a frame number, or onset"
            )
        self.animator = model.animator(reconstruction)
        self.align_corners = self.animator.generator.align_corners

    def _image(self, frames: np.ndarray | Tensor) -> Tensor:
        """Frames as the model sees them: (T, C, H, W), grey where the colour is the photo's."""
        images = to_tensor(frames, self.device)
        return to_grey(images) if self.photo_colour else images

    @contextlib.contextmanager
    def advising_on_memory(self) -> Iterator[None]:
        """Where the device's memory runs out in the block, the error says what to do."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            message = f"out of memory on {self.device} with animate_params.batch_size: {self.batch_size}"
            remedy = f"set it to {self.batch_size // 2}"
            if self.batch_size == 1:
                remedy = "set animate_params.precision to bf16, or dataset_params.frame_shape to a smaller size"
            raise torch.OutOfMemoryError(f"{message}: {remedy}") from error

    def _input(self, name: str, clip: Clip, index: int) -> tuple[np.ndarray, Tensor | None]:
        frame = clip.read([index])[0]
        keypoints = self.clips.keypoints(name, frame.shape[:2])
        return self.clips.fit(frame)[None], None if keypoints is None else keypoints[None].to(self.device)

    def frames(self, pair: Pair) -> Iterator[np.ndarray]:
        """The animated frames of a pair, uint8 (H, W, 3), one by one; raises what :meth:`take` raises."""
        yield from self.take(pair)

    def take(self, pair: Pair) -> Take:
        """Begin with a pair; the take that was begun before ends.

        Raises:
            DataError: the reference frame is outside the clip, or the two clips differ in size.
            RetimingError: a timing that does not fit the driving clip.
        """
        driving, source = self.clips.open(pair.driving), self.clips.open(pair.source)
        pair = replace(pair, reference=self._reference(pair, driving, source))
        if pair.reference and pair.reference >= len(driving):
            raise DataError(f"frame {pair.reference} is outside {pair.driving} ({len(driving)} frames)")
        source_frame, source_points = self._input(pair.source, source, 0)
        initial, driving_points = self._input(pair.driving, driving, pair.reference)
        if source_frame.shape != initial.shape:
            raise DataError(
                f"the frames of {pair.source} and {pair.driving} differ in size ({_size(source_frame)} and "
                f"{_size(initial)} pixels): set dataset_params.frame_shape"
            )
        reference = self._track(pair.driving, range(pair.reference, pair.reference + 1)) or [driving_points]
        self.animator.start(self._image(source_frame), self._image(initial), source_points, *reference)
        if self.photo_colour:
            self.chroma = chrominance(to_tensor(source_frame, self.device))
        fps, motions = clip_rate(driving, self.fps), self._motions(pair.driving, driving)
        take = Take(self, pair, self.retiming.rate(fps), motions)
        if self.retiming:
            with self.advising_on_memory():
                parts = list(motions)
            whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            take.positions = self._positions(pair, driving, fps, whole)
            take._motions = self._retimed(whole, torch.from_numpy(take.positions).float())  # Metal knows no float64
        return take

    def _reference(self, pair: Pair, driving: Clip, source: Clip) -> int:
        """The driving frame that relative motion starts from."""
        if self.reference is None:
            return pair.reference
        if self.reference == "auto":
            target = self.clips.keypoints(pair.source, source.first().shape[:2])
            return nearest_expression(self._driving_points(pair.driving, driving).numpy(), target.numpy())
        if self.reference == "onset":
            record = clip_record(driving)
            return 0 if record is None or record.onset_index is None else record.onset_index
        return int(self.reference)

    def _driving_points(self, name: str, clip: Clip) -> Tensor:
        """Key points (T, 18, 2) of all frames: the clip's track, or one made now."""
        if self.clips.with_tracks:
            return self.clips.track(name, range(len(clip))).points
        keypoints = self.clips.keypoints(name, clip.first().shape[:2])
        return track_keypoints((self.clips.fit(frame) for frame in clip), keypoints).points

    def _motions(self, name: str, clip: Clip) -> Iterator[KeyPoints]:
        """The movement of a driving clip, frame by frame, a batch at a time."""
        first = 0
        for batch in read_ahead(self._read(clip), self.overlap):
            track = self._track(name, range(first, first + len(batch)))
            first += len(batch)
            yield self.animator.motion(self._image(batch), *track)

    def _read(self, clip: Clip) -> Iterator[Tensor]:
        """The frames on the host, uint8 (n, H, W, 3), where a GPU fetches them itself."""
        for batch in map(torch.from_numpy, batches(clip, self.clips, self.batch_size)):
            yield batch.pin_memory() if self.device.type == "cuda" else batch

    def _retimed(self, motion: KeyPoints, positions: Tensor) -> Iterator[KeyPoints]:
        for part in positions.split(self.batch_size):
            yield self.animator.interpolate(motion, part.to(self.device))

    def _positions(self, pair: Pair, clip: Clip, fps: float, motion: KeyPoints) -> np.ndarray:
        curve = movement(motion, pair.reference).cpu().numpy()
        try:
            marks = None if self.retiming.marks is None else driving_marks(clip, curve)
            return self.retiming.positions(len(curve), fps, marks)
        except RetimingError as error:
            raise RetimingError(f"{pair.driving}: {error}") from error

    def coloured(self, out: dict[str, Tensor]) -> Tensor:
        """What the generator made, in the photo's colours if asked for: (T, C, H, W)."""
        if not self.photo_colour:
            return out["prediction"]
        chroma = self.chroma.expand(len(out["prediction"]), -1, -1, -1)
        deformation = out.get("deformation", out.get("optical_flow"))
        if deformation is not None:
            grid = resize_grid(deformation, chroma.shape[-2:], self.align_corners)
            chroma = warp(chroma, grid, self.align_corners, padding_mode="border")
        return combine(luminance(out["prediction"]), chroma)

    def _track(self, name: str, indices: range) -> list[Track]:
        """The movement of the frames ``indices``, where the model's prior follows it; else nothing."""
        return [self.clips.track(name, indices).to(self.device)] if self.clips.with_tracks else []


def driving_marks(clip: Clip, curve: np.ndarray) -> Marks:
    """Onset, apex and offset of a driving clip: as ``clips.csv`` says, else its first frame, the one that moves most
    by ``curve`` (T,), and its last frame; what was found so is said.
    """
    record = clip_record(clip)
    known = {name: getattr(record, f"{name}_index", None) for name in ("onset", "apex", "offset")}
    onset = known["onset"] or 0
    offset = len(curve) - 1 if known["offset"] is None else known["offset"]
    apex = known["apex"]
    if apex is None:
        apex = onset + int(curve[onset : offset + 1].argmax())
        tqdm.write(f"{clip.name}: clips.csv does not say where its apex is; taking frame {apex}, where it moves most")
    return Marks(onset, apex, offset)


def _size(frames: np.ndarray) -> str:
    return f"{frames.shape[2]}×{frames.shape[1]}"


def result_paths(out: Path, name: str, suffix: str) -> tuple[Path, Path]:
    """Where a result goes: the clip as asked for, and its lossless frames (the same, for a folder of PNG files)."""
    if suffix == ".png":
        return out / name, out / name
    return out / f"{name}{suffix}", out / "png" / f"{name}.png"


def finished(video: Path, lossless: Path) -> bool:
    """Whether a result is there, whole; long clips have a folder in place of the strip."""
    return video.exists() and (lossless.exists() or lossless.with_suffix("").is_dir())


def is_outdated(result: Result, clips: ClipFolder) -> bool:
    """Whether a clip of its pair, or that clip's key points, changed after the result was written."""
    written = result.video.stat().st_mtime
    return any(clips.changed(name) > written for name in (result.pair.driving, result.pair.source))


def write_result(
    frames: Iterable[np.ndarray],
    video: Path,
    lossless: Path,
    fps: float,
    folder: Path | None = None,
    overlap: bool = False,
) -> None:
    """Write frames to both places as they come, and to a folder of pictures if there is one; with ``overlap`` in a
    background thread.
    """
    if overlap:
        with WriteBehind(True) as behind:
            behind(lambda received: write_result(received, video, lossless, fps, folder), frames)
        return
    with contextlib.ExitStack() as stack:
        if video == lossless:
            writers = [stack.enter_context(folder_writer(video))]
        else:  # the lossless one is entered last and so finished first: a video stands for a complete result
            writers = [stack.enter_context(clip_writer(video, fps)), stack.enter_context(strip_writer(lossless))]
        if folder is not None:
            writers.append(stack.enter_context(folder_writer(folder)))
        for frame in frames:
            for append in writers:
                append(frame)


def common_settings(model: LoadedModel, checkpoint: str | Path, suffix: str) -> dict:
    """What results of all kinds depend on, for ``settings.json``; ``suffix`` is their files'."""
    dataset_params = model.config["dataset_params"]
    return {
        "root_dir": [root.as_posix() for root in root_folders(dataset_params)],  # others' clips may have the same names
        "checkpoint": file_hash(checkpoint),
        "model": model.family,
        "format": suffix,
        "precision": model.precision,
        "frame_shape": dataset_params["frame_shape"],
    }


def check_settings(out: Path, settings: dict, overwrite: bool) -> None:
    """Refuse to mix results of different settings in one folder; writes ``settings.json`` into a new one."""
    path = out / SETTINGS_FILE
    if path.is_file() and not overwrite:
        unknown = {"root_dir": settings.get("root_dir")}  # of folders from before it was kept: taken for the same
        before = {**unknown, **EARLIER, **json.loads(path.read_text(encoding="utf-8"))}
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


def check_names(pairs: list[Pair]) -> None:
    """Refuse different pairs whose results would have one name, so that one would stand for both.

    Raises:
        DataError: the same clips with different reference frames, or names that differ in where a hyphen is.
    """
    seen: dict[str, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.name, pair)
        if other != pair:
            first, second = (f"({p.driving}, {p.source}, frame {p.reference})" for p in (other, pair))
            raise DataError(
                f"the results of two pairs (driving, source, frame) would both be called {pair.name!r}: {first} and "
                f"{second}. Give each a pairs list and an --out of its own, or rename a clip"
            )


def driving_rate(clip: Clip, override: float | None) -> float:
    """The driving clip's frames a second, saying so where nobody knows them."""
    if not override and not rate_is_known(clip):
        tqdm.write(
            f"{clip.name}: neither clips.csv nor the file says how many frames a second it has; taking "
            f"{clip_rate(clip):g}. Set animate_params.fps if that is wrong (CASME II and SAMM: 200, SMIC-HS: 100)."
        )
    return clip_rate(clip, override)


def control_settings(params: dict) -> dict:
    """The controls of ``animate_params`` for ``settings.json``, a curve file with its hash."""
    settings = {name: params.get(name, default) for name, default in CONTROLS.items()}
    if settings["retime"] and Path(settings["retime"]).is_file():
        settings["retime"] += f" ({file_hash(settings['retime'])})"
    return settings


def labelled_set(params: dict, clips: ClipFolder, pairs: list[Pair]) -> GeneratedSet | None:
    """The data set that ``animate_params.dataset_out`` asks for, None where it does not.

    Raises:
        DataError: clips without labels, or another data set in that folder.
    """
    if not params.get("dataset_out"):
        return None
    names = dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source))
    unlabelled = [name for name in names if clip_record(clips.open(name)) is None]
    if unlabelled:
        raise DataError(
            f"animate_params.dataset_out: no row of a clips.csv says whom these clips show and what: "
            f"{', '.join(unlabelled)}. prepare.py writes one; or set dataset_out: null"
        )
    try:
        return GeneratedSet(params["dataset_out"])
    except ValueError as error:
        raise DataError(str(error)) from error


def take_record(take: Take, clips: ClipFolder, params: dict) -> ClipRecord:
    """The row of a finished take in a generated data set's ``clips.csv``."""
    driving, source = (clip_record(clips.open(name)) for name in (take.pair.driving, take.pair.source))
    shown = np.arange(take.count) if take.positions is None else take.positions
    marks = moved_marks(shown, driving.onset_index, driving.apex_index, driving.offset_index)
    controls = {"amplify": params.get("amplify", 1), "regions": params.get("regions")}
    return generated_record(take.pair.name, driving, source, take.fps, take.count, marks, **controls)


def animate(
    model: LoadedModel,
    checkpoint: str | Path,
    out: str | Path,
    device: torch.device,
    overwrite: bool = False,
    pairs: list[Pair] | None = None,
    overlap: bool | None = None,
) -> list[Result]:
    """Animate all pairs of the config.

    Args:
        model: networks, and settings with ``dataset_params`` and ``animate_params``.
        checkpoint: where the networks come from; its hash goes into ``settings.json``.
        out: results go to ``<out>/<driving>-<source>.mp4`` and ``<out>/png/<driving>-<source>.png``.
        device: where to compute.
        overwrite: make finished results again.
        pairs: in place of the config's.
        overlap: read and write in background threads; None: where it pays.

    Raises:
        DataError: two pairs whose results would have one name.
        torch.OutOfMemoryError: the device's memory does not suffice; the message says which batch size to try.
        DataError, MediaError: data that do not fit; every other pair is still made, then the failed ones are listed.
        RetimingError: a timing that is none.
    """
    config, out = model.config, Path(out)
    params = config["animate_params"]
    family = get_family(config)
    clips = ClipFolder(config["dataset_params"], "test", family.uses_prior, family.uses_tracks)
    if pairs is None:
        pairs = find_pairs(config, clips)
    check_names(pairs)
    clips.check_keypoints(dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source)))
    settings = {
        **common_settings(model, checkpoint, params["format"]),
        "mode": params.get("mode"),
        "normalization_params": params.get("normalization_params"),
        "fps": params.get("fps"),
        "head": params.get("head"),
        **control_settings(params),
    }
    animator = ClipAnimator(model, clips, device, params["batch_size"], overlap=overlap)
    dataset = labelled_set(params, clips, pairs)
    if dataset:  # takes in results of many data sets
        check_settings(dataset.root, {k: v for k, v in settings.items() if k != "root_dir"}, overwrite)
    check_settings(out, settings, overwrite)
    claims, made, failures = Claims(out), set(), {}

    def done(pair: Pair) -> bool:
        return finished(*result_paths(out, pair.name, params["format"])) and (
            dataset is None or dataset.holds(pair.name)
        )

    @contextlib.contextmanager
    def failing_alone(pair: Pair) -> Iterator[None]:
        try:
            yield
        except (DataError, MediaError, RetimingError) as error:
            failures[pair] = f"{pair.name}: {error}"
            tqdm.write(f"failed: {failures[pair]}")

    def write(pair: Pair, take: Take, claim: contextlib.ExitStack, frames: Iterator[np.ndarray]) -> None:
        with claim, failing_alone(pair):
            folder = dataset.folder(pair.name) if dataset else None
            write_result(frames, *result_paths(out, pair.name, params["format"]), take.fps, folder)
            if dataset:
                with Claims(dataset.root).exclusive("clips.csv"):  # also from those who write to another ``out``
                    dataset.add(take_record(take, clips, params))
            if take.largest is not None and take.largest < STILL and params.get("amplify") != 0:
                tqdm.write(
                    f"{pair.name}: hardly moves (at most {take.largest:.2f} pixels): the driving clip is still, or the "
                    "model does not carry its movement"
                )
            made.add(pair)

    if overwrite:  # what is there says nothing: each process of a team makes its share anew
        single = list(dict.fromkeys(pairs))  # two writers must not meet in one result
        mine = claims.each(single[global_rank() :: global_size()], lambda pair: pair.name)
    else:
        mine = claims.share_claims(pairs, lambda pair: pair.name, done)
    with WriteBehind(animator.overlap) as behind:
        for pair, claim in tqdm(mine, desc="animate", unit="pair", total=len(pairs)):
            for path in result_paths(out, pair.name, params["format"]):
                clear_leftovers(path)
            with failing_alone(pair):
                driving_rate(clips.open(pair.driving), params.get("fps"))
                take = animator.take(pair)
                if slowdown := gif_slowdown(params["format"], take.fps):
                    tqdm.write(f"{pair.name}: {slowdown}")
                behind(functools.partial(write, pair, take, claim.pop_all()), take)
    there = [pair for pair in pairs if pair not in failures and done(pair)]  # an earlier result keeps its earlier row
    results = [Result(pair, *result_paths(out, pair.name, params["format"]), made=pair in made) for pair in there]
    with claims.exclusive("results"):  # what others have listed is kept
        write_manifest(out, results, clips, settings)
    tqdm.write(f"{len(made)} made, {len(results) - len(made)} were there already, {len(failures)} failed: {out}")
    if outdated := [result.pair.name for result in results if not result.made and is_outdated(result, clips)]:
        listed = ", ".join(outdated[:8]) + (" …" if len(outdated) > 8 else "")
        tqdm.write(
            f"{len(outdated)} of these are older than their clips or key points: {listed}. --overwrite makes all anew"
        )
    if failures:
        listed = [failures[pair] for pair in pairs if pair in failures]
        raise DataError(f"{len(failures)} of {len(pairs)} pairs failed:\n  " + "\n  ".join(listed))
    return results


LABELS = ("corpus", "subject", "emotion", "class3", "action_units", "onset_index", "apex_index", "offset_index")


def write_manifest(out: Path, results: list[Result], clips: ClipFolder, settings: dict) -> None:
    """``results.json`` and ``results.csv``: a row a result, with its clips, their labels, checkpoint and settings;
    nobody else may be writing them.

    Rows of earlier runs stay, after these, as long as their results are there.  Columns ``driving_<label>`` and
    ``source_<label>`` are the clips' rows of ``clips.csv``, empty without one; ``reference`` is the setting, or the
    pair's own where that is null.
    """
    rows, table = [], []
    for result in results:
        files = {"video": result.video.name, "lossless": str(result.lossless.relative_to(out))}
        rows.append({**asdict(result.pair), **files})
        row = dict(rows[-1])
        for role in ("driving", "source"):
            record = clip_record(clips.open(getattr(result.pair, role)))
            row |= {f"{role}_{name}": getattr(record, name, None) for name in LABELS}
        own = {"reference": result.pair.reference} if settings["reference"] is None else {}
        table.append({**row, **settings, **own})
    listing, sheet = out / "results.json", out / "results.csv"
    for path in (listing, sheet):
        clear_leftovers(path)
    if listing.is_file():
        rows += _earlier(json.loads(listing.read_text(encoding="utf-8")), rows, out)
    if sheet.is_file():
        with open_table(sheet, DataError) as earlier:
            table += _earlier(earlier, table, out)
    with atomic_path(listing) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    columns = dict.fromkeys(name for row in table for name in row) or ["driving", "source"]
    with atomic_path(sheet) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in table)


def _earlier(rows: Iterable[dict], now: list[dict], out: Path) -> list[dict]:
    """Those of ``rows`` whose results are there, and are none of ``now``."""
    made = {row["video"] for row in now}
    return [row for row in rows if row.get("video") and row["video"] not in made and (out / row["video"]).exists()]


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


if __name__ == "__main__":
    raise SystemExit("animate.py is no command: python run.py --mode animate (see python run.py --help)")
