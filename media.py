"""The only reader and writer of images and video in the project, frame rates included.

Frames are always uint8 RGB arrays (H, W, 3).  A clip is a folder of frames, a video (``.mp4 .mov .avi .mkv .webm
.gif``) or an image: one picture, or a strip of frames side by side.  Every writer is atomic: a file or folder
appears under its final name only when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif")
CLIP_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES
MAX_STRIP_WIDTH = 65_500  # wider images are refused by JPEG and by many viewers


class MediaError(ValueError):
    """A clip or picture that cannot be used; the message names the file, what is wrong and what would be legal."""


# ------------------------------------------------------------------------------------------ names and folders
def natural_key(name: str | Path) -> list:
    """Sort key that reads numbers as numbers: img2 before img10 (CASME II frames are not zero-padded)."""
    parts = re.split(r"(\d+)", str(name))
    return [(0, int(part), part) if part.isdigit() else (1, part.lower(), part) for part in parts if part]


def natural_sorted(items: Iterable) -> list:
    """``items`` in natural order; paths are compared by their names within one folder."""
    return sorted(items, key=lambda item: natural_key(item.name if isinstance(item, Path) else item))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))


def frame_files(folder: str | Path) -> list[Path]:
    """The image files of a folder in natural order; anything else (``Thumbs.db``, ``._*`` …) is not a frame."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and not e.name.startswith(".")]
    return [Path(folder) / name for name in natural_sorted(names)]


def nested(folder: str | Path) -> str:
    """What to do about a folder without frames that holds folders; "" where it holds none."""
    with os.scandir(folder) as entries:
        if not any(entry.is_dir() for entry in entries):
            return ""
    return "It holds folders, but frames lie directly in the clip's: `prepare.py folder --raw` makes clips of any tree"


def clip_name(path: str | Path) -> str:
    """Name of a clip: the folder's name, or the file's without its suffix."""
    path = Path(path)
    return path.name if path.is_dir() or path.suffix.lower() not in CLIP_SUFFIXES else path.stem


def list_clips(root: str | Path) -> list[Path]:
    """Clips directly under ``root`` in natural order: frame folders, videos, strips and pictures.

    Raises:
        MediaError: no such folder, no clip in it, or two clips of one name (``a.mp4`` beside the folder ``a``).
    """
    root = Path(root)
    if not root.is_dir():
        raise MediaError(f"no such data folder: {root}. Expected one folder, video or image strip per clip in it.")
    clips = [
        path
        for path in natural_sorted(root.iterdir())
        if not _is_hidden(path) and (path.is_dir() or path.suffix.lower() in CLIP_SUFFIXES)
    ]
    if not clips:
        raise MediaError(
            f"no clips in {root}. Expected folders of frames ({', '.join(IMAGE_SUFFIXES)}), "
            f"videos ({', '.join(VIDEO_SUFFIXES)}) or image strips, one per clip."
        )
    seen: dict[str, Path] = {}
    for path in clips:
        other = seen.setdefault(clip_name(path), path)
        if other is not path:
            raise MediaError(f"two clips are called {clip_name(path)!r}: {other} and {path}. Rename one of them.")
    return clips


# ------------------------------------------------------------------------------------------ reading
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
    channels = image.shape[2]
    if channels in (2, 4):
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


