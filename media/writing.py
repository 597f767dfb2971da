"""The project's only writer of images and video.  Every writer is atomic (:mod:`media.atomic`)."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import math
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import imageio_ffmpeg
import numpy as np
from PIL import Image, PngImagePlugin

from media.atomic import atomic_path, scratch_folder
from media.names import MediaError
from media.ownership import MARK
from media.video import last_line

# RGB → YUV by the matrix that players expect, and tags that say so: range, primaries, transfer, matrix.
BT709 = [
    "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
]  # fmt: skip
_PNG_HEADER = 33  # bytes: signature and IHDR chunk, after which other chunks may come
_PNG_TEXT = b"tEXtSoftware\0" + MARK
_PNG_MARK = struct.pack(">I", len(_PNG_TEXT) - 4) + _PNG_TEXT + struct.pack(">I", zlib.crc32(_PNG_TEXT))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) or (H, W), atomically; the suffix chooses the format."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", MARK)
    with atomic_path(path) as temporary:  # PNG: in half the time of Pillow's level 6, and 7 % larger
        Image.fromarray(np.asarray(image)).save(temporary, compress_level=3, pnginfo=text)


def fast_png(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG file, in a quarter of the time that Pillow takes.

    Colour face crops come out a tenth larger than at zlib's level 3, smooth grey ones more than twice as large.

    Raises:
        MediaError: an image of another type or shape, which OpenCV would convert; or one that it cannot write.
    """
    import cv2

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise MediaError(f"cannot write an image of {image.dtype} {image.shape}: legal is uint8 (H, W, 3)")
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise MediaError(f"OpenCV cannot write a PNG of {image.shape[1]}×{image.shape[0]} (width × height)")
    data = data.tobytes()
    return data[:_PNG_HEADER] + _PNG_MARK + data[_PNG_HEADER:]


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG file, small."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


Append = Callable[[np.ndarray], None]


class _Spool:
    """Frames of one shape kept on disk while a clip is being made, so that its length costs no memory."""

    def __init__(self, file: BinaryIO):
        self._file, self.shape, self.count = file, (), 0

    def append(self, frame: np.ndarray) -> None:
        self.shape = self.shape or frame.shape
        _require_shape(frame, self.shape)
        self._file.write(np.ascontiguousarray(frame, dtype=np.uint8).tobytes())
        self.count += 1

    def frames(self, step: int = 1) -> Iterator[np.ndarray]:
        """Every ``step``-th frame, read one by one: of a mapped file, all that was read would stay in memory."""
        size = math.prod(self.shape)
        for index in range(0, self.count, step):
            self._file.seek(index * size)
            yield np.frombuffer(self._file.read(size), dtype=np.uint8).reshape(self.shape)


