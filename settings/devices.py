"""``--device`` and ``--device_ids`` → where to compute, and with which numbers."""

from __future__ import annotations

import torch
from tqdm import tqdm

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


def has_bf16(device: torch.device) -> bool:
    """Whether a device calculates in bf16 itself: without instructions for it, a processor takes 3 to 100 times as long
    as in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def settle_precision(config: dict, section: str, device: torch.device, quiet: bool = False) -> dict:
    """``config`` with ``precision: auto`` of a section replaced by bf16 where the device has it, by float32 elsewhere.

    Says what was taken, and that a bf16 which was asked for will be slow where it is.
    """
    params = config.get(section) or {}
    wanted, fast = params.get("precision"), has_bf16(device)
    say = tqdm.write if not quiet else lambda text: None
    if wanted == "bf16" and device.type == "cpu" and not fast:
        say(
            f"{section}.precision: bf16: this processor has no instructions for it and will be many times slower than "
            "with float32 (auto takes what is fast)"
        )
    if wanted != "auto":
        return config
    taken = "bf16" if fast else "float32"
    say(f"{section}.precision: auto takes {taken} on this device")
    return {**config, section: {**params, "precision": taken}}
