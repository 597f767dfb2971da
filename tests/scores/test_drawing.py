"""Scores made up: the documented distribution, what a corpus shows, a table."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from corpora import ClipRecord, write_clips
from corpora.generated import split_units
from corpora.sample.action_units import CLASS3, EMOTIONS
from scores.drawing import INTENSITY_SHARES, draw_usual, of_corpus, of_table, playable
from scores.notation import ScoreError
from scores.performance import perform


def test_the_usual_distribution_is_as_documented():
    drawn = [draw_usual(np.random.default_rng(seed)) for seed in range(600)]
    counts = Counter(one.emotion for one in drawn)
    assert set(counts) == set(EMOTIONS) and min(counts.values()) > 60
    letters = Counter()
    for one in drawn:
        movements = one.score.movements
        plain = "+".join(f"{side}{unit}" for side, unit, _ in split_units(one.score.action_units))
        assert plain in EMOTIONS[one.emotion] and one.class3 == CLASS3[one.emotion]
        assert len({movement.intensity for movement in movements}) == 1
        letters[movements[0].intensity] += 1
        first, last = min(m.onset for m in movements), movements[0].offset
        assert 0.17 < last - first < 0.501 and {m.offset for m in movements} == {last}
    assert {letter: round(count / 600, 1) for letter, count in letters.items()} == INTENSITY_SHARES
    perform(drawn[0].score, fps=30)
    assert draw_usual(np.random.default_rng(1)) == drawn[1]


def record(name, units, emotion, onset, apex, offset):
    return ClipRecord(name, "train", "casme2", "s", "", 200.0, 80, onset_index=onset, apex_index=apex,
                      offset_index=offset, action_units=units, emotion=emotion, class3="negative")  # fmt: skip


def test_a_corpus_is_drawn_as_it_is(tmp_path):
    rows = [record("a", "L12B+38", "joy", 10, 30, 70), record("b", "4", "anger", 0, 0, 40),
            record("c", "38", "anger", 0, 20, 40), record("d", "4", "anger", 0, 20, None)]  # fmt: skip
    write_clips(tmp_path / "clips.csv", rows)
    draw, notice = of_corpus(tmp_path / "clips.csv")
    assert notice == "units without a shape left out: 38; 2 rows without units, onset or offset left out"
    drawn = [draw(np.random.default_rng(seed)) for seed in range(100)]
    joy = [one.score.movements[0] for one in drawn if one.emotion == "joy"]
    assert 30 < len(joy) < 70 and {(m.unit, m.side, m.intensity) for m in joy} == {(12, "L", "B")}
    durations = [m.offset - m.onset for m in joy]
    assert min(durations) < 0.29 and max(durations) > 0.31  # 60 frames of 200 a second
    assert all(0.24 < m.offset - m.onset < 0.34 for m in joy)
    apices = [(m.apex - m.onset) / (m.offset - m.onset) for m in joy]
    assert 0.25 < np.mean(apices) < 0.4
    assert all(perform(one.score, fps=30) for one in drawn)


def test_a_corpus_without_anything_to_play(tmp_path):
    write_clips(tmp_path / "clips.csv", [record("a", "38", "joy", 1, 2, 3)])
    with pytest.raises(ScoreError, match="none of its 1 rows has action units that can be played"):
        of_corpus(tmp_path / "clips.csv")


def test_a_table_is_drawn(tmp_path):
    (tmp_path / "two.csv").write_text("clip,unit,onset,apex,offset\na,12,0,1,2\nb,6,0,1,2\n")
    draw = of_table(tmp_path / "two.csv")
    assert {draw(np.random.default_rng(seed)).score.text for seed in range(20)} == {"two.csv:a", "two.csv:b"}


def test_labels_of_all_kinds():
    assert playable("R04+12C + ?+ 26") == (["R4", "12C"], {"26"})
