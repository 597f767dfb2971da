"""One pair while it is animated: driving frames stream through the networks in batches.

The source's features and the region map are computed once a pair, and of every frame the movement alone is kept (its
key points and field, some 30 kB), so the length of a clip costs little memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from animation.face_clips import FaceClips
from animation.pairs import Pair
from animation.retiming import Marks, Retiming, RetimingError
from checkpoint import LoadedModel
from corpora import clip_record
from faces.expression import nearest_expression
from faces.tracking import track_keypoints
from frames_dataset import ClipFolder, DataError, clip_rate, known_rate, to_frames, to_tensor
from media import Clip
from media.threads import read_ahead, threads_pay
from modules import get_family
from modules.animator import KeyPoints, movement
from modules.colour import chrominance, combine, luminance, to_grey
from modules.coords import resize_grid, warp
from modules.track import Track

CONTROLS = {  # of the movement
    "amplify": 1, "regions": None, "retime": None, "output_fps": None, "reference": None, "colour": "model",
}  # fmt: skip
Clips = ClipFolder | FaceClips  # by name: of a data set, or cut to their faces as they are needed
STILL = 0.1  # pixels: a result that moves less than this everywhere is called still


def batches(clip: Clip, folder: Clips, size: int) -> Iterator[np.ndarray]:
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
        self._seen: list[KeyPoints] = []  # the movement of the frames given out
        self._index = 0  # of the frame given out last, in its batch
        self._grids: Tensor | None = None  # of that batch
        self._first: Tensor | None = None
        self._moved: list[Tensor] = []  # (T, 2) mean and largest displacement, on the device, which is not waited for

    def __iter__(self) -> Iterator[np.ndarray]:
        with contextlib.closing(self._motions), self._animator.advising_on_memory():
            for motion in self._motions:
                self._seen.append(motion)
                for frame in self._render(motion, watched=True):
                    self.count += 1
                    yield frame

    @property
    def is_magnifiable(self) -> bool:
        """Whether the movement is one since the onset, and can be made stronger."""
        return self._animator.animator.is_relative

    def magnified(self, times: float, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames that were given out (all), moving ``times`` as strongly; as long as no other take was begun.

        Only where the take :attr:`is_magnifiable`.
        """
        whole = {name: torch.cat([part[name] for part in self._seen]) for name in self._seen[0]}
        chosen = torch.arange(self.count) if indices is None else torch.as_tensor(list(indices))
        with self._animator.advising_on_memory():
            for part in chosen.split(self._animator.batch_size):
                motion = {name: values[part.to(values.device)] for name, values in whole.items()}
                yield from self._render(self._animator.animator.magnify(motion, times))

    def _render(self, motion: KeyPoints, watched: bool = False) -> Iterator[np.ndarray]:
        out = self._animator.animator.render(motion)
        self._grids = out.get("deformation", out.get("optical_flow"))
        if not torch.isfinite(out["prediction"]).all():
            raise DataError(
                f"frame {self.count} and later ones of {self.pair.name} come out as NaN or infinite: the "
                "checkpoint, the key points or the controls of the movement do not make sense"
            )
        if watched and self._grids is not None:
            self._watch(out["prediction"].shape[-2:])
        for index, frame in enumerate(to_frames(self._animator.coloured(out))):
            self._index = index
            yield frame

    def _watch(self, size: tuple[int, int]) -> None:
        if self._first is None:
            self._first = self._grids[:1]
        pixels = self._grids.new_tensor([size[1] - 1, size[0] - 1]) / 2  # in a normalised unit, x and y
        moved = ((self._grids - self._first) * pixels).norm(dim=-1).flatten(1)
        self._moved.append(torch.stack([moved.mean(1), moved.amax(1)], dim=1))

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
        return float(torch.cat(self._moved)[:, 1].max()) if self._moved else None

    @property
    def apex(self) -> int:
        """Of the frames given out, the one that shows the driving clip's apex, as ``clips.csv`` says; else the one in
        which the face has moved most since the first frame (in the middle, where the model has no dense motion).
        """
        shown = np.arange(self.count) if self.positions is None else self.positions
        record = clip_record(self._animator.clips.open(self.pair.driving))
        if record is not None and record.apex_index is not None:
            return int(np.abs(shown - record.apex_index).argmin())
        return int(torch.cat(self._moved)[:, 0].argmax()) if self._moved else self.count // 2


