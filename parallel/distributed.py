"""The processes of one run: ``torchrun --nproc_per_node 4 run.py …`` or ``run.py --device_ids 0,1,2,3``.

Every process runs the same program on its share of the work; rank 0 alone writes logs and checkpoints and speaks.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from parallel.workers import launched, usable_cores

Value = TypeVar("Value")
PATIENCE = timedelta(hours=6)  # rank 0 may validate for long; that one has died is noticed by the launcher, at once
LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "nccl", "peer")


@dataclass(frozen=True)
class Team:
    """One process among ``size``; alone, all its methods do nothing and give back what they got."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes of a float tensor of one shape."""
        if self.size > 1:
            values = values.detach().clone().to(self.device)
            dist.all_reduce(values)
            values = values / self.size
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        return float(self.mean(torch.tensor([float(flag)]))) > 0

    def share(self, value: Value) -> Value:
        """Rank 0's value, for all."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0, device=self.device)
        return holder[0]

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model`` with gradients averaged over the processes, of the parameters that require some now."""
        if self.size == 1 or not any(p.requires_grad for p in model.parameters()):
            return model
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # older name
        return DistributedDataParallel(model, find_unused_parameters=True, **{buffers: False})


ALONE = Team()


def cores() -> int:
    """Processor cores for this process: of those that it may use, the share of one of the machine's processes."""
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextlib.contextmanager
def join(device: torch.device) -> Iterator[Team]:
    """The team of the processes that the launcher started; a team of one without a launcher.

    Collectives run over NCCL between GPUs and over gloo between processors.  Their threads end with the context: one
    that still runs while Python shuts down can abort the process.
    """
    if not launched():
        yield Team(device=device)
        return
    # DistributedDataParallel imports it, and if there is a group by then, its functions' default arguments keep that.
    import torch.distributed.nn.functional  # noqa: F401

    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), device)
    finally:
        gc.collect()  # wrapped models, which are parts of cycles, hold the group
        dist.destroy_process_group()


def lost_another(error: BaseException) -> bool:
    """Whether an error says that another process of the team has gone."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and launched() and any(part in text for part in LOST)


def start(processes: int, script: str, arguments: list[str]) -> int:
    """Run ``script`` in ``processes`` processes on this machine with torch's launcher; returns the exit code.

    A process that fails ends the others.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    threads = str(max(1, usable_cores() // processes))
    environment = {"OMP_NUM_THREADS": threads, "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
    with subprocess.Popen([*command, script, *arguments], env=environment) as launcher:
        signal.signal(signal.SIGTERM, lambda number, frame: launcher.send_signal(number))  # to this process alone
        while True:
            try:
                return launcher.wait()
            except KeyboardInterrupt:  # the launcher got it too: its processes write a checkpoint and end
                continue
