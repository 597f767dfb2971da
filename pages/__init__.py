"""HTML pages that need no network: templates, their shared style, and the player that shows clips in step.

Every page is a template of this folder, filled by the module whose results it shows; whatever is filled in is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

import media

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(path: str | Path, template: str, **values: object) -> None:
    """Fill a template of this folder, as ``comparison.html``, and write the page; it appears when it is whole."""
    with media.atomic_path(path) as temporary:
        temporary.write_text(_templates.get_template(template).render(values) + "\n", encoding="utf-8")


def data_url(content: bytes, kind: str) -> str:
    """A file inside the page, of MIME type ``kind``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


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
    cells = np.pad(np.stack(frames), ((0, -len(frames) % columns), (0, 0), (0, 0), (0, 0)))
    image = cells.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)
    return image, Sheet(width, height, columns, tuple(float(time) for time in times))