class ClipAnimator:
    """Animates clips of a data set with a loaded model.

    Args:
        model: networks and settings; ``animate_params`` hold the controls.
        clips: the data.
        device: where the networks are.
        batch_size: driving frames at a time.
        reconstruction: take the driving key points as they are (source and driving are one clip), without controls.
        overlap: read driving frames in a background thread; None: where it pays.
        sources: where the sources are, if not among ``clips``.

    Raises:
        RetimingError, ValueError: controls that cannot be used, or not with this model.
    """

    def __init__(
        self,
        model: LoadedModel,
        clips: Clips,
        device: torch.device,
        batch_size: int = 4,
        reconstruction: bool = False,
        overlap: bool | None = None,
        sources: Clips | None = None,
    ):
        self.clips, self.sources = clips, clips if sources is None else sources
        self.device, self.batch_size = device, batch_size
        self.overlap = threads_pay(device) if overlap is None else overlap
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

    def _input(self, clips: Clips, name: str, index: int) -> tuple[np.ndarray, Tensor | None]:
        frame = clips.open(name).read([index])[0]
        keypoints = clips.keypoints(name, frame.shape[:2])
        return clips.fit(frame)[None], None if keypoints is None else keypoints[None].to(self.device)

    def take(self, pair: Pair) -> Take:
        """Begin with a pair; the take that was begun before ends.

        Raises:
            DataError: the reference frame is outside the clip, or the two clips differ in size.
            RetimingError: a timing that does not fit the driving clip.
        """
        driving = self.clips.open(pair.driving)
        pair = replace(pair, reference=self._reference(pair, driving))
        if pair.reference and pair.reference >= len(driving):
            raise DataError(f"frame {pair.reference} is outside {pair.driving} ({len(driving)} frames)")
        source_frame, source_points = self._input(self.sources, pair.source, 0)
        initial, driving_points = self._input(self.clips, pair.driving, pair.reference)
        if source_frame.shape != initial.shape:
            sizes = " and ".join(f"{frames.shape[2]}×{frames.shape[1]}" for frames in (source_frame, initial))
            raise DataError(
                f"the frames of {pair.source} and {pair.driving} differ in size ({sizes} pixels): "
                "set dataset_params.frame_shape"
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

    def _reference(self, pair: Pair, driving: Clip) -> int:
        """The driving frame that relative motion starts from."""
        if self.reference is None:
            return pair.reference
        if self.reference == "auto":
            target = self.sources.keypoints(pair.source, self.sources.open(pair.source).first().shape[:2])
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
    """Onset, apex and offset of a driving clip: as ``clips.csv`` says, else its first frame, the one between them that
    moves most by ``curve`` (T,), and its last frame; what was found so is said.

    An apex at the onset or the offset, which coders give where they saw none in between, is legal, and taken for none.

    Raises:
        RetimingError: onset and offset leave no frame between them.
    """
    record = clip_record(clip)
    known = {name: getattr(record, f"{name}_index", None) for name in ("onset", "apex", "offset")}
    onset = known["onset"] or 0
    offset = len(curve) - 1 if known["offset"] is None else known["offset"]
    apex = known["apex"]
    if offset - onset < 2:
        raise RetimingError(f"onset {onset} and offset {offset} leave no frame for an apex; clips.csv can say others")
    if apex in (None, onset, offset):
        said = "does not say where its apex is" if apex is None else f"has its apex at its end, frame {apex}"
        apex = onset + 1 + int(curve[onset + 1 : offset].argmax())
        tqdm.write(f"{clip.name}: clips.csv {said}; taking frame {apex}, where it moves most")
    return Marks(onset, apex, offset)


def driving_rate(clip: Clip, override: float | None) -> float:
    """The driving clip's frames a second, saying so where nobody knows them."""
    if not override and not known_rate(clip):
        tqdm.write(
            f"{clip.name}: neither clips.csv nor the file says how many frames a second it has; taking "
            f"{clip_rate(clip):g}. Set animate_params.fps (demo.py: --driving-fps) if that is wrong (CASME II, SAMM: "
            "200, SMIC-HS: 100)."
        )
    return clip_rate(clip, override)
