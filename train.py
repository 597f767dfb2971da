"""The training engine behind ``run.py --mode train`` (and ``train_avd``): one loop for all model families.

What one step is stands in ``training/trainer.py``, the learning rates in ``training/schedule.py``.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("train.py is no command: python run.py --mode train (see python run.py --help)")

import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from checkpoint import CheckpointError, thin_checkpoint, write_checkpoint
from evaluation.validation import BestCheckpoint, Validation, Validator
from logger import CHECKPOINT_SUFFIX, Logger, checkpoint_path, checkpoints, last_checkpoint
from parallel.distributed import ALONE, Team, lost_another
from parallel.stopping import StopRequest
from training.forecast import Forecast
from training.trainer import Trainer, to_device

COLLAPSED = 0.98  # mean background share above which the motion masks count as collapsed
INTERRUPTED = f"interrupted{CHECKPOINT_SUFFIX}"


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step, why, and what is left to start from."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; carries where the resumable checkpoint is."""


class Run:
    """A :class:`Trainer` with its folder: log, checkpoints, progress bar, warnings; and its validator, if any.

    In a team rank 0 alone has them; the others train with it, and stop when it stops.
    """

    def __init__(self, trainer: Trainer, folder: Path, request: StopRequest, validator: Validator | None = None):
        self.trainer, self.folder, self.validator, self.team = trainer, folder, validator, trainer.team
        self.request = request
        if validator:
            self.best = BestCheckpoint(folder, trainer.params["validate_figure"], trainer.mode)
        visualizer_params = trainer.config["visualizer_params"]
        self.logger = Logger(folder, visualizer_params, trainer.step, trainer.epoch) if self.team.first else None
        self.pending: list[tuple[int, dict[str, Tensor]]] = []  # values still on the device
        self.warned = False
        total, change = trainer.steps * trainer.params["num_epochs"], trainer.params.get("appearance_steps") or 0
        say = tqdm.write if self.team.first else (lambda text: None)
        self.forecast = Forecast(trainer.step, total, change, trainer.device.type == "cpu", say)
        self.saved: Path | None = None

    def loop(self) -> Path:
        """Train to the last epoch; returns the last checkpoint."""
        trainer, params = self.trainer, self.trainer.params
        while trainer.epoch < params["num_epochs"]:
            self._stop_if_asked()
            batch, generated = self._epoch()
            epoch, found = trainer.epoch, None
            if self.team.first and "prediction" in generated:  # those of the epoch's last step are not made again
                self.logger.log_pictures(epoch, batch, generated)
            if params["validate_every"] and self._validation_is_due():
                found = self._validate() if self.validator else None
                self._stop_if_asked()
            means = trainer.end_epoch() | (found.means if found else {})
            if not self.team.first:
                continue
            tqdm.write(self.logger.log_epoch(epoch, means))
            self._check_masks(means)
            if found:
                self._keep_best(epoch, found)
            if trainer.epoch % params["checkpoint_freq"] == 0 or trainer.epoch == params["num_epochs"]:
                self.saved = checkpoint_path(self.folder, epoch)
                write_checkpoint(self.saved, trainer.state())
                thin_older(self.folder, epoch)
                (self.folder / INTERRUPTED).unlink(missing_ok=True)
        return self.saved or last_checkpoint(self.folder)

    def close(self) -> None:
        """Finish the log."""
        if self.logger:
            self.logger.close()

    def _validation_is_due(self) -> bool:
        done, params = self.trainer.epoch + 1, self.trainer.params
        return done % params["validate_every"] == 0 or done == params["num_epochs"]

    def _validate(self) -> Validation:
        """Score the held-out pairs at the end of an epoch.  A run stopped here goes on with scoring them."""
        trainer = self.trainer
        try:
            found = self.validator(trainer.networks)
        except Exception as error:  # the epoch's training is good: keep it, whatever went wrong
            path = self.folder / INTERRUPTED
            write_checkpoint(path, trainer.state())
            raise TrainingError(
                f"validation after step {trainer.step} failed: {error}. Lower animate_params.batch_size if memory ran "
                f"out, or set train_params.validate_every to null; then go on with --checkpoint '{path}'"
            ) from error
        return found

    def _keep_best(self, epoch: int, found: Validation) -> None:
        best = self.best.offer(found, self.trainer.state)
        self.logger.log_validation(self.trainer.step - 1, epoch, found.means, found.pairs, found.failed, best)
        if best:
            tqdm.write(f"best so far, {self.best.figure} {self.best.value:.4f}: {self.best.path}")

    def _epoch(self) -> tuple[dict, dict]:
        trainer = self.trainer
        trainer.begin_epoch()
        parts: list[dict] = []
        generated: dict = {}
        description = f"epoch {trainer.epoch}"
        with tqdm(
            total=trainer.steps, initial=trainer.epoch_step, desc=description, leave=False, disable=not self.team.first
        ) as bar:
            for batch in trainer.loader:
                if len(parts) == trainer.parts:
                    parts = []
                parts.append(to_device(batch, trainer.device))
                if len(parts) < trainer.parts:
                    continue
                if self.team.size == 1 and self.request:
                    self._flush()
                    self._interrupt()
                values, generated = self._step(parts)
                self.pending.append((trainer.step - 1, values))
                self.forecast.made(trainer.step - 1)
                bar.update()
                if self._flush_is_due():
                    shown, stop = self._flush()
                    bar.set_postfix({n: f"{v:.3g}" for n, v in shown.items()}, refresh=False)
                    if stop and trainer.epoch_step < trainer.steps:  # else at the end of the epoch, in a moment
                        self._interrupt()
        return parts[-1] if parts else {}, generated

    def _flush_is_due(self) -> bool:
        """A GPU is not waited for in every step.  All processes of a team come to the same answer."""
        trainer = self.trainer
        due = trainer.device.type == "cpu" or len(self.pending) >= 20 or trainer.epoch_step == trainer.steps
        return due or (self.team.size == 1 and bool(self.request))

    def _step(self, parts: list[dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        try:
            return self.trainer.train_step(*parts)
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"{out_of_memory(self.trainer)} {self._left()}") from error

    def _flush(self) -> tuple[dict[str, float], bool]:
        """Bring the waiting values, means over the team, to the host, check and log them.

        Returns:
            the last ones, and whether any process was asked to stop.
        """
        values: dict[str, float] = {}
        rows = [torch.stack([t.float() for t in tensors.values()]) for _, tensors in self.pending]
        stop = self.team.any(bool(self.request))
        for (step, tensors), row in zip(self.pending, rows, strict=True):
            values = dict(zip(tensors, self.team.mean(row).tolist(), strict=True))
            bad = {name: value for name, value in values.items() if not math.isfinite(value)}
            if bad:
                raise TrainingError(f"step {step}: {_listed(bad)} is not finite (of {_listed(values)}). {self._left()}")
            self.trainer.add(values)
            if self.logger and step % self.trainer.params["log_every"] == 0:
                self.logger.log_step(step, self.trainer.epoch, values)
        self.pending.clear()
        return values, stop

    def _left(self) -> str:
        path = self.saved or last_checkpoint(self.folder)
        return f"Last good checkpoint: {path}" if path else "No checkpoint was written yet."

    def _stop_if_asked(self) -> None:
        if self.team.any(bool(self.request)):
            self._interrupt()

    def _interrupt(self) -> None:
        path, trainer = self.folder / INTERRUPTED, self.trainer
        if self.saved == checkpoint_path(self.folder, trainer.epoch - 1) and trainer.epoch_step == 0:
            path = self.saved  # it was written a moment ago
        elif self.team.first:
            write_checkpoint(path, trainer.state())
        self.team.any(True)  # the launcher ends all once one has ended: not before the checkpoint is whole
        name = self.request.signal.name if self.request else "another process was asked to stop"
        raise Interrupted(
            f"{name}: stopped after step {trainer.step}. Go on with the same command and --checkpoint '{path}'"
        )

    def _check_masks(self, means: dict[str, float]) -> None:
        share = means.get("background_share", 0.0)
        if share > COLLAPSED and not self.warned:
            self.warned = True
            tqdm.write(
                f"warning: the background holds {share:.4f} of the motion masks: they have collapsed and nothing will "
                "move. Larger movements at first, loss_weights.deformed, and dense_motion_params.background_bias: -2 "
                "with train_params.appearance_steps keep them alive (config/base.yaml explains them).",
                file=sys.stderr,
            )


def thin_older(folder: Path, epoch: int) -> None:
    """Of the checkpoints in a run folder the one of ``epoch`` and the one before it keep all that a resumed run needs;
    the one before these keeps the networks.
    """
    before = [path for path in checkpoints(folder) if path < checkpoint_path(folder, epoch)]
    if len(before) > 1:
        thin_checkpoint(before[-2])


def out_of_memory(trainer: Trainer) -> str:
    """What to do when the device's memory does not suffice: the largest share of a batch that fits, by doubling."""
    params, team = trainer.params, trainer.team
    size, parts = params["batch_size"], trainer.parts
    share = size // (parts * team.size)
    message = f"out of memory on {trainer.device} with batch_size {size}"
    if parts * team.size > 1:
        message += f" ({share} at a time on each of {team.size} processes)"
    more = next((p for p in range(parts + 1, size + 1) if size % (p * team.size) == 0), None)
    if more is None:
        return f"{message}: set train_params.precision to bf16, or dataset_params.frame_shape to a smaller size."
    return (
        f"{message}: set train_params.accumulate_steps to {more}, which gives the same losses with "
        f"{size // (more * team.size)} at a time; or train_params.batch_size to {max(1, size // 2)}, or "
        "train_params.precision to bf16."
    )


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def train(
    config: dict,
    folder: str | Path,
    device: torch.device,
    mode: str = "train",
    checkpoint: str | Path | None = None,
    init_from: str | Path | None = None,
    ready: Callable[[], None] = lambda: None,
    team: Team = ALONE,
    request: StopRequest | None = None,
) -> Path:
    """Train a model.

    Args:
        config: checked settings (:func:`settings.load_config`).
        folder: the run folder; made if absent.
        device: where to train.
        mode: ``train``, or another training mode of the family.
        checkpoint: continue from it, after its last complete step.
        init_from: start from what fits of another model's checkpoint; excludes ``checkpoint``.
        ready: called once data, networks and checkpoint are found good, before anything is written.
        team: the processes that train together (:mod:`parallel.distributed`); ``folder``, ``ready`` and what is written
            and said are rank 0's.
        request: may have been made already: the run then begins, writes its checkpoint, and stops.

    Returns:
        the last checkpoint.

    Raises:
        TrainingError: a loss that is not finite, or memory that does not suffice.
        Interrupted: on Ctrl-C and SIGTERM, after a resumable checkpoint was written.
    """
    if checkpoint and init_from:
        raise CheckpointError("--checkpoint goes on with a run, --init-from starts another one: give one of them")
    request = StopRequest() if request is None else request
    trainer = Trainer(config, mode, device, team)
    begin(trainer, checkpoint, init_from)
    validator = None
    if trainer.params["validate_every"] and team.first and not request:
        validator = Validator(config, mode, device, stop=lambda: bool(request))
    if team.first:
        ready()
    run = Run(trainer, team.share(Path(folder)), request, validator)
    try:
        with request.on(signal.SIGINT, signal.SIGTERM):
            return run.loop()
    except RuntimeError as error:
        if isinstance(error, TrainingError) or not lost_another(error):
            raise
        raise TrainingError(
            f"process {team.rank} of {team.size} lost another one, whose own error says why ({error}). {run._left()}"
        ) from error
    finally:
        run.close()


def begin(trainer: Trainer, checkpoint: str | Path | None, init_from: str | Path | None) -> None:
    """Load what the run starts from, and say what it is."""
    say = tqdm.write if trainer.team.first else (lambda text: None)
    if trainer.fresh and not (checkpoint or init_from):
        raise CheckpointError(
            f"--mode {trainer.mode} trains upon a model that --mode train has made: give its checkpoint with "
            "--checkpoint"
        )
    if checkpoint:
        trainer.load(checkpoint)
        say(f"going on from {checkpoint}: epoch {trainer.epoch}, step {trainer.step}")
        if trainer.epoch >= trainer.params["num_epochs"]:
            raise CheckpointError(f"{checkpoint} has all {trainer.params['num_epochs']} epochs: raise num_epochs")
    if init_from:
        taken, left = trainer.warm_start(init_from)
        say(f"from {init_from}: took {len(taken)} entries" + (", left:" if left else ""))
        for name in left:
            say(f"  {name}")
