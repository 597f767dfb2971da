"""The training engine behind ``run.py --mode train`` (and ``train_avd``): one loop for all model families.

A run is a function of its config and seed: the order of the data, the augmentation, the random transforms, the
learning rates and the freezing of BatchNorm follow from (seed, epoch, step) alone, so a resumed run repeats an
uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from checkpoint import (
    CheckpointError,
    load_networks,
    load_vgg19,
    read_checkpoint,
    untrained_networks,
    warm_start,
    write_checkpoint,
)
from frames_dataset import DataError, EpochSampler, FramesDataset, make_loader
from logger import CHECKPOINT_SUFFIX, Logger, background_share, checkpoint_path, last_checkpoint
from modules import build_networks, get_family
from modules.family import Phase
from modules.sync_batch_norm import synchronise_batch_norms
from modules.training import prepare_for_training
from team import ALONE, Team, cores, lost_another
from validation import BestCheckpoint, Validation, Validator

COLLAPSED = 0.98  # mean background share above which the motion masks count as collapsed
ADAM_BETAS = (0.5, 0.999)
INTERRUPTED = f"interrupted{CHECKPOINT_SUFFIX}"


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step, why, and what is left to start from."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; carries where the resumable checkpoint is."""


def parse_freeze(value: int | str | None) -> tuple[float, float]:
    """``freeze_bn_after`` → (first frozen epoch, first frozen step); ``3``, ``"3 epochs"`` or ``"200 steps"``.

    Raises:
        ValueError: anything else.
    """
    if value is None:
        return math.inf, math.inf
    number, _, unit = str(value).partition(" ")
    if not number.isdigit() or unit not in ("", "epoch", "epochs", "step", "steps"):
        raise ValueError(f"train_params.freeze_bn_after is {value!r}; legal: 3, '3 epochs', '200 steps', null")
    return (math.inf, int(number)) if unit.startswith("step") else (int(number), math.inf)


def learning_rate(base: float, epoch: int, milestones: list[int]) -> float:
    """``base`` divided by 10 at each milestone reached; a pure function of the epoch."""
    return base * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def batch_norms(networks: dict[str, nn.Module], exceptions: list[str]) -> Iterator[nn.Module]:
    """All BatchNorm layers but those under a name in ``exceptions``, such as ``generator.dense_motion_network``."""
    for network_name, network in networks.items():
        for name, module in network.named_modules():
            path = f"{network_name}.{name}"
            excepted = any(path == e or path.startswith(e + ".") for e in exceptions)
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not excepted:
                yield module


def check_exceptions(networks: dict[str, nn.Module], exceptions: list[str]) -> None:
    """Refuse names in ``freeze_bn_except`` that except nothing."""
    everything = len(list(batch_norms(networks, [])))
    for name in exceptions:
        if len(list(batch_norms(networks, [name]))) == everything:
            raise DataError(
                f"train_params.freeze_bn_except: no BatchNorm layer is in {name!r}. Legal are the networks "
                f"({', '.join(networks)}) and parts of them, such as generator.dense_motion_network"
            )


