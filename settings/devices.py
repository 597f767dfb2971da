"""``--device`` and ``--device_ids`` → where to compute."""

from __future__ import annotations

import torch

from parallel.workers import launched, local_rank
from settings.files import ConfigError


def device_numbers(device_ids: str) -> list[int]:
    """``0`` or ``0,1`` → numbers.

    Raises:
        ConfigError: they are none, or one comes twice.
    """
    ids = [part.strip() for part in device_ids.split(",")]
    if not all(part.isdecimal() for part in ids) or len(set(ids)) < len(ids):
        raise ConfigError(f"--device_ids {device_ids!r}: expected a number such as 0, or different ones such as 0,1")
    return [int(part) for part in ids]


def choose_device(name: str, device_ids: str = "0") -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU; anything else must be there.

    Of several processes on a machine each takes the GPU of its number.

    Raises:
        ConfigError: the device is not there, or the numbers are none.
    """
    ids = device_numbers(device_ids)
    if launched():
        ids = ids if len(ids) > 1 else list(range(ids[0], ids[0] + local_rank() + 1))
        if local_rank() >= len(ids):
            raise ConfigError(f"--device_ids {device_ids}: process {local_rank()} has no device; give one each")
    number = ids[local_rank()] if launched() else ids[0]
    mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "cuda":
        count = torch.cuda.device_count()
        if number >= count:
            raise ConfigError(f"--device cuda --device_ids {number}: there are {count} CUDA devices. Use --device cpu")
        return torch.device("cuda", number)
    if name == "mps" and not mps:
        raise ConfigError("--device mps: this machine has no Metal device. Use --device cpu")
    return torch.device(name)
