"""The onset frame of a prepared clip with what was cut from it, and sheets of them, for a person to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import media
from faces.crop import apply_crop, box_matrix, invert_matrix, transform_points
from faces.preview import LANDMARK_COLOUR, MAX_TILES, TILE, Tile, contact_sheet

SURROUNDINGS = 0.3  # shown around the crop, as a share of its longer side
BOX_COLOUR = (255, 60, 60)
LEGEND = "red: what was cut   green dots: 68 landmarks"
MEANINGS = {"found": "cut to the face", "template": "no face, used whole", "skipped": "left out"}


def draw_onset(frame: np.ndarray, matrix: np.ndarray | None, size: int, landmarks: np.ndarray | None) -> np.ndarray:
    """The surroundings of the crop with its outline and the landmarks: uint8 (TILE, TILE, 3).

    Args:
        frame: uint8 RGB (H, W, 3), the onset.
        matrix: (2, 3), frame → crop; None for a clip that was left out.
        size: side of the crop.
        landmarks: (68, 2), pixels of the frame, or None.
    """
    height, width = frame.shape[:2]
    corners = np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], dtype=float)
    if matrix is not None:
        edges = [(-0.5, -0.5), (size - 0.5, -0.5), (size - 0.5, size - 0.5), (-0.5, size - 0.5)]
        corners = transform_points(invert_matrix(matrix), edges)
    low, high = corners.min(axis=0), corners.max(axis=0)
    around = 0.0 if matrix is None else SURROUNDINGS
    side = int(np.ceil((high - low).max() * (1.0 + 2.0 * around)))
    x0, y0 = np.rint((low + high - side) / 2).astype(int)
    view = box_matrix((int(x0), int(y0), int(x0) + side, int(y0) + side), TILE)
    picture = Image.fromarray(apply_crop(frame, view, TILE))
    draw = ImageDraw.Draw(picture)
    if matrix is not None:
        outline = [tuple(point) for point in transform_points(view, corners)]
        draw.line([*outline, outline[0]], fill=BOX_COLOUR, width=2)
    for x, y in transform_points(view, landmarks) if landmarks is not None else ():
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=LANDMARK_COLOUR)
    return np.asarray(picture)


def status_of(entry: dict) -> str:
    """The key of :data:`MEANINGS` for a clip's record."""
    if entry["status"] != "written":
        return "skipped"
    return "found" if entry["landmarks"] is not None else "template"


def write_contact_sheets(out: Path, pictures: Path, entries: dict[str, dict], title: str) -> list[Path]:
    """``contact_sheet_1.png`` … of all clips that have an onset picture; returns the files."""
    tiles = [
        Tile(media.read_image(pictures / f"{name}.png"), name, status_of(entry))
        for name, entry in entries.items()
        if (pictures / f"{name}.png").is_file()
    ]
    for old in out.glob("contact_sheet_*.png"):
        old.unlink()
    sheets = []
    for first in range(0, len(tiles), MAX_TILES):
        number = len(sheets) + 1
        sheets.append(out / f"contact_sheet_{number}.png")
        sheet = contact_sheet(tiles[first : first + MAX_TILES], f"{title}, sheet {number}", LEGEND, MEANINGS)
        media.write_image(sheets[-1], sheet)
    return sheets
