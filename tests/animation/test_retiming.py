"""When a movement happens: rates, new marks, curves, and texts that are none of these."""

from __future__ import annotations

import numpy as np
import pytest

from animation.retiming import Marks, Retiming, RetimingError, moved_marks, read_curve

DRIVING = Marks(2, 12, 30)
FRAMES = 41


def curve_file(tmp_path, text: str):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return str(path)


# ------------------------------------------------------------------------------------------ rates
@pytest.mark.parametrize("rate", [25, 30, 50, 60, 100, 200])
@pytest.mark.parametrize("fps", [100.0, 200.0, 29.97])
def test_another_rate_keeps_the_duration_and_the_speed(rate, fps):
    positions = Retiming(output_fps=rate).positions(FRAMES, fps)
    assert abs(len(positions) / rate - FRAMES / fps) <= 0.5 / rate + 1e-9
    assert positions[0] == 0 and positions[-1] <= FRAMES - 1
    inside = positions[positions < FRAMES - 1]
    assert np.allclose(inside, np.arange(len(inside)) * fps / rate)


def test_the_own_rate_is_every_frame_once():
    assert np.array_equal(Retiming(output_fps=100).positions(5, 100.0), np.arange(5))
    assert Retiming(output_fps=1).positions(5, 100.0) == [0], "one frame at least"
    assert not Retiming() and Retiming(output_fps=100) and Retiming("0:1:2")
    assert Retiming().rate(200.0) == 200 and Retiming(output_fps=25).rate(200.0) == 25


# ------------------------------------------------------------------------------------------ marks
def test_marks_come_where_they_are_asked_for():
    positions = Retiming("5:25:65").positions(FRAMES, 100.0, DRIVING)
    assert [positions[i] for i in (5, 25, 65)] == [2, 12, 30]
    assert np.array_equal(positions[:6], np.full(6, 2.0)), "still until the onset"
    assert np.allclose(np.diff(positions[5:26]), 10 / 20) and np.allclose(np.diff(positions[25:66]), 18 / 40)
    assert np.allclose(np.diff(positions[65:]), 1.0), "what follows plays at its own speed"
    assert positions[-1] == FRAMES - 1


def test_marks_in_seconds():
    frames = Retiming("0:20:60", output_fps=200).positions(FRAMES, 100.0, DRIVING)
    seconds = Retiming("0s:0.1s:0.3s", output_fps=200).positions(FRAMES, 100.0, DRIVING)
    assert np.array_equal(frames, seconds)
    assert np.allclose(np.diff(frames[60:]), 0.5), "100 frames a second, shown at 200"


def test_a_movement_that_ends_with_the_clip():
    positions = Retiming("0:10:20").positions(31, 100.0, Marks(0, 15, 30))
    assert len(positions) == 21 and positions[-1] == 30 and positions[10] == 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:20", r"retime is '0:20'; legal: onset:apex:offset.*CSV file with the columns time"),
        ("fast", "retime is 'fast'"),
        ("0:-5:20", "retime is"),
        ("0:20:10", "onset 0, apex 20 and offset 10 should follow one another"),
        ("0s:0.2s:0.1s", "should follow one another"),
        ("5:5:20", "should follow one another"),
        ("5:20:20", "should follow one another"),
        ("0:0.1s:20", "all in frames.*or all in seconds"),
        ("nowhere.csv", "no such curve file: nowhere.csv"),
    ],
)
def test_texts_that_are_no_timing(text, message):
    with pytest.raises(RetimingError, match=message):
        Retiming(text)


def test_driving_marks_that_do_not_fit():
    with pytest.raises(RetimingError, match="offset is frame 30, but it has 30 frames"):
        Retiming("0:1:2").positions(30, 100.0, DRIVING)
    with pytest.raises(RetimingError, match="onset 3, apex 3 and offset 9 should follow"):
        Marks(3, 3, 9)


# ------------------------------------------------------------------------------------------ curves
def test_a_curve_is_followed(tmp_path):
    """Forwards, still, backwards; a byte order mark, blanks and further columns do no harm."""
    text = "\ufefftime, position ,note\n0,0,a\n0.1,10,b\n0.2,10,c\n0.4,0,d\n"
    positions = Retiming(curve_file(tmp_path, text)).positions(11, 100.0)
    assert len(positions) == 41
    assert np.allclose(positions[:11], np.arange(11)) and np.allclose(positions[10:21], 10)
    assert np.allclose(positions[20:], np.linspace(10, 0, 21))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n0,0\n1,1\n", r"has the columns a, b; a curve has time \(seconds\) and position"),
        ("", r"has the columns \(none\)"),
        ("time,position\n0,0\n", "has 1 rows; a curve needs at least two"),
        ("time,position\n0,0\n0.1,x\n", r"line 3: position is 'x'; legal: a number from 0"),
        ("time,position\n0,0\n0.1,-1\n", r"line 3: position is '-1'"),
        ("time,position\n0,0\n0.1,nan\n", r"line 3: position is 'nan'"),
        ("time,position\n0,0\n0.1\n", r"line 3: position is ''"),
        ("time,position\n0.5,0\n0.6,1\n", "the first time is 0.5; a curve starts at 0"),
        ("time,position\n0,0\n0.2,1\n0.1,2\n", "time 0.1 comes after 0.2; times have to rise"),
        ("time,position\n0,0\n0.2,1\n0.2,2\n", "have to rise"),
    ],
)
def test_files_that_are_no_curve(tmp_path, text, message):
    with pytest.raises(RetimingError, match=message):
        read_curve(curve_file(tmp_path, text))


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_bytes(b"\xff\xfd\x00\x80")
    with pytest.raises(RetimingError, match="no CSV file in UTF-8"):
        read_curve(path)


def test_a_curve_that_leaves_the_clip(tmp_path):
    path = curve_file(tmp_path, "time,position\n0,0\n1,40\n")
    assert Retiming(path).positions(41, 100.0)[-1] == 40
    with pytest.raises(RetimingError, match="goes to position 40, but the driving clip has 40 frames: 0 to 39"):
        Retiming(path).positions(40, 100.0)


# ------------------------------------------------------------------------------------------ marks of the result
def test_marks_move_along():
    positions = Retiming("5:25:65").positions(FRAMES, 100.0, DRIVING)
    assert moved_marks(positions, 2, 12, 30) == (5, 25, 65)
    assert moved_marks(positions, 0, None, 40) == (5, None, len(positions) - 1)
    assert moved_marks(np.arange(41.0), 2, 12, 30) == (2, 12, 30)
    assert moved_marks(Retiming(output_fps=50).positions(41, 100.0), 2, 12, 30) == (1, 6, 15)