class Clip:
    """A clip opened for reading: ``for frame in clip`` streams it, ``clip.read([0, 5])`` picks frames.

    Attributes:
        path, name: where it is and what it is called.
        fps: frames a second as the file says, ``None`` where it does not (folders, strips).
    """

    fps: float | None = None

    def __init__(self, path: Path):
        self.path = path
        self.name = clip_name(path)

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} must say how long it is")

    def __iter__(self) -> Iterator[np.ndarray]:
        raise TypeError(f"{type(self).__name__} must yield its frames")

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ``indices`` (any order, repeats allowed): uint8 (n, H, W, 3)."""
        wanted = {int(index) for index in indices}
        found: dict[int, np.ndarray] = {}
        for index, frame in enumerate(self):
            if index in wanted:
                found[index] = frame
                if len(found) == len(wanted):
                    break
        missing = wanted - found.keys()
        if missing:
            raise MediaError(f"{self.path} has no frame {min(missing)}")
        return np.stack([found[int(index)] for index in indices])

    def first(self) -> np.ndarray:
        """Frame 0, the onset: uint8 (H, W, 3)."""
        return self.read([0])[0]

    def read_all(self) -> np.ndarray:
        """The whole clip: uint8 (N, H, W, 3)."""
        return np.stack(list(self))

    def _same_size(self, frames: Iterator[tuple[str, np.ndarray]]) -> Iterator[np.ndarray]:
        size = None
        for name, frame in frames:
            if size is None:
                size = frame.shape
            elif frame.shape != size:
                raise MediaError(
                    f"frames of {self.path} differ in size: {name} is {frame.shape[1]}×{frame.shape[0]}, "
                    f"the first one {size[1]}×{size[0]} (width × height). Crop or resize the clip to one size."
                )
            yield frame


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
        return self._same_size((file.name, read_image(file)) for file in self.files)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        outside = [index for index in indices if not 0 <= index < len(self.files)]
        if outside:
            raise MediaError(f"{self.path} has no frame {outside[0]}: it holds {len(self.files)} frames")
        return np.stack(
            list(self._same_size((self.files[i].name, read_image(self.files[i])) for i in map(int, indices)))
        )


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
        outside = [index for index in indices if not 0 <= index < len(self.frames)]
        if outside:
            raise MediaError(f"{self.path} has no frame {outside[0]}: it holds {len(self.frames)} frames")
        return self.frames[[int(index) for index in indices]]


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


# ------------------------------------------------------------------------------------------ writing
@contextlib.contextmanager
def atomic_path(destination: str | Path) -> Iterator[Path]:
    """Write to the yielded temporary path; it takes the name ``destination`` only when the block ends well.

    Works for files and folders; an existing folder of that name is replaced.  On any error, an interruption
    included, the temporary is removed and what was there stays.
    """
    destination = Path(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{destination.name[:60]}.", suffix=".part", dir=destination.parent))
    except OSError as error:
        raise explain_write_error(error, destination) from error
    try:
        temporary = holder / destination.name
        try:
            yield temporary
        except _Elsewhere:
            return
        if temporary.is_dir() and destination.is_dir():
            _replace_folder(temporary, destination)
        else:
            os.replace(temporary, destination)
    except OSError as error:
        raise explain_write_error(error, destination) from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def clear_leftovers(destination: str | Path) -> None:
    """Remove what a killed process has left of its attempt to write ``destination``; nobody may be writing it now."""
    destination = Path(destination)
    if len(destination.name) <= 60:  # a longer one cannot be told from its neighbours
        prefix, suffix = f".{destination.name}.", ".part"
        with contextlib.suppress(FileNotFoundError), os.scandir(destination.parent) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                    shutil.rmtree(entry.path, ignore_errors=True)


def _replace_folder(new: Path, destination: Path) -> None:
    old = new.parent / "replaced"
    os.rename(destination, old)
    try:
        os.replace(new, destination)
    except OSError:
        os.rename(old, destination)
        raise


def explain_write_error(error: OSError, destination: str | Path) -> OSError:
    """``error`` again, naming the file and the remedy where the disk is full, read-only and the like."""
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run the command again",
        errno.EROFS: "the file system is read-only; choose another output folder",
        errno.EACCES: "permission denied; choose another output folder",
        errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
        errno.EEXIST: "a file is where a folder is needed; choose another output folder",
        errno.ENOTDIR: "a file is where a folder is needed; choose another output folder",
        errno.EFBIG: "the file is larger than this file system or a limit (ulimit -f) allows",
    }
    if error.errno not in reasons:
        return error
    return OSError(error.errno, f"cannot write {destination}: {reasons[error.errno]}")


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) or (H, W), atomically; the suffix chooses the format."""
    with atomic_path(path) as temporary:  # PNG: in half the time of Pillow's level 6, and 7 % larger
        Image.fromarray(np.asarray(image)).save(temporary, compress_level=3)


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
    return data.tobytes()


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG file, small."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