def layout(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory where convolutions are fastest: channels last on processors and CUDA."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next step: fresh memory comes from the system page by page, cleared.

    For training on a processor, where every step needs the same buffers.  glibc's allocator alone can be told.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, or none that can be found
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no buffer has a mapping of its own, which would end with it
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: the heap never shrinks


def to_device(batch: dict[str, Tensor | list[str]], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a loader's batch, copied: its own memory is used again."""
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    return {name: value.to(device, non_blocking=True, copy=True) for name, value in tensors.items()}


class LossModel:
    """A phase's model; in a team its gradients are averaged over the processes.

    Args:
        model: ``forward(batch, generated) -> (losses, generated)``, see :class:`modules.family.Phase`.
        team: its parameters that require gradients now are the ones that are averaged.
    """

    class _LossesAlone(nn.Module):
        """DistributedDataParallel waits for the gradients of all that a model returns: so of the losses alone."""

        def __init__(self, model: nn.Module):
            super().__init__()
            self.model, self.generated = model, {}

        def forward(self, batch: dict, generated: dict) -> dict[str, Tensor]:
            losses, self.generated = self.model(batch, generated)
            return losses

    def __init__(self, model: nn.Module, team: Team):
        self.own = self._LossesAlone(model)
        self.wrapped = team.wrap(self.own)

    def alone(self) -> contextlib.AbstractContextManager:
        """Context in which gradients are only added up, to be averaged by the next backward pass outside it."""
        return self.wrapped.no_sync() if self.wrapped is not self.own else contextlib.nullcontext()

    def __call__(self, step: int, batch: dict, generated: dict) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if hasattr(self.own.model, "set_step"):
            self.own.model.set_step(step)
        losses = self.wrapped(batch, generated)
        made, self.own.generated = self.own.generated, {}
        return losses, _detached(made)


def _detached(tree: dict) -> dict:
    return {k: _detached(v) if isinstance(v, dict) else v.detach() for k, v in tree.items()}


class Trainer:
    """State of a run.

    Args:
        config: checked settings.
        mode: training mode of the family (``train``, ``train_avd``).
        device: where to train.
        team: the processes that train together; each works on its share of every batch.
    """

    def __init__(self, config: dict, mode: str, device: torch.device, team: Team = ALONE):
        self.config, self.mode, self.device, self.team = config, mode, device, team
        self.family = get_family(config)
        if mode not in self.family.training_sections:
            legal = ", ".join(self.family.training_sections)
            raise DataError(f"--mode {mode} is not for model: {self.family.name}, whose training modes are: {legal}")
        section = self.family.training_sections[mode]
        if section not in config:
            raise DataError(f"--mode {mode} needs the section {section} in the config")
        self.params = config[section]
        self.seed = int(self.params["seed"])
        self.freeze_epoch, self.freeze_step = parse_freeze(self.params.get("freeze_bn_after"))
        self.parts = self.params["accumulate_steps"]
        self.loader, self.sampler = self._make_loader()
        torch.manual_seed(self.seed)
        self.networks = build_networks(config)
        check_exceptions(self.networks, self.params.get("freeze_bn_except") or [])
        vgg = load_vgg19(self.params.get("vgg_weights")) if self.family.needs_vgg(config, mode) else None
        self.phases = self.family.phases(self.networks, config, vgg, mode)
        for module in (*self.networks.values(), *(phase.model for phase in self.phases)):
            module.to(device, memory_format=layout(device))
        if device.type == "cpu":
            for network in self.networks.values():
                prepare_for_training(network)
        if team.size > 1:
            for network in self.networks.values():
                synchronise_batch_norms(network)
        self.models = [self._wrap(phase) for phase in self.phases]
        self.optimizers = {
            name: self._make_optimizer(phase, name) for phase in self.phases for name in phase.optimizers
        }
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.params["precision"] == "fp16")
        self.epoch, self.step, self.epoch_step = 0, 0, 0  # next epoch; optimiser steps made; and in this epoch
        self.totals: dict[str, float] = {}  # sums of this epoch's values
        self.earlier: dict = {}  # what the training modes before this one left in the checkpoint

    def _make_loader(self) -> tuple[Iterable[dict], EpochSampler]:
        params = self.params
        data = FramesDataset(
            self.config["dataset_params"],
            self.family.uses_prior,
            params["num_repeats"],
            seed=self.seed,
            with_tracks=self.family.uses_tracks,
        )
        batch_size = params["batch_size"]
        if len(data) < batch_size:
            raise DataError(
                f"batch_size is {batch_size}, but an epoch has only {len(data)} samples ({len(data.groups)} clips × "
                f"num_repeats {params['num_repeats']}). Lower batch_size or raise num_repeats."
            )
        shares = self.parts * self.team.size
        if batch_size % shares:
            raise DataError(
                f"batch_size is {batch_size}, which cannot be cut into {shares} equal shares ({self.team.size} "
                f"processes × accumulate_steps {self.parts}): make it a multiple of {shares}"
            )
        self.steps = len(data) // batch_size  # an epoch
        workers = params["dataloader_workers"]
        if workers is None:
            workers = min(4, cores() - 1)
        sampler = EpochSampler(len(data), self.seed, shares, self.team.size, self.team.rank, batch_size)
        loader = make_loader(data, sampler, batch_size // shares, workers, pin_memory=self.device.type == "cuda")
        return loader, sampler

    def _make_optimizer(self, phase: Phase, name: str) -> torch.optim.Adam:
        network_names, rate = phase.optimizers[name]
        if rate not in self.params:
            raise DataError(f"{rate} is missing from the config's training section")
        parameters = [p for network in network_names for p in self.networks[network].parameters()]
        fused = self.device.type in ("cuda", "cpu")
        return torch.optim.Adam(parameters, lr=self.params[rate], betas=ADAM_BETAS, fused=fused)

    @staticmethod
    def _trained(*phases: Phase) -> set[str]:
        return {network for phase in phases for names, _ in phase.optimizers.values() for network in names}

    def _require_gradients(self, phase: Phase | None) -> None:
        """Of the networks that ``phase`` trains alone; of all without one."""
        for name, network in self.networks.items():
            network.requires_grad_(phase is None or name in self._trained(phase))

    def _wrap(self, phase: Phase) -> LossModel:
        self._require_gradients(phase)
        model = LossModel(phase.model, self.team)
        self._require_gradients(None)
        return model

    # ------------------------------------------------------------------------------------------ states
    def state(self) -> dict:
        """Everything a resumed run needs, with the config that rebuilds the model, and what earlier modes left."""
        data: dict = {**self.earlier, **{name: self.networks[name].state_dict() for name in self._made()}}
        data |= {f"optimizer_{name}": optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return data | {
            self.family.epoch_keys[self.mode]: self.epoch - 1,  # the last epoch that is complete
            "step": self.step,
            "epoch_step": self.epoch_step,
            "totals": dict(self.totals),
            "scaler": self.scaler.state_dict(),
            "config": self.config,
        }

    def _made(self) -> list[str]:
        """Networks that this mode or one before it trains: the others are as they were initialised."""
        modes = list(self.family.training_sections)
        later = modes[modes.index(self.mode) + 1 :]
        return [name for name in self.networks if self.family.later_networks.get(name) not in later]

    def load(self, path: str | Path) -> None:
        """Continue from a checkpoint: ours (anywhere in an epoch) or a published one (after its epoch)."""
        data = read_checkpoint(path)
        key = self.family.epoch_keys[self.mode]
        fresh = [] if key in data else self._starts_here()
        names = [name for name in self._made() if name not in fresh and (name in data or not self._is_optional(name))]
        load_networks({name: self.networks[name] for name in names}, data, self.family.name, path)
        for name in set(self.networks) - set(self._made()) - untrained_networks(data, self.family.name):
            tqdm.write(
                f"{path} has a trained {name}, which belongs to networks that change now: the new checkpoints are "
                f"without it. --mode {self.family.later_networks[name]} makes it again"
            )
        self._keep_earlier(data)
        for name, optimizer in self.optimizers.items():
            if f"optimizer_{name}" in data:
                self._load_optimizer(optimizer, data[f"optimizer_{name}"], f"{path}: optimizer_{name}")
        if key in data:
            self.epoch = int(data[key]) + 1
            self.step = int(data.get("step", self.epoch * self.steps))
            self.epoch_step = int(data.get("epoch_step", 0))
            self.totals = dict(data.get("totals", {}))
            if data.get("scaler"):
                self.scaler.load_state_dict(data["scaler"])

    def _starts_here(self) -> list[str]:
        """Networks that this mode starts from nothing."""
        return [name for name, mode in self.family.later_networks.items() if mode == self.mode]

    def _keep_earlier(self, data: dict) -> None:
        """Remember the optimisers and epochs of the modes before this one: they stay in the checkpoint."""
        if not self._starts_here():
            return
        keys = [key for mode, key in self.family.epoch_keys.items() if mode != self.mode]
        keys += [key for key in data if key.startswith("optimizer_") and key[10:] not in self.optimizers]
        self.earlier = {key: data[key] for key in keys if key in data}

    def warm_start(self, path: str | Path) -> tuple[list[str], list[str]]:
        """Take what fits of another checkpoint; see :func:`checkpoint.warm_start`.

        Raises:
            CheckpointError: nothing fits, or a network that this mode needs trained and does not train is left out.
        """
        taken, left = warm_start(self.networks, read_checkpoint(path))
        if not taken:
            raise CheckpointError(f"nothing in {path} fits the config's networks")
        if self._starts_here():
            frozen = set(self._made()) - self._trained(*self.phases)
            needed = [name for name in left if name.split(".")[0] in frozen]
            if needed:
                raise CheckpointError(f"--mode {self.mode} trains upon what {path} does not have: {needed[0]}")
        return taken, left

    @property
    def needs_checkpoint(self) -> bool:
        """Whether this mode builds upon what another one trained."""
        return bool(self._starts_here())

    @staticmethod
    def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict, name: str) -> None:
        try:
            optimizer.load_state_dict(state)
        except ValueError as error:  # such as the early published layout, whose detector had more parameters
            raise CheckpointError(
                f"{name} does not fit the networks ({error}), so this run cannot be gone on with. --init-from in place "
                "of --checkpoint starts a new one from its weights."
            ) from error
        for parameter, moments in optimizer.state.items():  # the fused step wants them in the parameter's layout
            for key, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    moments[key] = torch.empty_like(parameter).copy_(value)

    def _is_optional(self, name: str) -> bool:
        """Networks that this mode does not train and animation does not need may be absent from a checkpoint."""
        return name not in self._trained(*self.phases) and name not in self.family.inference_networks

    # ------------------------------------------------------------------------------------------ stepping
    def begin_epoch(self) -> None:
        """Learning rates and data order of ``self.epoch``."""
        for phase in self.phases:
            for name, (_, rate) in phase.optimizers.items():
                for group in self.optimizers[name].param_groups:
                    group["lr"] = learning_rate(self.params[rate], self.epoch, self.params["epoch_milestones"])
        self.sampler.epoch = self.epoch
        self.sampler.start = self.epoch_step * self.params["batch_size"]

    def train_mode(self) -> None:
        """Train mode, with BatchNorm frozen once ``freeze_bn_after`` is reached."""
        for network in self.networks.values():
            network.train()
        if self.epoch >= self.freeze_epoch or self.step >= self.freeze_step:
            for norm in batch_norms(self.networks, self.params.get("freeze_bn_except") or []):
                norm.eval()

    def autocast(self) -> contextlib.AbstractContextManager:
        """Autocast at the config's precision; float32 runs plainly."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.params["precision"])
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def train_step(self, *parts: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All phases of one step.

        Args:
            parts: this process's share of the batch, in ``accumulate_steps`` parts.

        Returns:
            detached losses by name (and ``background_share``), means over the parts; the last part's generated tensors.
        """
        self.train_mode()
        parts = tuple(self._placed(part, number) for number, part in enumerate(parts))
        generated: list[dict[str, Tensor]] = [{} for _ in parts]
        values: dict[str, list[Tensor]] = {}
        for phase, model in zip(self.phases, self.models, strict=True):
            if not all(name in entry for entry in generated for name in phase.needs):
                continue
            self._require_gradients(phase)
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            for number, part in enumerate(parts):
                losses, generated[number] = self._backward(model, part, generated[number], number == len(parts) - 1)
                for name, loss in losses.items():
                    values.setdefault(name, []).append(loss)
            self._update(phase)
        self._require_gradients(None)
        shares = [background_share(entry) for entry in generated]
        if shares[0] is not None:
            values["background_share"] = shares
        self.step += 1
        self.epoch_step += 1
        return {name: torch.stack(entries).mean() for name, entries in values.items()}, generated[-1]

    def _placed(self, part: dict[str, Tensor], number: int) -> dict:
        """A part, channels last, that knows which rows of the whole batch it holds."""
        total, rows = self.params["batch_size"], len(part["source"])
        first = (number * self.team.size + self.team.rank) * rows
        images = {k: v.contiguous(memory_format=layout(v.device)) for k, v in part.items() if v.dim() == 4}
        return {**part, **images, "rows": (first, max(total, first + rows))}

    def _backward(
        self, model: LossModel, part: dict, generated: dict[str, Tensor], last: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of one part, detached, and what was generated; adds its share to the gradients.

        Random transforms are drawn for the whole batch, in the same way by every process and for every part.
        """
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        with contextlib.nullcontext() if last else model.alone():
            with self.autocast():
                losses, generated = model(self.step, part, generated)
            if losses:
                total = torch.stack(list(losses.values())).sum()
                self.scaler.scale(total / self.parts if self.parts > 1 else total).backward()
        return {name: loss.detach() for name, loss in losses.items()}, generated

    def _update(self, phase: Phase) -> None:
        stepped = False
        for optimizer in (self.optimizers[name] for name in phase.optimizers):
            if not any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
                continue
            if self.params.get("clip_grad_norm"):
                self.scaler.unscale_(optimizer)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                nn.utils.clip_grad_norm_(parameters, self.params["clip_grad_norm"])
            self.scaler.step(optimizer)
            stepped = True
        if stepped:
            self.scaler.update()

    def add(self, values: dict[str, float]) -> None:
        """Add a step's values to the epoch's sums."""
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value
            self.totals[f"#{name}"] = self.totals.get(f"#{name}", 0) + 1

    def end_epoch(self) -> dict[str, float]:
        """Mean values of the epoch that ends; moves on to the next."""
        means = {n: total / self.totals[f"#{n}"] for n, total in self.totals.items() if not n.startswith("#")}
        self.epoch, self.epoch_step, self.totals = self.epoch + 1, 0, {}
        return means


@contextlib.contextmanager
def stop_requests() -> Iterator[dict[str, int]]:
    """Ctrl-C and SIGTERM ask for a stop at the next step; the same one again stops at once.

    (A launcher passes Ctrl-C on as SIGTERM to processes that got it from the terminal already.)
    """
    request: dict[str, int] = {}

    def handle(number: int, frame: object) -> None:
        if request.setdefault("signal", number) == number and "asked" in request:
            raise KeyboardInterrupt
        request["asked"] = True

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Run:
    """A :class:`Trainer` with its folder: log, checkpoints, progress bar, warnings; and its validator, if any.

    In a team rank 0 alone has them; the others train with it, and stop when it stops.
    """

    def __init__(self, trainer: Trainer, folder: Path, validator: Validator | None = None):
        self.trainer, self.folder, self.validator, self.team = trainer, folder, validator, trainer.team
        if validator:
            self.best = BestCheckpoint(folder, trainer.params["validate_figure"], trainer.mode)
        self.logger = Logger(folder, trainer.config["visualizer_params"]) if self.team.first else None
        self.pending: list[tuple[int, dict[str, Tensor]]] = []  # values still on the device
        self.warned = False
        self.saved: Path | None = None

    def loop(self) -> Path:
        """Train to the last epoch; returns the last checkpoint."""
        trainer, params = self.trainer, self.trainer.params
        with stop_requests() as request:
            while trainer.epoch < params["num_epochs"]:
                batch, generated = self._epoch(request)
                epoch, found = trainer.epoch, None
                if params["validate_every"] and self._validation_is_due():
                    found = self._validate(request) if self.validator else None
                    if self.team.any(bool(request)):
                        self._interrupt(request)
                means = trainer.end_epoch() | (found.means if found else {})
                if not self.team.first:
                    continue
                tqdm.write(self.logger.log_epoch(epoch, means))
                self._check_masks(means)
                if "prediction" in generated:
                    self.logger.log_pictures(epoch, batch, generated)
                if found:
                    self._keep_best(epoch, found)
                if trainer.epoch % params["checkpoint_freq"] == 0 or trainer.epoch == params["num_epochs"]:
                    self.saved = checkpoint_path(self.folder, epoch)
                    write_checkpoint(self.saved, trainer.state())
                    (self.folder / INTERRUPTED).unlink(missing_ok=True)
        return self.saved or last_checkpoint(self.folder)

    def close(self) -> None:
        """Finish the log."""
        if self.logger:
            self.logger.close()

    def _validation_is_due(self) -> bool:
        done, params = self.trainer.epoch + 1, self.trainer.params
        return done % params["validate_every"] == 0 or done == params["num_epochs"]

    def _validate(self, request: dict[str, int]) -> Validation:
        """Score the held-out pairs at the end of an epoch.  A run stopped here goes on with scoring them."""
        trainer = self.trainer
        try:
            found = self.validator(trainer.networks, stop=lambda: bool(request))
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

    def _epoch(self, request: dict[str, int]) -> tuple[dict, dict]:
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
                values, generated = self._step(parts)
                self.pending.append((trainer.step - 1, values))
                bar.update()
                if self._flush_is_due(request):
                    shown, stop = self._flush(bool(request))
                    bar.set_postfix({n: f"{v:.3g}" for n, v in shown.items()}, refresh=False)
                    if stop:
                        self._interrupt(request)
        return parts[-1] if parts else {}, generated

    def _flush_is_due(self, request: dict[str, int]) -> bool:
        """A GPU is not waited for in every step.  All processes of a team come to the same answer."""
        trainer = self.trainer
        due = trainer.device.type == "cpu" or len(self.pending) >= 20 or trainer.epoch_step == trainer.steps
        return due or (self.team.size == 1 and bool(request))

    def _step(self, parts: list[dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        try:
            return self.trainer.train_step(*parts)
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"{out_of_memory(self.trainer)} {self._left()}") from error

    def _flush(self, request: bool) -> tuple[dict[str, float], bool]:
        """Bring the waiting values, means over the team, to the host, check and log them.

        Returns:
            the last ones, and whether any process was asked to stop (``request`` says whether this one was).
        """
        values: dict[str, float] = {}
        rows = [torch.stack([t.float() for t in tensors.values()]) for _, tensors in self.pending]
        stop = self.team.any(request)
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

    def _interrupt(self, request: dict[str, int]) -> None:
        path = self.folder / INTERRUPTED
        if self.team.first:
            write_checkpoint(path, self.trainer.state())
        self.team.any(True)  # the launcher ends all once one has ended: not before the checkpoint is whole
        name = signal.Signals(request["signal"]).name if request else "another process was asked to stop"
        raise Interrupted(
            f"{name}: stopped after step {self.trainer.step}. "
            f"Go on with the same command and --checkpoint '{path}'"
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
) -> Path:
    """Train a model.

    Args:
        config: checked settings (:func:`options.load_config`).
        folder: the run folder; made if absent.
        device: where to train.
        mode: ``train``, or another training mode of the family.
        checkpoint: continue from it, after its last complete step.
        init_from: start from what fits of another model's checkpoint; excludes ``checkpoint``.
        ready: called once data, networks and checkpoint are found good, before anything is written.
        team: the processes that train together (:mod:`team`); ``folder``, ``ready`` and what is written and said are
            rank 0's.

    Returns:
        the last checkpoint.

    Raises:
        TrainingError: a loss that is not finite, or memory that does not suffice.
        Interrupted: on Ctrl-C and SIGTERM, after a resumable checkpoint was written.
    """
    if checkpoint and init_from:
        raise CheckpointError("--checkpoint goes on with a run, --init-from starts another one: give one of them")
    trainer = Trainer(config, mode, device, team)
    say = tqdm.write if team.first else (lambda text: None)
    if trainer.needs_checkpoint and not (checkpoint or init_from):
        raise CheckpointError(
            f"--mode {mode} trains upon a model that --mode train has made: give its checkpoint with --checkpoint"
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
    validator = Validator(config, mode, device) if trainer.params["validate_every"] and team.first else None
    if team.first:
        ready()
    if device.type == "cpu":
        keep_freed_memory()
    run = Run(trainer, team.share(Path(folder)), validator)
    try:
        return run.loop()
    except RuntimeError as error:
        if isinstance(error, TrainingError) or not lost_another(error):
            raise
        raise TrainingError(
            f"process {team.rank} of {team.size} lost another one, whose own error says why ({error}). {run._left()}"
        ) from error
    finally:
        run.close()


if __name__ == "__main__":
    raise SystemExit("train.py is no command: python run.py --mode train (see python run.py --help)")
