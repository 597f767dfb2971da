"""What changes while a run goes on: learning rates and the freezing of BatchNorm, pure functions of epoch and step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from frames_dataset import DataError


def parse_freeze(value: int | str | None) -> tuple[float, float]:
    """``freeze_bn_after`` → (first frozen epoch, first frozen step); ``3``, ``"3 epochs"`` or ``"200 steps"``.

    Raises:
        ValueError: anything else.
    """
    if value is None:
        return math.inf, math.inf
    number, _, unit = str(value).partition(" ")
    if not number.isdecimal() or unit not in ("", "epoch", "epochs", "step", "steps"):
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
