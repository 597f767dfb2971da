"""Clips side by side: every pixel of every clip is there, in step."""

from __future__ import annotations

import numpy as np
import pytest

from media.side_by_side import CAPTION_HEIGHT, GAP, caption, difference_to_first, side_by_side
from tests.pictures import noise


def test_pictures_are_placed_unchanged():
    one, other = noise(4, 20, 100), noise(4, 20, 100, seed=1)
    out = side_by_side({"one": one, "other": other})
    assert out.shape == (4, CAPTION_HEIGHT + 20, 200 + GAP, 3)
    assert out.dtype == np.uint8
    assert np.array_equal(out[:, CAPTION_HEIGHT:, :100], one)
    assert np.array_equal(out[:, CAPTION_HEIGHT:, 100 + GAP :], other)
    assert (out[:, :, 100 : 100 + GAP] == 255).all()


def test_captions_differ_and_stand_above():
    frames = noise(1, 20, 100)
    texts = [side_by_side({text: frames})[0, :CAPTION_HEIGHT] for text in ("driving", "source")]
    assert all((picture < 128).any() for picture in texts)
    assert not np.array_equal(*texts)


def test_shorter_clips_hold_their_last_frame():
    long, short = noise(5, 20, 100), noise(2, 20, 100, seed=1)
    out = side_by_side({"long": long, "short": short})
    assert len(out) == 5
    for index in range(5):
        assert np.array_equal(out[index, CAPTION_HEIGHT:, 100 + GAP :], short[min(index, 1)])


def test_difference_row():
    frames = np.full((3, 20, 100, 3), 100, np.uint8)
    frames[1] += 3
    frames[2] -= 60
    assert difference_to_first(frames, 10)[:, 0, 0, 0].tolist() == [128, 158, 0]
    assert difference_to_first(frames, 0.5)[:, 0, 0, 0].tolist() == [128, 130, 98]  # 1.5 is rounded to even
    out = side_by_side({"a": frames}, difference_gain=10)
    below = out[:, CAPTION_HEIGHT + 20 + CAPTION_HEIGHT :]
    assert np.array_equal(below, difference_to_first(frames, 10))


@pytest.mark.parametrize("size", [(21, 101), (20, 101), (21, 100), (20, 100)])
def test_sides_are_even_for_video(size):
    out = side_by_side({"a": noise(2, *size)}, foot=["a line", "another one"])
    assert out.shape[1] % 2 == out.shape[2] % 2 == 0
    assert np.array_equal(out[:, CAPTION_HEIGHT : CAPTION_HEIGHT + size[0], : size[1]], noise(2, *size))
    assert out.shape[1] - 3 * CAPTION_HEIGHT - size[0] in (0, 1)


def test_different_sizes_are_named():
    with pytest.raises(ValueError, match=r"one size: b has \(20, 40\), the first \(20, 30\)"):
        side_by_side({"a": noise(1, 20, 30), "b": noise(1, 20, 40)})


def test_long_captions_are_set_smaller():
    text = "a caption that would not fit at its full size"
    picture = caption(text, 260)
    dark = np.nonzero((picture < 128).any(axis=(0, 2)))[0]
    assert picture.shape == (CAPTION_HEIGHT, 260, 3)
    assert dark.min() >= 1 and dark.max() <= 258
    heights = [np.nonzero((caption("Xx", width) < 128).any(axis=(1, 2)))[0] for width in (200, 14)]
    assert np.ptp(heights[0]) > np.ptp(heights[1])