Append = Callable[[np.ndarray], None]


class _Spool:
    """Frames kept on disk while a clip is being made, so that its length costs no memory."""

    def __init__(self, folder: Path):
        self._file = open(folder / "spool.raw", "w+b")  # noqa: SIM115 - lives as long as its writer
        self._shape: tuple[int, ...] | None = None
        self.count = 0

    def append(self, frame: np.ndarray) -> None:
        frame = np.ascontiguousarray(frame, dtype=np.uint8)
        if self._shape is None:
            self._shape = frame.shape
        _require_shape(frame, self._shape)
        self._file.write(frame.tobytes())
        self.count += 1

    @property
    def width(self) -> int:
        """Of a frame, in pixels."""
        return self._shape[1]

    def frames(self) -> np.ndarray:
        """All frames as one memory-mapped array (N, H, W, 3)."""
        self._file.flush()
        return np.memmap(self._file.name, dtype=np.uint8, mode="r", shape=(self.count, *self._shape))

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames one by one: of a mapped file, all that was read would stay in memory."""
        self._file.seek(0)
        size = int(np.prod(self._shape))
        for _ in range(self.count):
            yield np.frombuffer(self._file.read(size), dtype=np.uint8).reshape(self._shape)

    def close(self) -> None:
        self._file.close()


def _require_shape(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.shape != shape:
        raise MediaError(f"a frame of shape {frame.shape} does not fit a clip of {shape}")


def _require_frames(count: int, path: str | Path) -> None:
    if count == 0:
        raise MediaError(f"there are no frames to write to {path}")


@contextlib.contextmanager
def _spooled(path: str | Path) -> Iterator[tuple[_Spool, Path]]:
    """A spool beside the temporary of ``path``."""
    with atomic_path(path) as temporary:
        spool = _Spool(temporary.parent)
        try:
            yield spool, temporary
        finally:
            spool.close()


@contextlib.contextmanager
def folder_writer(path: str | Path, numbers: Iterable[int] | None = None) -> Iterator[Append]:
    """Write a folder of lossless ``0000000.png`` …, frame by frame; ``numbers``, rising, are theirs if given."""
    count, names = 0, iter(numbers) if numbers is not None else itertools.count()
    with atomic_path(path) as temporary:
        temporary.mkdir()

        def append(frame: np.ndarray) -> None:
            nonlocal count
            (temporary / f"{next(names):07d}.png").write_bytes(fast_png(frame))
            count += 1

        yield append
        _require_frames(count, path)


def _start_encoder(path: Path, fps: float, height: int, width: int) -> subprocess.Popen:
    """ffmpeg reading raw RGB frames from its standard input.  It is run here, and not by imageio, for its exit status:
    a video that does not fit the disk must not pass for a whole one."""
    rate = Fraction(fps).limit_denominator(1001)
    pixels = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", *frames]
    command += ["-c:v", "libx264", "-crf", "10", "-pix_fmt", pixels, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def _finish_encoder(process: subprocess.Popen, path: str | Path) -> None:
    _, output = process.communicate()
    if process.returncode == 0:
        return
    text = output.decode(errors="replace")
    full = "No space left" in text
    reason = _last_line(text) if text.strip() else f"exit status {process.returncode}"
    raise OSError(errno.ENOSPC if full else errno.EIO, f"cannot write {path}: ffmpeg failed: {reason}")


@contextlib.contextmanager
def mp4_writer(path: str | Path, fps: float) -> Iterator[Append]:
    """Write H.264 at a visually lossless quality (CRF 10), at exactly ``fps`` and in exactly the frames' size."""
    process, shape = None, None
    with atomic_path(path) as temporary:

        def append(frame: np.ndarray) -> None:
            nonlocal process, shape
            if process is None:
                shape = frame.shape
                process = _start_encoder(temporary, fps, *shape[:2])
            _require_shape(frame, shape)
            try:
                process.stdin.write(np.ascontiguousarray(frame, dtype=np.uint8).tobytes())
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
    return 100.0 / max(2, round(100.0 / fps))


