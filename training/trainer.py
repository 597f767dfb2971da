"""The state of a training run, and one step of it.

A run is a function of its config and seed: the order of the data, the augmentation, the random transforms, the
learning rates and the freezing of BatchNorm follow from (seed, epoch, step) alone, so a resumed run repeats an
uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from checkpoint import CheckpointError, load_networks, read_checkpoint, untrained_networks, warm_start
from frames_dataset import DataError, EpochSampler, FramesDataset, make_loader
from logger import background_share
from modules import build_networks, get_family
from modules.family import Phase
from modules.sync_batch_norm import synchronise_batch_norms
from modules.training_layers import prepare_for_training
from parallel.distributed import ALONE, Team, cores
from settings.devices import settle_precision
from training.forecast import describe_plan
from training.loss_model import LossModel
from training.perceptual_weights import load_perceptual_network
from training.schedule import batch_norms, check_exceptions, learning_rate, parse_freeze

ADAM_BETAS = (0.5, 0.999)


def layout(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory where convolutions are fastest: channels last on processors and CUDA."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def to_device(batch: dict[str, Tensor | list[str]], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a loader's batch, copied: its own memory is used again."""
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    return {name: value.to(device, non_blocking=True, copy=True) for name, value in tensors.items()}


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
        # Networks that this mode starts from nothing, upon what another one trained.
        self.fresh = [name for name, maker in self.family.later_networks.items() if maker == mode]
        section = self.family.training_sections[mode]
        if section not in config:
            raise DataError(f"--mode {mode} needs the section {section} in the config")
        config = self.config = settle_precision(config, section, device, quiet=not team.first)
        self.params = config[section]
        self.seed = int(self.params["seed"])
        self.freeze_epoch, self.freeze_step = parse_freeze(self.params.get("freeze_bn_after"))
        self.parts = self.params["accumulate_steps"]
        self.loader, self.sampler = self._make_loader()
        torch.manual_seed(self.seed)
        self.networks = build_networks(config)
        if team.first:
            tqdm.write(self._plan())
        check_exceptions(self.networks, self.params.get("freeze_bn_except") or [])
        perceptual = None
        if self.family.needs_perceptual_network(config, mode):
            perceptual = load_perceptual_network(self.params["perceptual_network"], self.params.get("vgg_weights"))
        self.phases = self.family.phases(self.networks, config, perceptual, mode)
        for module in (*self.networks.values(), *(phase.model for phase in self.phases)):
            module.to(device, memory_format=layout(device))
        if device.type == "cpu":
            for network in self.networks.values():
                prepare_for_training(network)
        if team.size > 1:
            for network in self.networks.values():
                synchronise_batch_norms(network)
        self.models = []
        for phase in self.phases:
            self._require_gradients(phase)
            self.models.append(LossModel(phase.model, team))
        self._require_gradients(None)
        self.optimizers = {
            name: self._make_optimizer(phase, name) for phase in self.phases for name in phase.optimizers
        }
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.params["precision"] == "fp16")
        self.epoch, self.step, self.epoch_step = 0, 0, 0  # next epoch; optimiser steps made; and in this epoch
        self.totals: dict[str, float] = {}  # sums of this epoch's values
        self.earlier: dict = {}  # what the training modes before this one left in the checkpoint

    def _plan(self) -> str:
        made, params = self._made(), self.params
        return describe_plan(
            len(self.loader.dataset.groups), params["num_repeats"], self.steps, params["num_epochs"],
            {name: self.networks[name] for name in made}, self.fresh or made, params.get("appearance_steps") or 0,
        )  # fmt: skip

    def _make_loader(self) -> tuple[Iterable[dict], EpochSampler]:
        params, family = self.params, self.family
        repeats, dataset_params = params["num_repeats"], self.config["dataset_params"]
        data = FramesDataset(dataset_params, family.uses_prior, repeats, self.seed, family.uses_tracks)
        batch_size = params["batch_size"]
        if len(data) < batch_size:
            raise DataError(
                f"batch_size is {batch_size}, but an epoch has only {len(data)} samples ({len(data.groups)} clips × "
                f"num_repeats {repeats}). Lower batch_size or raise num_repeats."
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
        fresh = [] if key in data else self.fresh
        # Networks that this mode does not train and animation does not need may be absent from a checkpoint.
        needed = {*data, *self._trained(*self.phases), *self.family.inference_networks}
        names = [name for name in self._made() if name not in fresh and name in needed]
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
            elif key in data:
                tqdm.write(
                    f"{path} has no state of optimizer_{name} (a run's last two checkpoints do): it begins anew, "
                    "so the losses will not be those of an uninterrupted run"
                )
        if key in data:
            self.epoch = int(data[key]) + 1
            self.step = int(data.get("step", self.epoch * self.steps))
            self.epoch_step = int(data.get("epoch_step", 0))
            self.totals = dict(data.get("totals", {}))
            if data.get("scaler"):
                self.scaler.load_state_dict(data["scaler"])

    def _keep_earlier(self, data: dict) -> None:
        """Remember the optimisers and epochs of the modes before this one: they stay in the checkpoint."""
        if not self.fresh:
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
        if self.fresh:
            frozen = set(self._made()) - self._trained(*self.phases)
            needed = [name for name in left if name.split(".")[0] in frozen]
            if needed:
                raise CheckpointError(f"--mode {self.mode} trains upon what {path} does not have: {needed[0]}")
        return taken, left

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
