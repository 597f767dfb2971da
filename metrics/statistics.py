"""Means that can be trusted: bootstrap intervals over clips, and the comparison of two methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95

# How far a figure of one clip moves when nothing changes but the copy: the same two real clips in two independent
# GIFs each (other crop, palette and size), mean |figure − 1| of the four comparisons (metric.md §4).  A mean over n
# clips repeats to within this / √n.
REPEATABILITY: dict[str, float] = {
    "rho": 0.13, "vcor": 0.24, "gain": 0.26, "skill": 0.45, "dir": 0.11, "rho_rel": 0.13, "amp": 0.29,
}  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A figure over clips: mean, bootstrap interval of the mean (95 %), standard deviation, number of clips."""

    mean: float
    low: float
    high: float
    std: float
    count: int


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Summary:
    """Mean of the finite ``values`` with its percentile bootstrap interval (2,000 resamples of the clips).

    Without a finite value everything is NaN; with one, the interval is NaN: one clip says nothing about others.
    """
    values = np.array([value for value in values if math.isfinite(value)], np.float64)
    count = len(values)
    if count == 0:
        return Summary(math.nan, math.nan, math.nan, math.nan, 0)
    if count == 1:
        return Summary(float(values[0]), math.nan, math.nan, math.nan, 1)
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    low, high = np.percentile(values[draws].mean(axis=1), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Summary(float(values.mean()), float(low), float(high), float(values.std(ddof=1)), count)


@dataclass(frozen=True)
class Comparison:
    """One figure of two methods on the same pairs.

    Attributes:
        difference: mean of first − second over the common pairs, with its bootstrap interval.
        repeatability: how far such a mean moves by itself, NaN where that has not been measured.
        verdict: ``first``, ``second``, or ``no difference`` beyond chance and repeatability.
    """

    figure: str
    first: str
    second: str
    difference: Summary
    repeatability: float
    verdict: str


def compare_methods(
    figure: str, first: tuple[str, Mapping[str, float]], second: tuple[str, Mapping[str, float]]
) -> Comparison:
    """Is the first method's figure larger than the second's?

    Args:
        first, second: (name, pair → figure); only pairs both methods have, with finite figures, count.

    The difference counts when its interval excludes 0 and it exceeds the measured repeatability of a mean over as
    many clips; where no repeatability is known, the interval decides alone.  Fewer than three pairs never decide.
    """
    common = [pair for pair in first[1] if pair in second[1]]
    difference = bootstrap_mean([first[1][pair] - second[1][pair] for pair in common])
    limit = REPEATABILITY.get(figure, math.nan) / math.sqrt(max(difference.count, 1))
    clear = difference.count >= 3 and (difference.low > 0 or difference.high < 0)
    if clear and not abs(difference.mean) <= limit:
        verdict = first[0] if difference.mean > 0 else second[0]
    else:
        verdict = "no difference"
    return Comparison(figure, first[0], second[0], difference, limit, verdict)
