"""Bootstrap intervals and the comparison of methods."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.statistics import REPEATABILITY, bootstrap_mean, compare_methods


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        found = bootstrap_mean(rng.normal(0.3, 1.0, 30), seed=trial)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 199


def test_few_and_missing_values():
    empty = bootstrap_mean([math.nan])
    assert empty.count == 0 and math.isnan(empty.mean)
    single = bootstrap_mean([0.4, math.nan])
    assert (single.mean, single.count) == (0.4, 1) and math.isnan(single.low)
    assert bootstrap_mean([1.0, 2.0]) == bootstrap_mean([1.0, 2.0])


def scores(values: np.ndarray) -> dict[str, float]:
    return {f"pair{i}": float(value) for i, value in enumerate(values)}


def test_a_clear_difference_names_the_better_method():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.3, 0.05, 20), rng.normal(0.6, 0.05, 20)
    found = compare_methods("rho", ("a", scores(low)), ("b", scores(high)))
    assert found.verdict == "b"
    assert found.difference.mean == pytest.approx(-0.3, abs=0.05)
    assert found.repeatability == pytest.approx(REPEATABILITY["rho"] / math.sqrt(20))


def test_differences_within_chance_or_repeatability_are_none():
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.2, 20)
    chance = compare_methods("rho", ("a", scores(base)), ("b", scores(base + rng.normal(0.0, 0.3, 20))))
    assert chance.verdict == "no difference"
    tiny = compare_methods("rho", ("a", scores(base + 0.01)), ("b", scores(base)))  # certain, but below repeatability
    assert tiny.difference.low > 0
    assert tiny.verdict == "no difference"
    two = compare_methods("rho", ("a", scores(base[:2] + 1)), ("b", scores(base[:2])))
    assert two.verdict == "no difference"  # two pairs never decide


def test_only_common_pairs_count():
    found = compare_methods("rho", ("a", {"x": 1.0, "y": 2.0}), ("b", {"y": 1.0, "z": 0.0}))
    assert (found.difference.count, found.difference.mean) == (1, 1.0)
