"""Contact sheets: small pictures of faces with their landmarks and key points, for a person to check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faces.crop import Box, apply_crop, box_matrix, transform_points

MAX_TILES = 200
TILE = 160  # pixels
LABEL = 18
GAP = 4
HEADING = 5 * LABEL + 2 * GAP  # title, legend, and the meanings in two columns
MAX_COLUMNS = 16
VIEW_MARGIN = 0.15  # around the points, as a share of their extent
COLOURS = {
    "found": (40, 150, 40),
    "doubtful": (150, 50, 200),
    "template": (230, 120, 0),
    "skipped": (210, 40, 40),
    "kept": (110, 110, 110),
}
MEANINGS = {
    "found": "face found",
    "doubtful": "doubtful face: look",
    "template": "no face, average face used",
    "skipped": "no face, no key points",
    "kept": "file of another program",
}
LEGEND = "green dots: 68 landmarks   red circles: 18 key points"
LANDMARK_COLOUR, KEYPOINT_COLOUR = (90, 255, 90), (255, 60, 60)


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a contact sheet: uint8 (TILE, TILE, 3), the clip's name, a key of COLOURS."""

    image: np.ndarray
    name: str
    status: str


def draw_tile(
    frame: np.ndarray, name: str, status: str, landmarks: np.ndarray | None, points: np.ndarray | None
) -> Tile:
    """A tile that shows the face close up, or the whole frame, uint8 (H, W, 3), where there are no landmarks.

    ``landmarks`` (68, 2) are drawn as small green dots, ``points`` (18, 2) as red circles; pixels of the frame.
    """
    matrix = box_matrix(_view(frame.shape[:2], landmarks), TILE)
    picture = Image.fromarray(apply_crop(frame, matrix, TILE))
    draw = ImageDraw.Draw(picture)
    for marks, radius, colour in ((landmarks, 1, LANDMARK_COLOUR), (points, 3, KEYPOINT_COLOUR)):
        if marks is None:
            continue
        for x, y in transform_points(matrix, marks):
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=colour if radius == 1 else None, outline=colour)
    return Tile(np.asarray(picture), name, status)


def spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of the names, evenly spread over them, in their order."""
    if len(names) <= count:
        return list(names)
    return [names[index * len(names) // count] for index in range(count)]


def contact_sheet(
    tiles: Sequence[Tile], title: str, legend: str = LEGEND, meanings: Mapping[str, str] = MEANINGS
) -> np.ndarray:
    """Tiles in a grid under a title and a legend: uint8 RGB, at most about 2700×2600 pixels.

    ``legend`` explains the marks, ``meanings`` the statuses (keys of COLOURS) and their colours.
    """
    if not 0 < len(tiles) <= MAX_TILES:
        raise ValueError(f"a contact sheet has 1 to {MAX_TILES} tiles, not {len(tiles)}")
    columns = min(MAX_COLUMNS, max(3, math.ceil(math.sqrt(len(tiles)))))
    rows = math.ceil(len(tiles) / columns)
    width, height = TILE + 2 * GAP, TILE + 2 * GAP + LABEL
    sheet = Image.new("RGB", (columns * width, HEADING + rows * height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    _draw_heading(draw, title, sheet.width, legend, meanings)
    for index, tile in enumerate(tiles):
        x, y = index % columns * width, HEADING + index // columns * height
        colour = COLOURS[tile.status]
        draw.rectangle((x + 1, y + 1, x + TILE + 2 * GAP - 2, y + TILE + 2 * GAP - 2), outline=colour, width=2)
        sheet.paste(Image.fromarray(tile.image), (x + GAP, y + GAP))
        draw.text((x + GAP, y + TILE + 2 * GAP), _fit(tile.name, TILE), fill=colour, font=_font())
    return np.asarray(sheet)


def _draw_heading(draw: ImageDraw.ImageDraw, title: str, width: int, legend: str, meanings: Mapping[str, str]) -> None:
    draw.text((GAP, GAP), _fit(title, width - 2 * GAP), fill=(0, 0, 0), font=_font())
    draw.text((GAP, GAP + LABEL), legend, fill=(0, 0, 0), font=_font())
    for index, (status, meaning) in enumerate(meanings.items()):
        x, y = GAP + index % 2 * width // 2, GAP + (2 + index // 2) * LABEL
        draw.text((x, y), f"{status}: {meaning}", fill=COLOURS[status], font=_font())


def _view(frame_size: tuple[int, int], landmarks: np.ndarray | None) -> Box:
    """The square of the frame that a tile shows."""
    height, width = frame_size
    if landmarks is None:
        centre, side = np.array([width / 2, height / 2]), max(height, width)
    else:
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        centre, side = (low + high) / 2, max(8.0, float((high - low).max()) * (1.0 + 2.0 * VIEW_MARGIN))
    x0, y0 = np.rint(centre - side / 2).astype(int)
    side = math.ceil(side)
    return int(x0), int(y0), int(x0) + side, int(y0) + side


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib  # late: 0.06 s, which other commands need not wait

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 11)


def _fit(text: str, width: int) -> str:
    """``text`` cut in the middle to fit ``width`` pixels."""
    shown, keep = text, len(text)
    while keep > 1 and _font().getlength(shown) > width:
        keep -= 1
        head = (keep + 1) // 2
        shown = f"{text[:head]}…{text[len(text) - (keep - head) :]}"
    return shown
