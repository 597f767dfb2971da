"""Scores as tables: movements, OpenFace's frames, and the truth of a played score read back."""

from __future__ import annotations

import numpy as np
import pytest

from scores.notation import USUAL_TIME, ScoreError, parse_score, peak_of
from scores.performance import perform
from scores.tables import read_scores


def written(folder, text, name="table.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_rows_of_movements(tmp_path):
    path = written(tmp_path, "clip,unit,side,intensity,onset,apex,offset\n"
                   "smile,6,,,0.1,0.2,0.5\nsmile,12,L,C*0.5,0.15,0.3,0.6\nfrown,4,B,D,,,\n")  # fmt: skip
    scores = read_scores(path)
    assert list(scores) == ["smile", "frown"]
    expected = parse_score("6 @ 0.1:0.2:0.5 ; L12C*0.5 @ 0.15:0.3:0.6").movements
    assert scores["smile"].movements == expected
    (frown,) = scores["frown"].movements
    assert (frown.peak, frown.onset, frown.intensity) == (peak_of(4, "D"), USUAL_TIME[0], "D")
    assert list(read_scores(written(tmp_path, "unit;onset;apex;offset\n12;0;1;2\n"))) == ["table"]


def test_openface_frames(tmp_path):
    """Column names with blanks, as OpenFace writes them; a unit without a shape and a lost face are said."""
    rows = ["frame, face_id, timestamp, confidence, success, AU06_r, AU12_r, AU26_r, AU12_c"]
    for t, value in enumerate((0.5, 1.0, 9.0, 2.5)):
        rows.append(f"{t + 1}, 0, {t * 0.1:.2f}, 0.98, {int(value != 9)}, 0.5, {min(value, 5)}, 1.0, 1")
    score = read_scores(written(tmp_path, "\n".join(rows)))["table"]
    assert score.units == (6, 12) and score.action_units == "12"
    assert score.notice == "AU26 left out, which have no shape; 1 frames without a face bridged"
    assert np.allclose(score.times, [0, 0.1, 0.3])
    assert not score.peaks[:, 0].any()  # 6 stays as it was
    between_b_and_c = (peak_of(12, "B") + peak_of(12, "C")) / 2
    assert np.allclose(score.peaks[-1, 1], between_b_and_c - peak_of(12, "A") / 2)


def test_sides_frame_by_frame_are_played_as_they_are(tmp_path):
    text = "timestamp,AU12_L,AU12_R\n0,0,0\n0.1,0.04,0.01\n0.2,0.02,0.02\n"
    score = read_scores(written(tmp_path, text))["table"]
    performance = perform(score, fps=10)
    assert np.allclose(performance.intensities(), [[[0, 0]], [[0.04, 0.01]], [[0.02, 0.02]]])
    assert (performance.onset, performance.apex, performance.offset) == (0, 1, 2)
    assert performance.action_units == "12"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unit,onset,apex,offset\n13,0,1,2\n", "line 2, column 'unit': '13' is no action unit"),
        ("unit,side,onset,apex,offset\n12,X,0,1,2\n", "line 2, column 'side': 'X'; legal: L, R"),
        ("unit,intensity,onset,apex,offset\n12,F,0,1,2\n", "line 2, column 'intensity': 'F'; legal: A to E"),
        ("unit,onset,apex,offset\n12,0,1,\n", "line 2, column 'offset': ''; legal: onset:apex:offset"),
        ("unit,onset,apex,offset\n12,2,1,3\n", "columns onset, apex, offset: '2:1:3' is no possible timing"),
        ("unit,onset,apex,offset\n", "has no row"),
        ("clip,smile\na,1\n", "has the columns clip, smile; needed are unit, side, intensity"),
        ("timestamp,AU12_r\n0,0\n0,1\n", "line 3, column 'timestamp': 0 comes after 0; times have to rise"),
        ("timestamp,AU12_r\n0,0\n1,7\n", "line 3, column 'AU12_r': '7'; legal: a number from 0 to 5"),
        ("timestamp,AU12_r\n0,0\n", "1 frames with a face"),
        ("timestamp,face_id,AU12_r\n0,0,0\n1,1,0\n", "several faces"),
    ],
)
def test_an_error_names_line_and_column(tmp_path, text, said):
    with pytest.raises(ScoreError) as error:
        read_scores(written(tmp_path, text))
    assert said in str(error.value) and "table.csv" in str(error.value)


def test_no_such_table(tmp_path):
    with pytest.raises(ScoreError, match="no such table"):
        read_scores(tmp_path / "none.csv")
