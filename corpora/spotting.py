"""What a report shows of a clip that nobody has coded yet: its crops as they play, and how far the face moves in them.

Both are made when the clip is written and kept in its record; `pipeline` proposes the marks from the curve.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

import media
from faces.crop import transform_points
from metrics.canonical import MetricError
from metrics.motion import measure_motion
from metrics.spotting import motion_curve
from metrics.timing import evenly_spaced
from pages import lay_out

MAX_FRAMES = 3000  # of a clip whose motion is measured: they are held in memory
SHEET_FRAMES, SHEET_COLUMNS, SHEET_SIDE = 60, 10, 144  # of the player's picture; the side in pixels


def describe_motion(folder: Path, matrix: np.ndarray, landmarks: np.ndarray | None, sheet: Path) -> dict:
    """Measure a written clip, and write the picture that the report plays.

    Args:
        folder: the crops.
        matrix: (2, 3), raw → crop.
        landmarks: (68, 2) in raw pixels; None where no face was found.
        sheet: the picture's file.

    Returns:
        for the clip's record: ``curve``, the face's motion since the first frame in percent of the inter-ocular
        distance, None where there is none, and ``no_curve`` says why; ``player``, how the frames lie in the picture.
    """
    clip = media.open_clip(folder)
    chosen = evenly_spaced(len(clip), SHEET_FRAMES)
    small = [media.resize_frame(clip.read([int(index)])[0], SHEET_SIDE, SHEET_SIDE) for index in chosen]
    picture, layout = lay_out(small, chosen, SHEET_COLUMNS)
    media.write_image(sheet, picture)
    found: dict = {"player": asdict(layout), "curve": None, "no_curve": ""}
    if landmarks is None:
        return found | {"no_curve": "no face was found"}
    if len(clip) > MAX_FRAMES:
        return found | {"no_curve": f"it has {len(clip)} frames, and at most {MAX_FRAMES} are searched: cut it"}
    try:
        curve = motion_curve(measure_motion(clip.read_all(), transform_points(matrix, landmarks)))
    except MetricError as error:
        return found | {"no_curve": str(error)}
    if curve is None:
        return found | {"no_curve": "the face hardly moves"}
    return found | {"curve": np.round(100 * curve, 3).tolist()}
