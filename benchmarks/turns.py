"""Measuring: paths in turns in one process, ratios with their spread, shares of the device's peak, memory."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

Path_ = Callable[[], object]
PEAK_SIZES = {"cuda": 8192, "cpu": 2048}  # of the square matrices whose product shows what the device can do
PEAK_SECONDS = 1.0


@dataclass(frozen=True)
class Ratio:
    """How many times faster one path is than another: the median over the turns, and the extremes."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.lowest:.2f} … {self.highest:.2f})"


def synchronize(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(path: Path_, device: torch.device) -> float:
    """Seconds of one call."""
    synchronize(device)
    begin = time.perf_counter()
    path()
    synchronize(device)
    return time.perf_counter() - begin


def in_turns(paths: dict[str, Path_], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each path in each round, after one call to warm up.

    The paths take turns, in alternating order, so that whatever else the machine does meets them alike.
    """
    for path in paths.values():
        path()
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(rounds):
        names = list(paths) if number % 2 == 0 else list(reversed(paths))
        for name in names:
            seconds[name].append(timed(paths[name], device))
    return seconds


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """Of two paths that took turns, round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def flops(path: Path_) -> int:
    """Floating-point operations of one call (matrix products, convolutions); a multiplication and addition are two."""
    with FlopCounterMode(display=False) as counter:
        path()
    return counter.get_total_flops()


def precision_of(path: str) -> torch.dtype:
    """What a path named ``project bf16`` or the like computes in."""
    return torch.bfloat16 if path.endswith("bf16") else torch.float32


def matmul_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Best FLOP/s of a matrix product on the device, as ``@`` and as a 1×1 convolution.

    Both are tried because the libraries behind them differ: on an AMD processor MKL's product runs at less than half
    the speed of oneDNN's.
    """
    size = PEAK_SIZES[device.type]
    matrix = torch.randn(size, size, device=device).to(dtype)
    image = matrix.view(1, size, 1, size).to(memory_format=torch.channels_last)
    weight = matrix.view(size, size, 1, 1).to(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode():
        for product in (lambda: matrix @ matrix, lambda: torch.nn.functional.conv2d(image, weight)):
            product()
            end = time.perf_counter() + PEAK_SECONDS
            while time.perf_counter() < end:
                best = min(best, timed(product, device))
    return 2 * size**3 / best


def matmul_peaks(device: torch.device, paths: Iterable[str]) -> dict[torch.dtype, float]:
    """:func:`matmul_peak` in the precisions of ``paths``."""
    return {dtype: matmul_peak(device, dtype) for dtype in sorted({precision_of(path) for path in paths}, key=str)}


# ------------------------------------------------------------------------------------------ memory
STATUS = Path("/proc/self/status")


def _status(key: str) -> int | None:
    if not STATUS.is_file():
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(), re.M)
    return int(found[1]) * 1024 if found else None


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not say (only Linux does)."""
    return _status("VmRSS")


def peak_memory(path: Path_, device: torch.device) -> int | None:
    """Most bytes during one call: allocated on a GPU, resident on the CPU; None where it cannot be told."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        path()
        return torch.cuda.max_memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the highest value so far
    except OSError:
        return None
    path()
    return _status("VmHWM")


def megabytes(size: int | None) -> str:
    """'1,234 MB', or 'unknown'."""
    return "unknown" if size is None else f"{size / 1e6:,.0f} MB"


# ------------------------------------------------------------------------------------------ surroundings
def _processor() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", path.read_text(), re.M) if path.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def machine(device: torch.device) -> str:
    """Device, versions, date and load, for the tables."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores{load}; Python {platform.python_version()}, "
        f"torch {torch.__version__}; {time.strftime('%Y-%m-%d %H:%M')}"
    )


def report(
    title: str,
    unit: str,
    count: float,
    seconds: dict[str, list[float]],
    work: dict[str, int] | None = None,
    peaks: dict[torch.dtype, float] | None = None,
) -> list[str]:
    """Lines of a table: a path's best and median rate, its share of the peak, and what it gains over the first.

    Args:
        unit, count: what one call handles, and how many of it.
        seconds: of the paths, from :func:`in_turns`; the first is what the others are compared with.
        work: floating-point operations of one call, where they are counted.
        peaks: of the device, FLOP/s, by the precision of the paths.
    """
    lines = [title]
    base = next(iter(seconds))
    for name, values in seconds.items():
        line = f"  {name:<28} {count / min(values):9.2f} {unit}/s best, {count / statistics.median(values):9.2f} median"
        if work:
            rate, dtype = work[name] / min(values), precision_of(name)
            line += f", {work[name] / count / 1e9:.1f} GFLOP each, {rate / 1e9:,.0f} GFLOP/s, "
            line += f"{rate / peaks[dtype]:.0%} of the {str(dtype).removeprefix('torch.')} peak"
        if name != base:
            line += f"; {ratio(seconds[base], values)} of {base}"
        lines.append(line)
    return lines


def difference(a: Tensor, b: Tensor) -> str:
    """Largest difference of two pictures in [0, 1], and their PSNR."""
    error = (a.float() - b.float()).abs()
    mean = float(error.square().mean())
    psnr = float("inf") if mean == 0 else -10 * torch.log10(torch.tensor(mean)).item()
    return f"largest difference {float(error.max()):.1e}, PSNR {psnr:.1f} dB"
