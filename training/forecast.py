"""What a training will take: steps and disk before it begins, and time, from its first steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from torch import nn

MEASURED = 5.0  # seconds of steps that a forecast is made from
LONG = 4 * 3600.0  # seconds of training on a processor above which the way out is said
WAY_OUT = "config/your_dataset_small.yaml trains ten clips offline, in minutes"


def _size(networks: Iterable[nn.Module]) -> int:
    """Bytes of their parameters and buffers."""
    return sum(tensor.nbytes for network in networks for tensor in network.state_dict().values())


def describe_plan(
    clips: int,
    repeats: int,
    steps: int,
    epochs: int,
    networks: dict[str, nn.Module],
    trained: Iterable[str],
    appearance_steps: int = 0,
) -> str:
    """How many steps there will be, what the first of them leave out, and how large a checkpoint is.

    Args:
        clips: (or identities) that take turns, each ``repeats`` times an epoch.
        steps: an epoch.
        networks: those in a checkpoint; of the ``trained`` ones it also has Adam's two moments of every parameter.
        appearance_steps: the first, which train no motion.
    """
    weights = _size(networks.values())
    moments = 2 * sum(p.nbytes for name in trained for p in networks[name].parameters())
    still = ""
    if appearance_steps >= steps * epochs:
        still = ", all of which train the appearance alone: for the motion, fewer train_params.appearance_steps"
    elif appearance_steps:
        still = f", the first {appearance_steps:,} of which train the appearance alone"
    return (
        f"{clips} clips × {repeats} repeats are {steps} steps an epoch, {steps * epochs:,} in {epochs} epochs{still}; "
        f"a checkpoint takes {(weights + moments) / 1e6:.0f} MB, one older than the last two {weights / 1e6:.0f} MB"
    )


def duration(seconds: float) -> str:
    """In words, roughly: ``40 seconds``, ``12 minutes``, ``3.5 hours``, ``4.2 days``."""
    for unit, length, least in (("days", 86400, 172800), ("hours", 3600, 7200), ("minutes", 60, 120)):
        if seconds >= least:
            return f"{seconds / length:.{0 if unit == 'minutes' else 1}f} {unit}"
    return f"{max(1, seconds):.0f} seconds"


class Forecast:
    """Says once how long a run will take, and once more when the steps that train the appearance alone are over.

    Args:
        step: the next one.
        total: steps of the whole run.
        change: the first step that is slower than those before it (``appearance_steps``).
        slow_device: whether there is none faster: the way out is said where it takes long.
        say: prints a line.
    """

    def __init__(self, step: int, total: int, change: int, slow_device: bool, say: Callable[[str], object]):
        self.total, self.change, self.slow_device, self.say = total, change, slow_device, say
        self._begin(step)

    def _begin(self, step: int) -> None:
        """Steps from ``step`` on are alike; the first one also starts workers, and counts only if it is long."""
        self.end = self.change if step < self.change < self.total else self.total
        self.first, self.began, self.begun, self.said = step, time.monotonic(), False, False

    def made(self, step: int) -> None:
        """``step`` is over."""
        if step + 1 == self.change and step + 1 < self.total:
            self._begin(self.change)
            return
        spent, count, begun = time.monotonic() - self.began, step + 1 - self.first, self.begun
        self.begun = True
        if self.said or spent < MEASURED:
            if not begun:
                self.first, self.began = step + 1, time.monotonic()
            return
        self.said = True
        each, left = spent / count, self.end - step - 1
        text = f"a step takes about {each:.2g} seconds on this machine, the {left:,} to come {duration(each * left)}"
        if self.end < self.total:
            text += f"; the {self.total - self.end:,} after them, which train the motion too, take longer each"
        elif self.slow_device and each * left > LONG:
            text += f".  {WAY_OUT}"
        self.say(text)
