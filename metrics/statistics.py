"""Means that can be trusted: intervals over driving clips, and the comparison of two methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
EXACT = 13  # driving clips up to which every exchange is tried (4,096); of more, as many as DRAWS at random
DRAWS = 9999
FEWEST = math.ceil(1 - math.log2(1 - LEVEL))  # 6: of fewer driving clips, no exchange is as rare as 1 in 20

# How far a figure of one clip moves when nothing changes but the copy: the same two real clips in two independent
# GIFs each (other crop, palette and size), mean |figure − 1| of the four comparisons (metric.md §4).  A mean over n
# clips repeats to within this / √n.
REPEATABILITY: dict[str, float] = {
    "rho": 0.13, "vcor": 0.24, "gain": 0.26, "skill": 0.45, "dir": 0.11, "rho_rel": 0.13, "amp": 0.29,
}  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A figure over pairs: mean, its interval (95 %), standard deviation, numbers of pairs and driving clips."""

    mean: float
    low: float
    high: float
    std: float
    count: int
    clips: int


@dataclass(frozen=True)
class Comparison:
    """One figure of two methods on the same pairs.

    Attributes:
        difference: of first − second over the common pairs.
        chance: how often methods without a difference would differ by as much, 0 … 1; NaN without a common pair.
        repeatability: how far such a mean moves by itself, NaN where that has not been measured.
        verdict: the better method's name, or why none is.
    """

    figure: str
    first: str
    second: str
    difference: Summary
    chance: float
    repeatability: float
    verdict: str


def _parts(values: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """What each driving clip adds to the mean: (…, pairs) and its clip's number (pairs,) → (…, clips).

    The sum over the clips is the mean over the pairs, however many pairs a clip has.
    """
    shares = (clips[:, None] == np.arange(clips.max() + 1)) / len(clips)
    return values @ shares


def interval(values: np.ndarray, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end, (…) each, of Student's interval (95 %) of the mean of ``values`` (…, pairs).

    Pairs of one driving clip are no independent trials: it is the clips that spread (Liang & Zeger 1986, with Student's
    quantile for their number less one).  With a clip of its own for every pair it is the textbook's.  NaN for one clip.
    """
    mean = values.mean(axis=-1)
    parts = _parts(values - mean[..., None], clips)
    count = parts.shape[-1]
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    error = np.sqrt((parts**2).sum(axis=-1) * count / (count - 1))
    reach = stdtrit(count - 1, (1 + LEVEL) / 2) * error
    return mean - reach, mean + reach


def chance(values: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """How often a mean as far from 0 arises when the two methods change places at random: (…, pairs) → (…) in 0 … 1.

    The sign-flip test (Fisher 1935), exact whatever the distribution: of two equal methods, either may have been
    called the first, clip by clip.  All pairs of a driving clip change together.  (Of methods that differ, yet whose
    means are equal because a few large losses outweigh many small gains, it calls one better in up to 16 %.)
    """
    parts = _parts(values, clips)
    count = parts.shape[-1]
    if count <= EXACT:  # all exchanges that leave the last clip alone: the others are their mirror images
        signs = 1 - 2 * ((np.arange(2 ** (count - 1)) >> np.arange(count)[:, None]) & 1)  # (clips, exchanges)
    else:
        drawn = np.random.default_rng(0).integers(0, 2, (count, DRAWS)) * 2 - 1
        signs = np.concatenate([np.ones((count, 1), int), drawn], axis=1)  # what was found is one of them
    found = np.abs(parts.sum(axis=-1, keepdims=True))
    return (np.abs(parts @ signs) >= found * (1 - 1e-9)).mean(axis=-1)


def _numbers(clips: Iterable[str]) -> np.ndarray:
    """Names of driving clips → their numbers, from 0."""
    order: dict[str, int] = {}
    return np.array([order.setdefault(clip, len(order)) for clip in clips], int)


def mean_over_pairs(values: Mapping[str, float], clips: Mapping[str, str] | None = None) -> Summary:
    """Mean of the finite ``values`` and its interval.

    Args:
        values: pair → figure.
        clips: pair → driving clip; default: each pair has one of its own.

    Without a finite value everything is NaN; of one driving clip, the interval is NaN: it says nothing about others.
    """
    finite = {pair: value for pair, value in values.items() if math.isfinite(value)}
    if not finite:
        return Summary(math.nan, math.nan, math.nan, math.nan, 0, 0)
    found = np.array(list(finite.values()), np.float64)
    numbers = _numbers(clips[pair] if clips else pair for pair in finite)
    low, high = interval(found, numbers)
    std = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return Summary(float(found.mean()), float(low), float(high), std, len(found), int(numbers.max()) + 1)


def compare_methods(
    figure: str,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
    clips: Mapping[str, str] | None = None,
) -> Comparison:
    """Is the first method's figure larger than the second's?

    Args:
        first, second: (name, pair → figure); only pairs both methods have, with finite figures, count.
        clips: pair → driving clip, as in :func:`mean_over_pairs`.

    A method is better where the interval of the difference excludes 0, chance alone reaches the difference in at most
    5 % of exchanges, and it exceeds the measured repeatability of a mean over as many pairs (if that is known).  Fewer
    than :data:`FEWEST` driving clips never decide.
    """
    both = {pair: first[1][pair] - second[1][pair] for pair in first[1] if pair in second[1]}
    both = {pair: value for pair, value in both.items() if math.isfinite(value)}
    difference = mean_over_pairs(both, clips)
    limit = REPEATABILITY.get(figure, math.nan) / math.sqrt(max(difference.count, 1))
    numbers = _numbers(clips[pair] if clips else pair for pair in both)
    by_chance = float(chance(np.array(list(both.values())), numbers)) if both else math.nan
    if difference.clips < FEWEST:
        verdict = f"undecided: {difference.clips} driving clips, at least {FEWEST} are needed"
    elif not (difference.low > 0 or difference.high < 0) or by_chance > 1 - LEVEL:
        verdict = "no difference shown"
    elif abs(difference.mean) <= limit:
        verdict = "no difference beyond repeatability"
    else:
        verdict = first[0] if difference.mean > 0 else second[0]
    return Comparison(figure, first[0], second[0], difference, by_chance, limit, verdict)
