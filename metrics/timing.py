"""Which generated frame belongs to which driving frame.  Times are driving frame indices (0 = onset).

Source: shared definition ``metric.md`` §2, item 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canonical import MetricError

DURATION_TOLERANCE = 0.1


def distinct_frames(frames: np.ndarray) -> np.ndarray:
    """Indices of the frames (N, ...) that differ from their predecessor; 0 always belongs to them.

    Published GIFs repeat frames to slow a clip down; repeats carry no motion and would distort every time figure.
    """
    frames = np.asarray(frames)
    keep = [0] + [i for i in range(1, len(frames)) if not np.array_equal(frames[i], frames[i - 1])]
    return np.array(keep)


def evenly_spaced(count: int, limit: int) -> np.ndarray:
    """Indices of at most ``limit`` of ``count`` frames, evenly taken, the first and the last among them."""
    return np.unique(np.round(np.linspace(0, count - 1, min(limit, count))).astype(int))


@dataclass(frozen=True)
class Alignment:
    """How a generated clip lies on the driving clip's time.

    Attributes:
        indices: generated frames to measure.
        times: (len(indices),) their times in driving frames, increasing.
        rule: which rule applied, for the record: ``same frames``, ``frame rates``, ``distinct frames``,
            ``without repeats``, ``one frame in N`` or ``spread evenly``.
    """

    indices: np.ndarray
    times: np.ndarray
    rule: str


def align_frames(
    distinct: np.ndarray,
    driving_count: int,
    generated_count: int,
    driving_fps: float | None = None,
    generated_fps: float | None = None,
    generated_distinct: np.ndarray | None = None,
) -> Alignment:
    """Place the frames of a generated clip on the driving clip's time.

    Args:
        distinct: driving frames that are measured (:func:`distinct_frames`).
        driving_count, generated_count: frames of the two clips, repeats included.
        driving_fps, generated_fps: rates as the files say, ``None`` where unknown.
        generated_distinct: frames of the generated clip that are not repeats, where that is known.

    The first rule that applies decides:

    1. as many frames as the driving clip: frame k belongs to driving frame k, whatever the rates say (result
       clips are often written slowed down);
    2. both rates known and the durations equal within 10 %: by time;
    3. as many frames as the driving clip has distinct ones: one for each;
    4. without its repeats, as many frames as the driving clip has, or has distinct ones: one for each (a result that
       was slowed down by repeating frames);
    5. exactly one whole stride s gives this number of frames (ceil(N / s)): frame k belongs to s·k
       (MRAA's published results show every fifth frame);
    6. otherwise both clips are taken to start and end together.

    Raises:
        MetricError: one of the clips has a single frame, so there is no motion to compare.
    """
    if len(distinct) < 2:
        raise MetricError("the driving clip holds one (distinct) frame: there is no motion to compare with")
    if generated_count < 2:
        raise MetricError("the generated clip holds one frame: give a clip, not a picture")
    everything, last = np.arange(generated_count), float(driving_count - 1)
    if generated_count == driving_count:
        return Alignment(distinct, distinct.astype(np.float64), "same frames")
    if driving_fps and generated_fps:
        ratio = (generated_count / generated_fps) / (driving_count / driving_fps)
        if abs(ratio - 1.0) <= DURATION_TOLERANCE:
            return _within(everything * (driving_fps / generated_fps), last, "frame rates")
    if generated_count == len(distinct):
        return Alignment(everything, distinct.astype(np.float64), "distinct frames")
    repeats = 0 if generated_distinct is None else generated_count - len(generated_distinct)
    if repeats and len(generated_distinct) in (driving_count, len(distinct)):
        whole = len(generated_distinct) == driving_count
        times = np.arange(driving_count) if whole else distinct
        return Alignment(generated_distinct, times.astype(np.float64), "without repeats")
    strides = [s for s in range(2, driving_count) if -(-driving_count // s) == generated_count]
    if len(strides) == 1:
        return _within(everything * float(strides[0]), last, f"one frame in {strides[0]}")
    return Alignment(everything, np.linspace(0.0, last, generated_count), "spread evenly")


def _within(times: np.ndarray, last: float, rule: str) -> Alignment:
    """Drop frames that begin after the driving clip's last one; the first such frame stands for the end."""
    beyond = int(np.searchsorted(times, last))
    count = min(beyond + 1, len(times))
    return Alignment(np.arange(count), np.minimum(times[:count], last), rule)


def resample(curves: np.ndarray, times: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Curves (..., T, 2) known at ``times`` (T,) → linear interpolation at ``at`` (S,): (..., S, 2).

    Outside ``times`` the end values hold.
    """
    if len(times) == len(at) and np.array_equal(times, at):
        return curves
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    span = times[right] - times[right - 1]
    share = np.clip((at - times[right - 1]) / np.where(span > 0, span, 1.0), 0.0, 1.0)[:, None]
    return curves[..., right - 1, :] * (1.0 - share) + curves[..., right, :] * share
