"""The rate of a clip from the times of its frames, as its file says them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PAUSE = 3.0  # times the usual time of a frame: what is held for longer is a pause
VARIES = 0.1  # share of the mean time of a frame that one may differ by and need no mention


def rate_of_delays(delays: Sequence[float]) -> float | None:
    """Frames a second of pictures shown for ``delays`` (milliseconds, as GIFs have them); None where they don't say.

    It is that of the mean delay.  Pauses are left out, most often that of the last frame before the clip begins again;
    so are delays of 0, which say nothing.
    """
    said = np.array([delay for delay in delays if delay > 0], dtype=float)
    if len(said) == 0:
        return None
    return float(1000.0 / said[said <= PAUSE * np.median(said)].mean())


def rate_of_times(times: np.ndarray, last: float, tick: float, declared: float | None) -> float | None:
    """Frames a second of a video.

    Args:
        times: (N,) when its frames are shown, seconds, rising.
        last: for how long the last one is shown, seconds; 0 where that is unknown.
        tick: the step of the file's clock, seconds.
        declared: the constant rate that the file itself names, if any; taken where the frames keep to it.

    Returns:
        N over the time that all frames take.  A pause of the last frame counts as the mean of the others; so does a
        time that is unknown.
    """
    if declared and (np.abs(times - times[0] - np.arange(len(times)) / declared) <= 1.5 * tick + 1e-6).all():
        return declared
    if len(times) < 2 or times[-1] <= times[0]:
        return declared
    steps = np.diff(times)
    if not 0 < last <= PAUSE * np.median(steps):
        last = steps.mean()
    return float(len(times) / (times[-1] - times[0] + last))


def describe_variation(durations: Sequence[float], fps: float | None, tick: float = 0.0) -> str:
    """What to say of a clip whose frames last differently long (``durations``, seconds); "" where that is no matter."""
    durations = np.asarray(durations, dtype=float)
    if fps is None or len(durations) == 0:
        return ""
    allowed = max(VARIES * durations.mean(), 1.5 * tick)
    if np.abs(durations - durations.mean()).max() <= allowed:
        return ""
    low, high = 1000 * durations.min(), 1000 * durations.max()
    return f"its frame rate varies ({low:.4g} to {high:.4g} ms a frame): read as {fps:.4g} frames a second"
