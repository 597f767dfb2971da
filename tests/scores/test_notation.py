"""Scores as text: what is read, and what an error says."""

from __future__ import annotations

import pytest

from corpora.sample.action_units import ACTION_UNITS
from scores.notation import INTENSITIES, REACH, USUAL_TIME, Movement, ScoreError, parse_score, peak_of


def test_units_sides_intensities_and_factors():
    score = parse_score("6 + L12B+R4C*0.5")
    assert [(m.unit, m.side, m.intensity) for m in score.movements] == [(6, "B", ""), (12, "L", "B"), (4, "R", "C")]
    assert [m.peak for m in score.movements] == [peak_of(6, "B"), peak_of(12, "B"), 0.5 * peak_of(4, "C")]
    assert {(m.onset, m.apex, m.offset) for m in score.movements} == {USUAL_TIME}
    assert score.action_units == "6+L12B+R4C"


def test_intensities_rise_and_micro_ones_are_small():
    peaks = [INTENSITIES[letter] for letter in "ABCDE"]
    assert peaks == sorted(peaks) and peaks[-1] == 1
    assert set(REACH) == set(ACTION_UNITS)
    assert max(REACH[unit] * INTENSITIES["B"] for unit in REACH) <= 0.04  # the sample's micro-expressions


def test_the_last_time_is_that_of_all_without_their_own():
    assert parse_score("4C+7 @ 0.10:0.25:0.60").movements == (
        Movement(4, "B", peak_of(4, "C"), 0.1, 0.25, 0.6, "C"), Movement(7, "B", peak_of(7), 0.1, 0.25, 0.6),
    )  # fmt: skip
    own = parse_score("6@0.1:0.2:0.5 + 12@.15:.3:.6 ; 45 @ 0.8:0.9:1.1; 1").movements
    assert [m.apex for m in own] == [0.2, 0.3, 0.9, USUAL_TIME[1]]


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("6+13", 3, "'13' is no action unit that has a shape; legal: 1, 2, 4,"),
        ("6+12F", 5, "'F' does not belong here; legal: "),
        ("smile", 1, "'smile' does not belong here"),
        ("6 12", 3, "'12' does not belong here"),
        ("12+ +6", 5, "a unit is missing"),
        ("12B@0.1:0.2:0.5;", 17, "a unit is missing"),
        ("", 1, "a unit is missing"),
        ("12 @ 0.3:0.1:0.5", 6, "'0.3:0.1:0.5' is no possible timing; legal: onset:apex:offset in seconds"),
        ("1 ; 12 @ 0.3", 10, "'0.3' is no timing; legal: onset:apex:offset"),
        ("12 @ 0:1:1e9", 6, "is no timing"),
        ("12 @ 0:1:9999", 6, "at most 3600"),
        ("6+12B*0", 7, "factor '0'; legal: above 0, at most 10"),
    ],
)
def test_an_error_names_the_place_and_what_is_legal(text, column, said):
    with pytest.raises(ScoreError) as error:
        parse_score(text)
    assert f"score {text!r}, column {column}: " in str(error.value)
    assert said in str(error.value)
