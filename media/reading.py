"""Opening clips of any kind, by what they hold.  Frames are uint8 RGB arrays (H, W, 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from media import content
from media.clips import ArrayClip, Clip, FolderClip
from media.names import CLIP_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError
from media.pictures import read_pages
from media.video import VideoClip


def open_clip(path: str | Path, frame_size: tuple[int, int] | None = None) -> Clip:
    """Open a clip of any kind.

    Args:
        path: folder of frames, video, GIF, picture or strip, or several pictures in one file (TIFF, APNG, WebP).  What
            a file is, its first bytes say.
        frame_size: (height, width) of the data set's frames, used to cut strips apart.

    Raises:
        MediaError: nothing there, no frames, or nothing that decodes.
    """
    path = Path(path)
    if path.is_dir():
        return FolderClip(path)
    if not path.is_file():
        raise MediaError(f"no such clip: {path}")
    found, suffix = content.identify(path), path.suffix.lower()
    if found is not None and found.kind == content.FOREIGN:
        raise MediaError(content.refusal(str(path), found))
    if found is not None and found.kind == content.PICTURE:
        frames, fps = read_pages(path)
        is_strip = len(frames) == 1 and found.name != "GIF"
        return ArrayClip(path, split_strip(frames[0], frame_size, path) if is_strip else frames, fps)
    if found is not None or (suffix in VIDEO_SUFFIXES and suffix != ".gif"):
        return VideoClip(path)
    if suffix in CLIP_SUFFIXES:
        what = "picture" if suffix in IMAGE_SUFFIXES else "GIF"
        raise MediaError(f"cannot read {path}: it is no {what}, or damaged")
    raise MediaError(f"{path} is no clip: legal are folders of frames and {', '.join(CLIP_SUFFIXES)}")


def split_strip(image: np.ndarray, frame_size: tuple[int, int] | None, path: str | Path = "strip") -> np.ndarray:
    """An image strip (H, n·w, 3) → frames (n, H, w, 3).

    The frame's width follows from ``frame_size`` (height, width) by its aspect ratio, and is H (square frames)
    without one.  A picture no wider than one frame, or whose width is not a whole number of frames while it is
    less than twice as wide as one, is a single frame.
    """
    height, width = image.shape[:2]
    frame_width = height if frame_size is None else int(round(height * frame_size[1] / frame_size[0]))
    if width % frame_width == 0:
        return np.stack(np.split(image, width // frame_width, axis=1))
    if width < 2 * frame_width:
        return image[None]
    raise MediaError(
        f"{path} is {width}×{height} (width × height): not a whole number of frames {frame_width} pixels wide. "
        "Set dataset_params.frame_shape to the frames' [height, width, 3], or use a folder of frames."
    )
