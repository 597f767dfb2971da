"""Held-out pairs, animated and scored during training: ``train_params.validate_every``.

Training losses do not say whether a face moves as the driving face does, and often fall while it moves less; so the
checkpoint to keep is chosen by the motion figures of pairs that were not trained on.  They are those of ``run.py --mode
evaluate`` (`metrics.motion`) for the same clips at the data set's size.  Nothing here changes the training: a run with
validation has the losses of one without.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from animation.clip_animator import CONTROLS, ClipAnimator
from animation.pairs import Pair, find_pairs
from checkpoint import LoadedModel, read_checkpoint, without_optimizers, write_checkpoint
from evaluation.clip_scorer import find_landmarks, landmark_model
from frames_dataset import ClipFolder, DataError
from logger import CHECKPOINT_SUFFIX
from metrics.canonical import MetricError
from metrics.motion import MIN_SNR, ClipMotion, compare_motion, measure_motion
from metrics.timing import distinct_frames, evenly_spaced
from modules import get_family
from settings.devices import settle_precision

FIGURES = ("skill", "rho", "vcor", "gain")
PREFIX = "val_"  # of the figures in logs and curves
UNTRAINED = {"mraa": ("train", "avd", "relative")}  # family: in this mode, not yet possible, animated in its place


@dataclass(frozen=True)
class Validation:
    """The held-out figures of one state of the networks.

    Attributes:
        means: ``val_skill`` … over the pairs that could be scored; ``val_failed``, their number, where some could not.
        pairs: pair → its figures.
        failed: pair → what is wrong with its result.
    """

    means: dict[str, float]
    pairs: dict[str, dict[str, float]]
    failed: dict[str, str]


class Validator:
    """Animates and scores held-out pairs; everything about the driving clips is measured once.

    Args:
        config: checked settings; pairs are those ``--mode animate`` would make, ``validate_pairs`` of them.
        mode: the training mode.
        device: where the networks are.
        stop: asked before each pair and frame; once it says so, the rest is left out.

    Raises:
        DataError: no pair can be scored, such as clips without a face or movement (each is said).
        faces.DetectorUnavailable: dlib or its landmark model is missing.
    """

    def __init__(self, config: dict, mode: str, device: torch.device, stop: Callable[[], bool] = lambda: False):
        self.family = get_family(config)
        self.config = settle_precision(_animatable(config, mode), "animate_params", device)
        self.device, self.stop = device, stop
        self.clips = ClipFolder(config["dataset_params"], "test", self.family.uses_prior, self.family.uses_tracks)
        landmark_model()  # a missing one is reported now
        self.driving: dict[str, ClipMotion | str] = {}  # what was measured, or what is wrong with the clip
        limit = config[self.family.training_sections[mode]]["validate_pairs"]
        pairs = evenly(find_pairs(config, self.clips), limit)
        self.clips.check_keypoints(dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source)))
        problems = {pair: self._problem(pair) for pair in itertools.takewhile(lambda pair: not stop(), pairs)}
        self.pairs = [pair for pair, problem in problems.items() if not problem]
        left_out = [f"{pair.name}: {problem}" for pair, problem in problems.items() if problem]
        if not self.pairs and not stop():
            raise DataError(
                "train_params.validate_every: none of the held-out pairs can be scored. Give others in "
                "dataset_params.pairs_list, or set it to null:\n  " + "\n  ".join(left_out)
            )
        for line in left_out:
            tqdm.write(f"left out of validation: {line}")

    def _problem(self, pair: Pair) -> str:
        """Why a pair cannot be scored, whatever the networks make of it; "" if it can."""
        if pair.reference:
            return f"reference frame {pair.reference}, but motion is measured from frame 0"
        if pair.driving not in self.driving:
            try:
                self.driving[pair.driving] = self._measure(pair.driving)
            except ValueError as error:
                self.driving[pair.driving] = f"driving clip: {error}"
        found = self.driving[pair.driving]
        return found if isinstance(found, str) else ""

    def _measure(self, name: str) -> ClipMotion:
        frames = np.stack([self.clips.fit(frame) for frame in self.clips.open(name)])
        distinct = distinct_frames(frames)
        if len(distinct) < 2:
            raise MetricError("it holds one (distinct) frame: there is no motion to reproduce")
        motion = measure_motion(frames[distinct], find_landmarks(frames[0]), distinct)
        own = compare_motion(motion, motion)
        if not own.reliable:
            raise MetricError(f"it moves only {own.figures['snr']:.1f} times the noise ({MIN_SNR:g} needed)")
        return motion

    def __call__(self, networks: dict[str, nn.Module]) -> Validation:
        """Figures of the networks as they are; leaves them, and the random state, as they were."""
        own = {name: networks[name] for name in self.family.inference_networks if name in networks}
        batch_size = self.config["animate_params"]["batch_size"]
        scored: dict[str, dict[str, float]] = {}
        failed: dict[str, str] = {}
        with resting(own, self.device):
            model = LoadedModel(own, self.config, self.family.name)
            animator = ClipAnimator(model, self.clips, self.device, batch_size)
            for pair in tqdm(self.pairs, desc="validate", unit="pair", leave=False):
                if self.stop():
                    break
                try:
                    scored[pair.name] = self._score(animator, pair)
                except ValueError as error:  # such as a result without a face: it says nothing about the others
                    failed[pair.name] = str(error)
        means = {}
        if scored and not self.stop():
            means = {f"{PREFIX}{name}": float(np.mean([row[name] for row in scored.values()])) for name in FIGURES}
        if failed:
            means[f"{PREFIX}failed"] = float(len(failed))
            name, problem = next(iter(failed.items()))
            tqdm.write(
                f"validation: {len(failed)} of {len(self.pairs)} results could not be scored, so this epoch is no "
                f"candidate for the best checkpoint. {name}: {problem}"
            )
        return Validation(means, scored, failed)

    def _score(self, animator: ClipAnimator, pair: Pair) -> dict[str, float]:
        """Its figures; none where the run is to stop."""
        driving = self.driving[pair.driving]
        wanted = set(driving.times.astype(int).tolist())
        made = enumerate(itertools.takewhile(lambda frame: not self.stop(), animator.take(pair)))
        frames = [frame for index, frame in made if index in wanted]
        if self.stop():
            return {}
        motion = measure_motion(np.stack(frames), find_landmarks(frames[0]), driving.times)
        found = compare_motion(driving, motion).figures
        return {name: found[name] for name in FIGURES}


def evenly(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """At most ``limit`` of ``pairs``, evenly taken: lists have the pairs of one driving clip side by side."""
    return [pairs[index] for index in evenly_spaced(len(pairs), limit)]


def _animatable(config: dict, mode: str) -> dict:
    """``config`` with an animation mode whose networks this training mode trains, and movements as they are driven."""
    training, impossible, instead = UNTRAINED.get(config["model"], ("", "", ""))
    params = {**config["animate_params"], **CONTROLS}
    if params != config["animate_params"]:
        config = {**config, "animate_params": params}
    if mode != training or params.get("mode", impossible) != impossible:
        return config
    tqdm.write(f"validation animates in mode {instead}: {impossible} needs a network that --mode {mode} does not train")
    return {**config, "animate_params": {**params, "mode": instead}}


@contextlib.contextmanager
def resting(networks: dict[str, nn.Module], device: torch.device) -> Iterator[None]:
    """Networks in eval mode, then each layer in the mode it had, and the random state as it was."""
    modes = {module: module.training for network in networks.values() for module in network.modules()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for network in networks.values():
                network.eval()
            yield
    finally:
        for module, training in modes.items():
            module.training = training


class BestCheckpoint:
    """The checkpoint of the epoch with the highest mean of one figure; the file itself remembers how good it is.

    Args:
        folder: the run folder; what an earlier part of the run kept there has to be beaten.
        figure: one of ``skill``, ``rho``, ``vcor``.
        mode: the training mode; each keeps its own file.
    """

    def __init__(self, folder: Path, figure: str, mode: str):
        self.figure = f"{PREFIX}{figure}"
        self.path = folder / f"{'best' if mode == 'train' else f'best_{mode}'}{CHECKPOINT_SUFFIX}"
        self.value = -np.inf
        if self.path.is_file():
            self.value = read_checkpoint(self.path).get("validation", {}).get(self.figure, -np.inf)

    def offer(self, found: Validation, state: Callable[[], dict]) -> bool:
        """Keep ``state()`` if its figure is higher than any before and every pair could be scored."""
        value = found.means.get(self.figure, -np.inf)
        if found.failed or not value > self.value:
            return False
        write_checkpoint(self.path, without_optimizers(state()) | {"validation": found.means})
        self.value = value
        return True
