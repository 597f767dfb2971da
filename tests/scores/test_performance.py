"""What moves in every frame: written peaks and times hold, dry or varied."""

from __future__ import annotations

import numpy as np
import pytest

from scores.notation import ScoreError, parse_score, peak_of
from scores.performance import BLINK_UNIT, perform


def test_dry_is_what_is_written():
    performance = perform(parse_score("6+L12C @ 0.1:0.3:0.7"), fps=100)
    curves = performance.intensities()
    assert performance.units == (6, 12) and len(performance) == 81
    assert (performance.onset, performance.apex, performance.offset) == (10, 30, 70)
    assert np.allclose(curves[30], [[peak_of(6)] * 2, [peak_of(12, "C"), 0]])
    assert np.allclose(curves.max(axis=0), curves[30])
    assert not curves[:11].any() and not curves[70:].any()
    assert not performance.drift.any() and performance.spread == 1


@pytest.mark.parametrize("seed", range(8))
def test_variety_keeps_peaks_and_times(seed):
    score = parse_score("6+12B @ 0.1:0.3:0.7 ; L4 @ 1:1.2:1.5")
    performance = perform(score, fps=100, variety=1, seed=seed)
    curves = performance.intensities()
    for index, unit in enumerate((4, 6, 12)):
        course = curves[:, performance.units.index(unit)].max(axis=1)
        apex = 120 if unit == 4 else 30
        assert course.argmax() == apex and course[apex] == pytest.approx(peak_of(unit))
        onset, offset = (100, 150) if unit == 4 else (10, 70)
        assert not course[: onset + 1].any() and course[onset + 3] > 0 and not course[offset:].any(), index
    assert (performance.onset, performance.offset) == (10, 150)
    assert performance.action_units == "6+12B+L4"
    again = perform(score, fps=100, variety=1, seed=seed)
    assert np.array_equal(again.intensities(), curves) and np.array_equal(again.drift, performance.drift)


def test_variety_varies():
    """Sides differ, the way up is faster than the way down, the head drifts."""
    played = [perform(parse_score("12 @ 0.1:0.3:0.7"), variety=1, seed=seed) for seed in range(20)]
    sides = np.array([p.intensities()[30, p.units.index(12)] for p in played])
    ratio = sides.min(axis=1) / sides.max(axis=1)
    assert 0.7 <= ratio.min() < 0.8 and ratio.max() > 0.95
    assert {int(side) for side in sides.argmin(axis=1)} == {0, 1}
    assert len({p.spread for p in played}) == 20
    assert all(np.abs(p.drift).max() > 0 and not p.drift[0].any() for p in played)
    dry = perform(parse_score("12 @ 0.1:0.3:0.7")).intensities()[20, 0, 0]
    assert all(p.intensities()[20, p.units.index(12)].max() >= dry for p in played)


def test_blinks_come_but_not_into_a_score_that_has_its_own():
    long, own = parse_score("12 @ 0:1:60"), parse_score("12 @ 0:1:60 ; 45 @ 2:2.1:2.3")
    counts = [len(perform(long, 30, 1, seed).parts) - 1 for seed in range(10)]
    assert 4 < np.mean(counts) < 14
    blinking = perform(long, 30, 1, 0)
    assert BLINK_UNIT in blinking.units and blinking.action_units == "12" and blinking.apex == 30
    assert not blinking.intensities()[0].any()
    assert len(perform(own, 30, 1, 0).parts) == 2


def test_faster_than_the_frames():
    with pytest.raises(ScoreError, match=r"12 at 0.1:0.105:0.5 s goes up or down in less than a frame of 100 a second"):
        perform(parse_score("12 @ 0.1:0.105:0.5"), fps=100)
