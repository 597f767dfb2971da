"""Proposed onset, apex and offset on curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.spotting import propose_marks

BELL = np.concatenate(
    [np.zeros(5), np.sin(np.linspace(0, np.pi, 21)) ** 2, np.zeros(4)]
)  # apex at 15, rest at 5 and 25


def test_the_marks_of_one_movement():
    onset, apex, offset = propose_marks(BELL)
    assert apex == 15 and 5 <= onset <= 7 and 23 <= offset <= 25


def test_given_marks_stay():
    assert propose_marks(BELL, apex=12)[1] == 12
    assert propose_marks(BELL, onset=3, apex=14, offset=28) == (3, 14, 28)
    assert propose_marks(np.concatenate([BELL, 2 * BELL]), offset=29)[1] == 15  # what is stronger lies behind it


@pytest.mark.parametrize("rest", [0.0, 0.4])
def test_a_face_that_does_not_come_back_to_rest(rest):
    curve = np.concatenate([np.linspace(0, 1, 10), np.linspace(1, rest, 10), np.full(5, rest)])
    _, apex, offset = propose_marks(curve)
    assert apex in (9, 10) and 18 <= offset <= 20
