"""Clips side by side, playing in step: captions above, magnified difference to the first frame below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CAPTION_HEIGHT = 22
GAP = 4
PAPER = 255


def caption(text: str, width: int, height: int = CAPTION_HEIGHT) -> np.ndarray:
    """A line of text, centred, black on white: uint8 (height, width, 3).  Text too long is set smaller."""
    picture = Image.new("RGB", (width, height), (PAPER, PAPER, PAPER))
    draw = ImageDraw.Draw(picture)
    size = height * 0.62
    while draw.textlength(text, font=(font := ImageFont.load_default(size))) > width - 4 and size > 7:
        size -= 0.5
    draw.text((width / 2, height / 2), text, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(picture)


def difference_to_first(frames: np.ndarray, gain: float) -> np.ndarray:
    """128 + gain·(frame − frame 0), clipped: uint8 (N, H, W, 3) → uint8 (N, H, W, 3); grey where nothing changes."""
    difference = frames.astype(np.int16) - frames[0].astype(np.int16)
    return np.clip(128 + np.rint(gain * difference), 0, 255).astype(np.uint8)


def _line(text: str, width: int, count: int) -> np.ndarray:
    """A caption that stays for ``count`` frames."""
    line = caption(text, width)
    return np.broadcast_to(line, (count, *line.shape))


def side_by_side(
    columns: dict[str, np.ndarray],
    foot: Sequence[str] = (),
    difference_gain: float | None = None,
    under: str | None = None,
) -> np.ndarray:
    """One clip that shows several.

    Args:
        columns: caption → frames, uint8 (N, H, W, 3) of one size; clips of fewer frames hold their last one.
        foot: lines of text under the pictures.
        difference_gain: adds a row with :func:`difference_to_first`, magnified so many times.
        under: a line of text right under every picture.

    Returns:
        uint8 (N, height, width, 3), N that of the longest clip; both sides even, as video wants.
    """
    count = max(len(frames) for frames in columns.values())
    size = next(iter(columns.values())).shape[1:3]
    cells = []
    for text, frames in columns.items():
        if frames.shape[1:3] != size:
            raise ValueError(f"clips side by side must have one size: {text} has {frames.shape[1:3]}, the first {size}")
        held = frames[np.minimum(np.arange(count), len(frames) - 1)]
        parts = [_line(text, size[1], count), held]
        if under is not None:
            parts.append(_line(under, size[1], count))
        if difference_gain is not None:
            line = _line(f"change since the first frame, x {difference_gain:g}", size[1], count)
            parts += [line, difference_to_first(held, difference_gain)]
        cell = np.concatenate(parts, axis=1)
        cells.append(np.pad(cell, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=PAPER))
    body = np.concatenate(cells, axis=2)[:, :, :-GAP]
    out = np.concatenate([body, *(_line(line, body.shape[2], count) for line in foot)], axis=1)
    return np.pad(out, ((0, 0), (0, out.shape[1] % 2), (0, out.shape[2] % 2), (0, 0)), constant_values=PAPER)
