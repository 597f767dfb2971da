"""The project's only reader of images and video, frame rates included.  Frames are uint8 RGB arrays (H, W, 3)."""

from __future__ import annotations

import abc
import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from media.names import CLIP_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError, clip_name, frame_files, nested


def to_rgb8(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Any grey, grey+alpha, RGB or RGBA image → uint8 (H, W, 3).

    uint8 goes straight through; 16-bit is divided by 257, floats are taken as [0, 1], booleans as black and white.
    Transparent pixels are laid over black.
    """
    image = np.asarray(image)
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype in (np.uint16, np.int32, np.uint32):  # Pillow opens 16-bit grey as int32
        image = np.clip((image.astype(np.float64) / 257.0).round(), 0, 255).astype(np.uint8)
    elif np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all():
            raise MediaError(f"{name} holds NaN or infinite values")
        image = np.clip((image * 255.0).round(), 0, 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise MediaError(f"{name} has values of type {image.dtype}; legal are 8-bit, 16-bit and float images")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise MediaError(f"{name} has shape {image.shape}; legal are (H, W), (H, W, 1…4)")
    if image.shape[2] in (2, 4):
        alpha = image[..., -1:].astype(np.uint16)
        image = ((image[..., :-1].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)


def read_image(path: str | Path) -> np.ndarray:
    """One picture as uint8 RGB (H, W, 3), upright as its EXIF orientation says.

    Raises:
        MediaError: the file is missing, broken or no picture.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(f"no such picture: {path}")
    return decode_image(path, str(path))


def decode_image(file: Path | BinaryIO, name: str) -> np.ndarray:
    """One picture, from a path or an open file, as :func:`read_image` gives it; ``name`` is for errors."""
    try:
        with Image.open(file) as picture:
            if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            array = np.asarray(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise MediaError(f"cannot read {name}: it is no picture, or damaged") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"cannot read {name}: {error}") from error
    return to_rgb8(array, name)


def resize_frame(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3) → uint8 (height, width, 3): area averaging when shrinking, bicubic when enlarging."""
    if frame.shape[:2] == (height, width):
        return frame
    import cv2

    shrinking = height < frame.shape[0] or width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


class Clip(abc.ABC):
    """A clip opened for reading: ``for frame in clip`` streams it, ``clip.read([0, 5])`` picks frames.

    Attributes:
        path, name: where it is and what it is called.
        fps: frames a second as the file says, ``None`` where it does not (folders, strips).
    """

    fps: float | None = None

    def __init__(self, path: Path):
        self.path = path
        self.name = clip_name(path)

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]: ...

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ``indices`` (any order, repeats allowed): uint8 (n, H, W, 3)."""
        wanted = {int(index) for index in indices}
        frames = itertools.islice(self, max({-1, *wanted}) + 1)
        found = {index: frame for index, frame in enumerate(frames) if index in wanted}
        if missing := wanted - found.keys():
            raise MediaError(f"{self.path} has no frame {min(missing)}")
        return np.stack([found[int(index)] for index in indices])

    def first(self) -> np.ndarray:
        """Frame 0, the onset: uint8 (H, W, 3)."""
        return self.read([0])[0]

    def read_all(self) -> np.ndarray:
        """The whole clip: uint8 (N, H, W, 3)."""
        return np.stack(list(self))

    def _inside(self, indices: Sequence[int]) -> list[int]:
        for index in indices:
            if not 0 <= index < len(self):
                raise MediaError(f"{self.path} has no frame {index}: it holds {len(self)} frames")
        return [int(index) for index in indices]


class FolderClip(Clip):
    """A folder of frames, read one by one in natural order."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.files = frame_files(path)
        if not self.files:
            remedy = nested(path) or f"Expected image files ({', '.join(IMAGE_SUFFIXES)})"
            raise MediaError(f"no frames in {path}. {remedy}.")

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._decoded(self.files)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return np.stack(list(self._decoded([self.files[index] for index in self._inside(indices)])))

    def _decoded(self, files: list[Path]) -> Iterator[np.ndarray]:
        size = None
        for file in files:
            frame = read_image(file)
            size = size or frame.shape
            if frame.shape != size:
                raise MediaError(
                    f"frames of {self.path} differ in size: {file.name} is {frame.shape[1]}×{frame.shape[0]}, "
                    f"the first one {size[1]}×{size[0]} (width × height). Crop or resize the clip to one size."
                )
            yield frame


class ArrayClip(Clip):
    """A clip that is decoded whole: an image strip, a picture, a GIF, or frames already in memory."""

    def __init__(self, path: Path, frames: np.ndarray, fps: float | None = None):
        super().__init__(path)
        self.frames, self.fps = frames, fps

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.frames)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return self.frames[self._inside(indices)]


class VideoClip(Clip):
    """A video decoded by ffmpeg, streamed frame by frame; what a truncated file still holds is kept, with a warning."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._length: int | None = None
        try:
            with contextlib.closing(imageio.get_reader(path, "ffmpeg")) as reader:
                meta = reader.get_meta_data()
        except Exception as error:  # imageio raises a different type for every way a file can be broken
            raise MediaError(f"cannot read the video {path}: {_last_line(error)}") from error
        self.fps = float(meta["fps"]) if meta.get("fps") else None
        duration = meta.get("duration") or 0.0
        self._expected = int(round(duration * self.fps)) if self.fps else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        with contextlib.closing(imageio.get_reader(self.path, "ffmpeg")) as reader:
            frames = iter(reader)
            while True:
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                except Exception as error:  # a broken frame ends the clip; the good ones before it are kept
                    warnings.warn(f"{self.path}: decoding stopped after {count} frames ({_last_line(error)})")
                    break
                count += 1
                yield to_rgb8(np.asarray(frame), f"{self.path}, frame {count - 1}")
        if count == 0:
            raise MediaError(f"no frame of {self.path} can be decoded")
        if self._length is None and count < self._expected - 2:
            warnings.warn(
                f"{self.path} is truncated: {count} of about {self._expected} frames can be read "
                "(or its sound lasts longer than its picture)"
            )
        self._length = count

    def __len__(self) -> int:
        if self._length is None:
            for _ in self:
                pass
        return self._length


def _last_line(error: BaseException | str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _read_gif(path: Path) -> ArrayClip:
    frames, durations = [], []
    try:
        with Image.open(path) as picture:
            for frame in ImageSequence.Iterator(picture):
                frames.append(np.asarray(frame.convert("RGB")))
                durations.append(frame.info.get("duration", 0))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if not frames:
            raise MediaError(f"cannot read {path}: {error}") from error
        warnings.warn(f"{path} is truncated: decoding stopped after {len(frames)} frames ({error})")
    mean = float(np.mean(durations)) if durations else 0.0
    return ArrayClip(path, np.stack(frames), fps=1000.0 / mean if mean > 0 else None)


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


def open_clip(path: str | Path, frame_size: tuple[int, int] | None = None) -> Clip:
    """Open a clip of any kind.

    Args:
        path: folder of frames, video, GIF, picture or strip.
        frame_size: (height, width) of the data set's frames, used to cut strips apart.

    Raises:
        MediaError: nothing there, no frames, or nothing that decodes.
    """
    path = Path(path)
    if path.is_dir():
        return FolderClip(path)
    if not path.is_file():
        raise MediaError(f"no such clip: {path}")
    suffix = path.suffix.lower()
    if suffix == ".gif":
        return _read_gif(path)
    if suffix in VIDEO_SUFFIXES:
        return VideoClip(path)
    if suffix in IMAGE_SUFFIXES:
        return ArrayClip(path, split_strip(read_image(path), frame_size, path))
    raise MediaError(f"{path} is no clip: legal are folders of frames and {', '.join(CLIP_SUFFIXES)}")
