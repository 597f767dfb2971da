"""Pages: what is filled in is escaped, what is forgotten is an error, and sheets hold every frame where they say."""

from __future__ import annotations

import jinja2
import numpy as np
import pytest

from pages import lay_out, write_page
from tests.pictures import noise

EMPTY = {"tables": [], "notices": [], "onsets": [], "played": [], "legend": "", "facts": []}


def test_what_is_filled_in_is_escaped(tmp_path):
    write_page(tmp_path / "page.html", "corpus.html", title='<b>"O\'Neil" & ü', **EMPTY)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>&lt;b&gt;&#34;O&#39;Neil&#34; &amp; ü</h1>" in text
    assert "<b>" not in text


def test_a_value_that_is_missing_leaves_the_old_page(tmp_path):
    (tmp_path / "page.html").write_text("old")
    with pytest.raises(jinja2.UndefinedError, match="title"):
        write_page(tmp_path / "page.html", "corpus.html", **EMPTY)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.mark.parametrize(("count", "columns", "rows"), [(5, 2, 3), (4, 2, 2), (3, 8, 1), (1, 1, 1)])
def test_a_sheet_holds_every_frame_where_it_says(count, columns, rows):
    frames = noise(count, 6, 9)
    image, sheet = lay_out(frames, range(count), columns)
    columns = min(columns, count)
    assert (sheet.width, sheet.height, sheet.columns) == (9, 6, columns)
    assert sheet.times == tuple(range(count))
    assert image.shape == (rows * 6, columns * 9, 3) and image.dtype == np.uint8
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        cell = image[row * 6 : row * 6 + 6, column * 9 : column * 9 + 9]
        assert np.array_equal(cell, frames[index] if index < count else np.zeros_like(frames[0]))
