"""Intervals that cover, verdicts that seldom err, and the comparison of methods."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_1samp

from metrics.statistics import FEWEST, REPEATABILITY, chance, compare_methods, interval, mean_over_pairs

TRIALS = 10_000
# Differences of two methods of which neither is better: symmetric about 0.
EQUAL = {
    "normal": lambda rng, size: rng.normal(0.0, 0.1, size),
    "heavy tails": lambda rng, size: rng.standard_t(2, size),
    "each skewed": lambda rng, size: rng.beta(8, 1, size) - rng.beta(8, 1, size),  # as correlations near 1 are
}


def errors(draw: Callable, pairs: int, seed: int = 0) -> tuple[float, float]:
    """Shares of trials whose interval misses 0, and in which one of two equal methods would be called better."""
    values, clips = draw(np.random.default_rng(seed), (TRIALS, pairs)), np.arange(pairs)
    low, high = interval(values, clips)
    missed = (low > 0) | (high < 0)
    # Chance is only asked where the interval leaves the question open: enumerating is most of the work.
    rare = chance(values[missed], clips) <= 0.05
    return missed.mean(), rare.sum() / TRIALS if pairs >= FEWEST else 0.0


@pytest.mark.parametrize("pairs", [3, 5, 12, 30])
def test_normal_differences_are_covered_as_often_as_it_says_and_seldom_called_better(pairs):
    missed, called = errors(EQUAL["normal"], pairs)
    assert 0.04 <= missed <= 0.06
    assert called <= 0.06
    assert called >= 0.04 or pairs < FEWEST, "nor is it deaf"


@pytest.mark.parametrize("name", ["heavy tails", "each skewed"])
def test_equal_methods_of_other_shapes_are_seldom_called_better(name):
    for pairs in (3, 5, 12):
        missed, called = errors(EQUAL[name], pairs)
        assert 0.02 <= missed <= 0.06
        assert called <= 0.06


def test_pairs_of_one_driving_clip_count_together():
    rng, clips = np.random.default_rng(0), np.repeat(np.arange(9), 2)
    common = rng.normal(size=(TRIALS, 9)).repeat(2, axis=1)
    low, high = interval(common + 0.5 * rng.normal(size=(TRIALS, 18)), clips)
    assert 0.04 <= ((low > 0) | (high < 0)).mean() <= 0.06
    alone = interval(common, np.arange(18))
    assert ((alone[0] > 0) | (alone[1] < 0)).mean() > 0.15, "as if independent, they would mislead"


def test_a_clip_a_pair_gives_the_textbooks_numbers():
    values = np.random.default_rng(1).normal(0.3, 1.0, 11)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values, np.arange(11)) == pytest.approx((expected.low, expected.high))
    size = {"statistic": lambda x, axis: abs(x.mean(axis)), "alternative": "greater", "vectorized": True}
    flips = permutation_test((values,), permutation_type="samples", n_resamples=2**11, **size)
    assert chance(values, np.arange(11)) == pytest.approx(flips.pvalue)


def test_few_and_missing_values():
    empty = mean_over_pairs({"a": math.nan})
    assert (empty.count, empty.clips) == (0, 0) and math.isnan(empty.mean)
    single = mean_over_pairs({"a": 0.4, "b": math.nan})
    assert (single.mean, single.count) == (0.4, 1) and math.isnan(single.low)
    one_clip = mean_over_pairs({"c-a": 0.4, "c-b": 0.6}, {"c-a": "c", "c-b": "c"})
    assert (one_clip.mean, one_clip.count, one_clip.clips) == (0.5, 2, 1) and math.isnan(one_clip.low)
    nothing = compare_methods("rho", ("a", {"x": 1.0}), ("b", {"y": 1.0}))
    assert nothing.verdict.startswith("undecided: 0 driving clips") and math.isnan(nothing.chance)


def scores(values: np.ndarray) -> dict[str, float]:
    return {f"pair{i}": float(value) for i, value in enumerate(values)}


def test_a_clear_difference_names_the_better_method():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.3, 0.05, 20), rng.normal(0.6, 0.05, 20)
    found = compare_methods("rho", ("a", scores(low)), ("b", scores(high)))
    assert found.verdict == "b"
    assert found.difference.mean == pytest.approx(-0.3, abs=0.05)
    assert found.chance == pytest.approx(1e-4), "as often as the draws allow"
    assert found.repeatability == pytest.approx(REPEATABILITY["rho"] / math.sqrt(20))
    clips = {f"pair{i}": f"clip{i % 4}" for i in range(20)}
    four = compare_methods("rho", ("a", scores(low)), ("b", scores(high)), clips)
    assert four.verdict == "undecided: 4 driving clips, at least 6 are needed"


def test_differences_within_chance_or_repeatability_are_none():
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.2, 20)
    by_chance = compare_methods("rho", ("a", scores(base)), ("b", scores(base + rng.normal(0.0, 0.3, 20))))
    assert by_chance.verdict == "no difference shown"
    tiny = compare_methods("rho", ("a", scores(base + 0.01)), ("b", scores(base)))  # certain, but below repeatability
    assert tiny.difference.low > 0
    assert tiny.verdict == "no difference beyond repeatability"
    five = compare_methods("rho", ("a", scores(base[:5] + 1)), ("b", scores(base[:5])))
    assert five.verdict.startswith("undecided: 5 driving clips")


def test_only_common_pairs_count():
    found = compare_methods("rho", ("a", {"x": 1.0, "y": 2.0}), ("b", {"y": 1.0, "z": 0.0}))
    assert (found.difference.count, found.difference.mean) == (1, 1.0)