def gif_slowdown(suffix: str, fps: float) -> str:
    """What to say of a file of ``fps`` frames a second where it is a GIF that plays slower by 1 % or more; else ""."""
    rate = gif_rate(fps)
    if suffix != ".gif" or rate >= fps * 0.99:
        return ""
    return f"{fps:g} frames a second, but a GIF plays at {rate:g}: slowed down"


@contextlib.contextmanager
def gif_writer(path: str | Path, fps: float) -> Iterator[Append]:
    """Write an endless GIF at :func:`gif_rate`.  GIFs merge repeated frames, so a still clip has one frame."""
    with _spooled(path) as (spool, temporary):
        yield spool.append
        _require_frames(spool.count, path)
        frames = spool.frames()
        # One palette for all frames, from a mosaic of some of them: a palette per frame flickers by more than a
        # micro-expression moves.
        mosaic = np.concatenate(list(frames[:: max(1, len(frames) // 8)]), axis=0)
        # The 256th colour is Pillow's for pixels that stay as they were, which halves the file.
        palette = Image.fromarray(mosaic).quantize(255, dither=Image.Dither.NONE)
        indexed = (Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames)
        delay = round(1000.0 / gif_rate(fps))  # milliseconds
        options = {"duration": delay, "loop": 0, "optimize": True, "disposal": 1}
        next(indexed).save(temporary, save_all=True, append_images=indexed, **options)


@contextlib.contextmanager
def strip_writer(path: str | Path) -> Iterator[Append]:
    """Write a lossless strip ``path`` (.png), frames side by side.

    A clip too long for one (wider than 65,500 pixels) becomes a folder of frames, ``path`` without its suffix.
    """
    path = Path(path)
    with _spooled(path) as (spool, temporary):
        yield spool.append
        _require_frames(spool.count, path)
        if spool.count * spool.width <= MAX_STRIP_WIDTH:
            temporary.write_bytes(fast_png(np.concatenate(list(spool), axis=1)))
            return
        with folder_writer(path.with_suffix("")) as append:
            for frame in spool:
                append(frame)
        path.unlink(missing_ok=True)  # the strip of an earlier, shorter clip
        raise _Elsewhere


class _Elsewhere(Exception):
    """Raised inside :func:`atomic_path` when the result went to another place: nothing is renamed."""


def _write(writer: contextlib.AbstractContextManager[Append], frames: Iterable[np.ndarray]) -> None:
    with writer as append:
        for frame in frames:
            append(frame)


def write_frame_folder(path: str | Path, frames: Iterable[np.ndarray]) -> None:
    """Write ``frames`` as a folder of lossless PNG files; see :func:`folder_writer`."""
    _write(folder_writer(path), frames)


def write_mp4(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write ``frames`` as H.264; see :func:`mp4_writer`."""
    _write(mp4_writer(path, fps), frames)


def write_gif(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> float:
    """Write ``frames`` as a GIF and return the rate it plays at; see :func:`gif_writer`."""
    _write(gif_writer(path, fps), frames)
    return gif_rate(fps)


def write_strip(path: str | Path, frames: Iterable[np.ndarray]) -> None:
    """Write ``frames`` side by side; see :func:`strip_writer`."""
    _write(strip_writer(path), frames)


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
    _write(clip_writer(path, fps), frames)
