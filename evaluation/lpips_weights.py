"""Where LPIPS's weights are looked for, and why a figure is absent.

Torch is imported only where the weights are there: a worker process does without it otherwise.
"""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from faces.versions import file_digest

if TYPE_CHECKING:
    from metrics.lpips import Lpips

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"  # torchvision's ImageNet weights
LINEAR_FILE = Path("weights") / "v0.1" / "alex.pth"  # inside the package lpips

FID_ABSENT = (
    "it compares distributions of thousands of pictures, an evaluation has a few clips; and its Inception weights come "
    "with no dependency"
)


def torch_cache() -> Path:
    """Torch's folder for downloads: ``TORCH_HOME``, or ``torch`` in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser()


def lpips_files() -> tuple[Path, Path]:
    """Weights of AlexNet, from torch's cache, and of the linear layers, from the package ``lpips``; there or not."""
    package = find_spec("lpips")
    linear = Path(package.origin).parent / LINEAR_FILE if package and package.origin else Path("lpips") / LINEAR_FILE
    return torch_cache() / "hub" / "checkpoints" / ALEXNET_FILE, linear


def why_no_lpips() -> str:
    """What is missing and how to get it; "" where LPIPS can be had."""
    alexnet, linear = lpips_files()
    missing = []
    if not linear.is_file():
        missing.append("its linear weights (pip install --no-deps lpips)")
    if not alexnet.is_file():
        missing.append(f"torchvision's AlexNet ({ALEXNET_FILE}) in {alexnet.parent}")
    return f"needs {' and '.join(missing)}; nothing here downloads them" if missing else ""


@functools.lru_cache(maxsize=1)
def load_lpips() -> Lpips | None:
    """The distance with its weights; ``None`` where they cannot be had (:func:`why_no_lpips`)."""
    if why_no_lpips():
        return None
    import torch

    from metrics.lpips import Lpips

    states = (torch.load(path, map_location="cpu", weights_only=True) for path in lpips_files())
    return Lpips(*states)


def absent(present: list[str]) -> dict[str, str]:
    """Figure → why no row has it, for figures that users of this field look for."""
    reasons = {"fid": FID_ABSENT, "lpips": why_no_lpips() or "needs a true result of the same size (--truth)"}
    return {name: reason for name, reason in reasons.items() if name not in present}


def lpips_version() -> dict[str, str]:
    """What LPIPS depends on, where it can be had."""
    if why_no_lpips():
        return {}
    return {path.name: file_digest(path) for path in lpips_files()}
