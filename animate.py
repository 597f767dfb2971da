"""The animation engine behind ``run.py --mode animate``: (driving, source) pairs → clips.

How one pair is animated stands in ``animation/clip_animator.py``; where its result lies, in ``animation/results.py``.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("animate.py is no command: python run.py --mode animate (see python run.py --help)")

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from animation import SAMPLE_MODEL, results
from animation.cast import Cast, check_room, data_set, face_crop
from animation.clip_animator import CONTROLS, STILL, ClipAnimator, Take, driving_rate
from animation.contact_sheet import ContactSheet
from animation.face_clips import FaceClips
from animation.made_from import FOLDER as MADE_FROM
from animation.made_from import MadeFrom
from animation.moving_face import MovingFace
from animation.pairs import Pair
from animation.retiming import RetimingError
from checkpoint import LoadedModel, load_for_inference
from faces import make_detector
from faces.crop import Crop
from faces.detector import Detector
from faces.photo import FaceCutter
from frames_dataset import DataError
from media import ArrayClip, Clip, MediaError, clear_leftovers, gif_slowdown, open_output_folder
from media.threads import WriteBehind
from modules import get_family
from modules.animator import normalize_kp  # noqa: F401 - users look for it here
from parallel.work_sharing import Claims
from parallel.workers import global_rank, global_size
from scores.driving import check_family, driving_face
from scores.performance import Performance
from scores.playing import PlayedFace
from settings.devices import choose_device


class AnimatedFace(MovingFace):
    """What :func:`animate_face` gives: iterate over it for the frames, or take all of them at once.

    Attributes:
        notes: what a person should know about the two faces and the clip, a line each.
        moved: largest displacement of a key point in the driving clip, head motion removed, pixels at 256×256.
        motion: of a score, its dense motion on the face (`scores.truth.truth_of`); None of a clip.
    """

    notes: tuple[str, ...] = ()
    moved: float = math.nan
    motion: PlayedFace | None = None

    @functools.cached_property
    def frames(self) -> np.ndarray:
        """The moving face, in its photo unless ``paste`` was False: uint8 (T, H, W, 3)."""
        return np.stack(list(self))

    @functools.cached_property
    def figures(self) -> dict[str, dict[str, float]]:
        """The motion figures of the result against the driving clip (:mod:`metrics.motion`), and those of the
        yardsticks beside it: ``result``, ``still``, ``warp`` → figure → value.

        Raises:
            metrics.canonical.MetricError: they cannot be measured, as in a clip that does not move.
        """
        from evaluate import score_beside

        if not self.crops:
            self.frames  # noqa: B018 - makes the crops
        shown = self.driving.frames if self.take.positions is None else self.driving.frames[self.shown_driving_frames]
        return score_beside(shown, np.stack(self.crops))


def load_controlled(
    checkpoint: str | Path, device: torch.device, config: dict | None = None, **controls: object
) -> LoadedModel:
    """A checkpoint's networks, with controls of the movement in their settings.

    Args:
        config: settings of a published checkpoint; ours carry their own.
        controls: keys of ``animate_params`` (`docs/controls.md`): ``amplify``, ``regions``, ``retime``, ``output_fps``,
            ``fps``, ``reference``, ``colour``, ``head``.

    Raises:
        ValueError: no such control, or one that the model does not have.
    """
    legal = (*CONTROLS, "fps", "head")
    if unknown := [name for name in controls if name not in legal]:
        raise ValueError(f"{unknown[0]!r} is no control of the movement; legal: {', '.join(legal)}")
    model = load_for_inference(checkpoint, config, device, single_use=True)
    if (head := controls.get("head")) and head not in get_family(model.config).animation_keys.get("head", ()):
        raise ValueError(f"head: {head} belongs to model: fpb_tracked; this checkpoint is of model: {model.family}")
    params = {"batch_size": 4, "format": ".mp4", **(model.config.get("animate_params") or {})}
    given = {name: value for name, value in controls.items() if name != "head" or value is not None}
    model.config["animate_params"] = {**params, **CONTROLS, "reference": "onset", "fps": None, **given}
    return model


def animate_face(
    source: str | Path | np.ndarray,
    driving: str | Path | np.ndarray | Performance,
    model: str | Path | LoadedModel = SAMPLE_MODEL,
    device: str | torch.device = "auto",
    detector: str | Detector = "dlib",
    crop: Crop | None = None,
    choices: tuple[str | int, str | int] = ("largest", "largest"),
    paste: bool = True,
    **controls: object,
) -> AnimatedFace:
    """Make a face show the movement of another one; nothing is written.

    Args:
        source: a picture (file, or uint8 (H, W, 3)); of a clip, the first frame.
        driving: a clip that starts with the neutral face (file, folder of frames, or uint8 (T, H, W, 3)), or a score
            with its frames (`scores.performance.perform`).
        model: a checkpoint, or what :func:`load_controlled` made of one; a model serves once.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or the device of a loaded model.
        detector: finds the faces: ``dlib``, ``face-alignment``, or one of :func:`faces.make_detector`.
        crop: how faces are cut; None: as the model's training data were, :func:`animation.cast.face_crop`.
        choices: which face of the picture and of the clip: ``largest``, ``left``, ``right``, or a number from the left.
        paste: put the moving face back into its photo; else the frames are its crops.
        controls: of :func:`load_controlled`, where it is called here.

    Raises:
        MediaError: nothing to read, no face, or a clip of one frame.
        ValueError: controls that cannot be used, or not with this model; a score, and a model that follows no tracks.
    """
    device = choose_device(device) if isinstance(device, str) else device
    if isinstance(model, LoadedModel) and controls:
        raise ValueError(f"{next(iter(controls))}: give the controls to load_controlled, which has made this model")
    model = model if isinstance(model, LoadedModel) else load_controlled(model, device, **controls)
    detector = make_detector(detector) if isinstance(detector, str) else detector
    crop = crop or face_crop(model.config)
    face = FaceCutter(detector, crop, only_first=True, choice=choices[0])(_opened(source, "source"))
    track = motion = None
    if isinstance(driving, Performance):
        check_family(get_family(model.config))
        driver, track, motion = driving_face(driving, face)
    else:
        driver = FaceCutter(detector, crop, only_first=False, choice=choices[1])(_opened(driving, "driving"))
    if len(driver.clip) < 2:
        raise MediaError(f"{driver.clip.path} has one frame: nothing moves in it. Give a clip")
    clips = FaceClips.of(driver, get_family(model.config).uses_tracks, track)
    animator = ClipAnimator(
        model, clips, device, model.config["animate_params"]["batch_size"], sources=FaceClips.of(face)
    )
    take = animator.take(Pair(driver.clip.name, face.clip.name))
    moving = AnimatedFace(take, face, driver.clip, clips.fit, paste)
    roles = {"source": face, "driving": driver}
    moving.notes = tuple(f"{role} {found.clip.path}: {note}" for role, found in roles.items() for note in found.notes)
    moving.moved, moving.motion = clips.largest_movement(driver.clip.name), motion
    if motion and motion.notice:
        moving.notes += (motion.notice,)
    return moving


def _opened(clip: str | Path | np.ndarray, name: str) -> Path | Clip:
    """A path as it is, frames in memory as a clip of that name."""
    if isinstance(clip, np.ndarray):
        return ArrayClip(Path(name), np.ascontiguousarray(clip if clip.ndim == 4 else clip[None]))
    return Path(clip)


class Animation:
    """The pairs of one call of :func:`animate`, some of which other processes make.

    Raises:
        DataError: clips without labels for a labelled set, or a folder that holds results of other settings.
        OutputError: a folder that is an input, or holds what this program did not write.
    """

    def __init__(self, animator: ClipAnimator, cast: Cast, params: dict, settings: dict, out: Path, anew: bool):
        self.animator, self.cast, self.pairs = animator, cast, cast.pairs
        self.params, self.settings, self.out, self.overwrite = params, settings, out, anew
        self.dataset = results.labelled_set(params, cast)
        open_output_folder(out, "--out", "results of an animation", cast.inputs)
        if self.dataset:  # takes in results of many data sets
            open_output_folder(self.dataset.root, "animate_params.dataset_out", "a generated data set", cast.inputs)
            results.check_settings(self.dataset.root, {k: v for k, v in settings.items() if k != "root_dir"}, anew)
        results.check_settings(out, settings, anew)
        self.claims = Claims(self.out)
        self.folders = [out] if self.dataset is None else [out, self.dataset.root]
        self.made_from = [MadeFrom(out, cast.clips, cast.sources, lambda pair: results.files_of(*self._paths(pair)))]
        if self.dataset:
            self.made_from.append(MadeFrom(self.dataset.root, cast.clips, cast.sources, self._labelled))
        self.sheet = ContactSheet(out, cast) if cast.of_photos else None
        self.made: set[Pair] = set()
        self.failures: dict[Pair, str] = {}
        self.say_rate = functools.cache(lambda name: driving_rate(cast.clips.open(name), params.get("fps")))

    def run(self) -> None:
        """Make what is missing, and what was made from other clips or key points than there are now."""
        self._clear()
        if unknown := sum(results.finished(*self._paths(p)) and not self.made_from[0].knows(p) for p in self.pairs):
            tqdm.write(f"{unknown} results in {self.out} do not say what they were made from, and are made anew")
        with WriteBehind(self.animator.overlap) as behind:
            for pair, claim in tqdm(self._mine(), desc="animate", unit="pair", total=len(self.pairs)):
                with self._failing_alone(pair):
                    for made_from in self.made_from:
                        made_from.check(pair, self.overwrite)
                    records = [made_from.now(pair) for made_from in self.made_from]
                    self.say_rate(pair.driving)
                    take = self.animator.take(pair)
                    if slowdown := gif_slowdown(self.params["format"], take.fps / self.cast.slow):
                        tqdm.write(f"{pair.name}: {slowdown}")
                    frames = self.sheet.watch(take) if self.sheet else take
                    behind(functools.partial(self._write, pair, take, records, claim.pop_all()), frames)

    def _mine(self) -> Iterator[tuple[Pair, contextlib.ExitStack]]:
        """The pairs for this process, each with its claim."""
        if not self.overwrite:
            yield from self.claims.share(self.pairs, lambda pair: pair.name, self._done)
            return
        # What is there says nothing: each process of a team makes its share anew.
        single = list(dict.fromkeys(self.pairs))  # two writers must not meet in one result
        for pair in single[global_rank() :: global_size()]:
            with contextlib.ExitStack() as claim:
                claim.enter_context(self.claims.exclusive(pair.name))
                yield pair, claim

    def _paths(self, pair: Pair) -> tuple[Path, Path]:
        return results.result_paths(self.out, pair.name, self.params["format"])

    def _labelled(self, pair: Pair) -> list[Path]:
        folder = self.dataset.folder(pair.name)
        return results.files_of(folder, folder)

    def _done(self, pair: Pair) -> bool:
        there = results.finished(*self._paths(pair)) and (self.dataset is None or self.dataset.holds(pair.name))
        there = there and (self.sheet is None or self.sheet.holds(pair))
        return there and all(made_from.is_current(pair) for made_from in self.made_from)

    def _clear(self) -> None:
        """Remove what killed processes have left behind."""
        for folder in self.folders:
            clear_leftovers(folder, folder / "png", folder / "train", folder / MADE_FROM)
            Claims(folder).tidy()

    @contextlib.contextmanager
    def _failing_alone(self, pair: Pair) -> Iterator[None]:
        try:
            yield
        except (DataError, MediaError, RetimingError) as error:
            self.failures[pair] = f"{pair.name}: {error}"
            tqdm.write(f"failed: {self.failures[pair]}")

    def _write(
        self, pair: Pair, take: Take, records: list[dict], claim: contextlib.ExitStack, frames: Iterator
    ) -> None:
        with claim, self._failing_alone(pair):
            folder = self.dataset.folder(pair.name) if self.dataset else None
            for made_from in self.made_from:
                made_from.forget(pair)
            results.write_result(frames, *self._paths(pair), take.fps / self.cast.slow, folder)
            for labelled in filter(None, (self.dataset, self.sheet and self.sheet.labelled)):
                if record := results.take_record(take, self.cast, self.params):
                    with Claims(labelled.root).exclusive("clips.csv"):  # also from those who write to another ``out``
                        labelled.add(record)
            for made_from, record in zip(self.made_from, records, strict=True):
                made_from.write(pair, record)
            if take.largest is not None and take.largest < STILL and self.params.get("amplify") != 0:
                tqdm.write(
                    f"{pair.name}: hardly moves (at most {take.largest:.2f} pixels): the driving clip is still, or the "
                    "model does not carry its movement"
                )
            self.made.add(pair)
            if self.sheet:
                self.sheet.write()

    def finish(self) -> list[results.Result]:
        """All results that are there, by whomever, entered in the manifest; says how many."""
        there = [p for p in self.pairs if p not in self.failures and self._done(p)]  # an earlier one keeps its row
        found = [results.Result(pair, *self._paths(pair), made=pair in self.made) for pair in there]
        with self.claims.exclusive("results"):  # what others have listed is kept
            results.write_manifest(self.out, found, self.cast, self.settings)
        made, failed = len(self.made), len(self.failures)
        tqdm.write(f"{made} made, {len(found) - made} were there already, {failed} failed: {self.out}")
        if self.sheet:
            self.sheet.write()
        self._clear()
        return found


def animate(
    model: LoadedModel,
    checkpoint: str | Path,
    out: str | Path,
    device: torch.device,
    overwrite: bool = False,
    cast: Cast | None = None,
    overlap: bool | None = None,
) -> list[results.Result]:
    """Animate all pairs of the config, or of a cast.

    Args:
        model: networks, and settings with ``dataset_params`` and ``animate_params``.
        checkpoint: where the networks come from; its hash goes into ``settings.json``.
        out: results go to ``<out>/<driving>-<source>.mp4``, their lossless frames to ``<out>/png/<driving>-<source>/``;
            of photos, ``contact_sheet.html`` shows all of them at their apices.
        device: where to compute.
        overwrite: make finished results again.
        cast: in place of the config's data set and pairs.
        overlap: read and write in background threads; None: where it pays.

    Raises:
        DataError: two pairs whose results would have one name, clips without key points, or a folder that holds
            results of other settings.
        OutputError: ``out`` is an input, or holds what this program did not write.
        torch.OutOfMemoryError: the device's memory does not suffice; the message says which batch size to try.
        DataError, MediaError: data that do not fit; every other pair is still made, then the failed ones are listed.
        RetimingError: a timing that is none.
        KeyboardInterrupt: what is made by then is listed, and says how to go on.
    """
    config, params, out = model.config, model.config["animate_params"], Path(out)
    cast = data_set(config, out=out) if cast is None else cast
    cast.inputs = {**cast.inputs, "--checkpoint": checkpoint}
    results.check_names(cast.pairs)
    check_room(cast, out)
    settings = {
        **results.common_settings(model, checkpoint, params["format"]),
        **{name: params.get(name) for name in ("mode", "normalization_params", "fps", "head")},
        **results.control_settings(params),
        **cast.settings,
    }
    animator = ClipAnimator(model, cast.clips, device, params["batch_size"], overlap=overlap, sources=cast.sources)
    job = Animation(animator, cast, params, settings, out, overwrite)
    try:
        job.run()
    except KeyboardInterrupt as stop:
        found = job.finish()
        raise KeyboardInterrupt(f"interrupted: {len(found)} of {len(cast.pairs)} results are there; the same command "
                                "goes on with the others") from stop  # fmt: skip
    found = job.finish()
    errors = []
    if failed := [job.failures[pair] for pair in job.pairs if pair in job.failures]:
        errors.append(results.some_failed(failed, len(job.pairs), "pairs failed"))
    if left_out := cast.reasons():
        errors.append(results.some_failed(left_out, len(left_out) + cast.size, "photos and clips were left out"))
    if errors:
        raise DataError("; ".join(errors))
    return found
