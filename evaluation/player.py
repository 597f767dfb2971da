"""Clips that play in step on a page: sheets of frames, controls, and the script that all pages share, ``player.js``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SPEEDS = {"×1": 1.0, "×½": 0.5, "×¼": 0.25, "×0.1": 0.1}


@dataclass(frozen=True)
class Sheet:
    """How the frames of one clip lie in a picture, for the player.

    Attributes:
        width, height: of one frame in pixels.
        columns: frames in a row; rows follow from the top.
        times: driving frame at which each begins to show.
    """

    width: int
    height: int
    columns: int
    times: tuple[float, ...]


def lay_out(frames: Sequence[np.ndarray], times: Iterable[float], columns: int) -> tuple[np.ndarray, Sheet]:
    """Frames (H, W, 3) of one size, uint8, side by side in rows of ``columns`` → the picture, and where they lie."""
    height, width = frames[0].shape[:2]
    columns = min(columns, len(frames))
    rows = math.ceil(len(frames) / columns)
    image = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, frame in enumerate(frames):
        row, column = divmod(place, columns)
        image[row * height : (row + 1) * height, column * width : (column + 1) * width] = frame
    return image, Sheet(width, height, columns, tuple(float(time) for time in times))


def controls(speed: float = 0.25, difference_gain: float | None = None) -> str:
    """HTML of the controls: pause, a frame back and forward, slow motion, and the change since the first frame.

    Args:
        speed: chosen at first, one of ``SPEEDS``.
        difference_gain: offers the change since the first frame, magnified so many times.  The page must then hold its
            sheets as data URIs: browsers do not let a script read the pixels of a file.
    """
    options = "".join(
        f"<option value={value:g}{' selected' if value == speed else ''}>{name}</option>"
        for name, value in SPEEDS.items()
    )
    difference = "" if difference_gain is None else (
        f" <label><input type=checkbox id=difference data-gain={difference_gain:g}> change since the first frame, "
        f"magnified ×{difference_gain:g}</label>"
    )  # fmt: skip
    return (
        "<div class=controls><button id=play>pause</button> <button id=back>◀ frame</button> "
        f"<button id=forward>frame ▶</button> <label>speed <select id=speed>{options}</select></label>{difference} "
        "<span id=position></span></div>"
    )


def figure(sheet: Sheet, source: str, caption: str) -> str:
    """HTML of one clip.

    Args:
        source: URL of the sheet's picture.
        caption: HTML; an element of class ``slow`` in it is filled with the slow-down.
    """
    return (
        f"<figure><canvas width={sheet.width} height={sheet.height} data-columns={sheet.columns} "
        f'data-sheet="{escape(source)}" data-times="{escape(json.dumps(sheet.times))}"></canvas>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def row(frames: int, rate: float, figures: Iterable[str]) -> str:
    """HTML of clips that belong to one driving clip of ``frames`` frames, ``rate`` a second."""
    return f'<div class="row player" data-frames={frames} data-rate={rate:g}>{"".join(figures)}</div>'


def page(title: str, body: str, together: bool = False, style: str = "") -> str:
    """A whole page that needs no network.

    Args:
        body: HTML, with :func:`controls` and rows.
        together: all rows start again when the longest one has ended, the shorter ones hold their last frame; else each
            starts again by itself.
        style: CSS, after ``report.css``.
    """
    return (
        '<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><link rel=icon href=data:,>"
        f"<style>{(HERE / 'report.css').read_text()}{style}</style></head>"
        f"<body{' data-together' if together else ''}>{body}<script>{(HERE / 'player.js').read_text()}</script>"
        "</body></html>\n"
    )