def _require_shape(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.shape != shape:
        raise MediaError(f"a frame of shape {frame.shape} does not fit a clip of {shape}")


def _require_frames(any_written: bool, path: str | Path) -> None:
    if not any_written:
        raise MediaError(f"there are no frames to write to {path}")


@contextlib.contextmanager
def _spooled(path: str | Path) -> Iterator[_Spool]:
    """A spool beside ``path``."""
    with scratch_folder(path) as folder, open(folder / "spool.raw", "w+b") as file:
        yield _Spool(file)


@contextlib.contextmanager
def folder_writer(path: str | Path, numbers: Iterable[int] | None = None) -> Iterator[Append]:
    """Write a folder of lossless ``0000000.png`` …, frame by frame; ``numbers``, rising, are theirs if given."""
    names = itertools.count() if numbers is None else iter(numbers)
    with atomic_path(path) as temporary:
        temporary.mkdir()
        yield lambda frame: (temporary / f"{next(names):07d}.png").write_bytes(fast_png(frame))
        _require_frames(any(temporary.iterdir()), path)


def _start_encoder(path: Path, fps: float, height: int, width: int) -> subprocess.Popen:
    """ffmpeg reading raw RGB frames from its standard input.  It is run here, and not by imageio, for its exit status:
    a video that does not fit the disk must not pass for a whole one."""
    rate = Fraction(fps).limit_denominator(1001)
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", *frames, *BT709]
    command += ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]
    command += ["-metadata", f"comment={MARK.decode()}", f"file:{path}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def _finish_encoder(process: subprocess.Popen, path: str | Path) -> None:
    _, output = process.communicate()
    if process.returncode == 0:
        return
    text = output.decode(errors="replace")
    full = "No space left" in text
    reason = last_line(text) or f"exit status {process.returncode}"
    raise OSError(errno.ENOSPC if full else errno.EIO, f"cannot write {path}: ffmpeg failed: {reason}")


@contextlib.contextmanager
def mp4_writer(path: str | Path, fps: float) -> Iterator[Append]:
    """Write H.264 at a visually lossless quality (CRF 10) and at exactly ``fps``, as all players show it.

    They want chroma of half the size, so a last row or column is repeated where the size is odd; and the colours are
    BT.709 and say so.
    """
    process, shape = None, None
    with atomic_path(path) as temporary:

        def append(frame: np.ndarray) -> None:
            nonlocal process, shape
            if process is None:
                shape = frame.shape
                process = _start_encoder(temporary, fps, shape[0] + shape[0] % 2, shape[1] + shape[1] % 2)
            _require_shape(frame, shape)
            even = np.pad(frame, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
            try:
                process.stdin.write(np.ascontiguousarray(even, dtype=np.uint8).tobytes())
            except BrokenPipeError:
                _finish_encoder(process, path)

        try:
            yield append
            _require_frames(process is not None, path)
            _finish_encoder(process, path)
        finally:
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()


def gif_rate(fps: float) -> float:
    """The rate a GIF of ``fps`` frames a second really plays at.

    GIF delays are whole hundredths of a second, and viewers clamp those under two, so at most 50 frames a second are
    possible: faster clips keep all their frames and play slowed down.  Who writes one says so to the user.
    """
    return 100.0 / min(65_535, max(2, round(100.0 / fps)))


def gif_slowdown(suffix: str, fps: float) -> str:
    """What to say of a file of ``fps`` frames a second where it is a GIF that plays slower by 1 % or more; else ""."""
    rate = gif_rate(fps)
    if suffix != ".gif" or rate >= fps * 0.99:
        return ""
    return f"{fps:g} frames a second, but a GIF plays at {rate:g}: slowed down"


@contextlib.contextmanager
def gif_writer(path: str | Path, fps: float) -> Iterator[Append]:
    """Write an endless GIF at :func:`gif_rate`.  GIFs merge repeated frames, so a still clip has one frame."""
    with _spooled(path) as spool:
        yield spool.append
        _require_frames(spool.count > 0, path)
        # One palette for all frames, from a mosaic of some of them: a palette per frame flickers by more than a
        # micro-expression moves.
        mosaic = np.concatenate(list(spool.frames(step=max(1, spool.count // 8))))
        # The 256th colour is Pillow's for pixels that stay as they were, which halves the file.
        palette = Image.fromarray(mosaic).quantize(255, dither=Image.Dither.NONE)
        indexed = (Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in spool.frames())
        delay = round(1000.0 / gif_rate(fps))  # milliseconds
        options = {"duration": delay, "loop": 0, "optimize": True, "disposal": 1, "comment": MARK}
        with atomic_path(path) as temporary:
            next(indexed).save(temporary, save_all=True, append_images=indexed, **options)


def clip_writer(path: str | Path, fps: float) -> contextlib.AbstractContextManager[Append]:
    """A writer in the format the suffix names: ``.mp4``, ``.gif``, or a folder of frames without suffix."""
    suffix = Path(path).suffix.lower()
    if suffix == ".mp4":
        return mp4_writer(path, fps)
    if suffix == ".gif":
        return gif_writer(path, fps)
    if suffix == "":
        return folder_writer(path)
    raise MediaError(f"cannot write {path}: legal are .mp4, .gif and a folder of frames (no suffix)")


def write_clip(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write ``frames`` in the format the suffix names; see :func:`clip_writer`."""
    with clip_writer(path, fps) as append:
        for frame in frames:
            append(frame)


def write_frame_folder(path: str | Path, frames: Iterable[np.ndarray]) -> None:
    """Write ``frames`` as a folder of lossless PNG files; see :func:`folder_writer`."""
    with folder_writer(path) as append:
        for frame in frames:
            append(frame)
