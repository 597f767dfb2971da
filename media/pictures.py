"""Pictures, decoded by Pillow: upright, in sRGB, eight bits a channel, as their files say that they are meant."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from media import content
from media.names import DamageWarning, MediaError, MediaWarning
from media.timing import describe_variation, rate_of_delays

MAX_PIXELS = 178_000_000  # of one picture: 0.5 GB of RGB, three times as much while it is decoded
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which warns of an attack from 89 megapixels

BITS_PER_SAMPLE, WHITE_IS_ZERO, SAMPLE_FORMAT, MAX_SAMPLE, SUBFILE = 258, 262, 339, 281, 254  # tags of TIFF
ORIENTATION = 0x0112  # of EXIF


def to_rgb8(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Any grey, grey+alpha, RGB or RGBA image → uint8 (H, W, 3).

    uint8 goes straight through; 16-bit is divided by 257, floats are taken as [0, 1], booleans as black and white.
    Transparent pixels are laid over black.
    """
    image = _to_8_bits(np.asarray(image), name)
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


def _to_8_bits(image: np.ndarray, name: str, top: int = 65535) -> np.ndarray:
    """Values of any kind → uint8; ``top`` is the white of whole numbers of more than eight bits."""
    kind, size = image.dtype.kind, image.dtype.itemsize
    if kind == "b":
        return image.astype(np.uint8) * 255
    if kind == "f":
        if not np.isfinite(image).all():
            raise MediaError(f"{name} holds NaN or infinite values")
        if image.size and (image.max() > 2 or image.min() < -1):  # a little beyond is rounding, or a filter's ringing
            span = f"{image.min():.4g} … {image.max():.4g}"
            raise MediaError(f"{name} holds values of {span}; legal are floats of 0 … 1: divide them by their white")
        return np.clip((image * np.float32(255.0)).round(), 0, 255).astype(np.uint8)
    if (kind == "u" and size == 2) or (kind in "iu" and size == 4):  # Pillow opens some 16-bit grey as int32
        if image.size and (image.min() < 0 or image.max() > 65535):
            raise MediaError(f"{name} holds values of {image.min()} … {image.max()}; legal are 8-bit, 16-bit and float")
        return np.clip((image.astype(np.float32) * np.float32(255 / top)).round(), 0, 255).astype(np.uint8)
    if image.dtype != np.uint8:
        raise MediaError(f"{name} has values of type {image.dtype}; legal are 8-bit, 16-bit and float images")
    return image


def read_image(path: str | Path) -> np.ndarray:
    """One picture as uint8 RGB (H, W, 3): upright as its EXIF orientation says, and converted to sRGB by the colour
    profile in it.  Transparent pixels are laid over black.

    Raises:
        MediaError: the file is missing, broken, too large, no picture, or several pictures in one.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(f"no such picture: {path}")
    return decode_image(path, str(path))


def decode_image(file: Path | BinaryIO, name: str) -> np.ndarray:
    """One picture, from a path or an open file, as :func:`read_image` gives it; ``name`` is for errors."""
    with _opened(file, name) as picture:
        pages = _pages(picture, name)
        if len(pages) > 1:
            raise MediaError(
                f"{name} holds {len(pages)} pictures where one is wanted, and only the first would be read: give it as "
                "a clip, or export the one you mean"
            )
        return _rgb8(picture, name)


def read_pages(path: Path) -> tuple[np.ndarray, float | None]:
    """All pictures of one file (GIF, APNG, WebP, pages of a TIFF), each as :func:`read_image` gives it.

    Returns:
        uint8 (N, H, W, 3), and the frames a second, None where the file says nothing of time; where its delays differ,
        a warning says which rate was taken.

    Raises:
        MediaError: none can be read, or they differ in size.
    """
    frames: list[np.ndarray] = []
    delays: list[float] = []
    with _opened(path, str(path)) as picture:
        for number in _pages(picture, str(path)):
            try:
                picture.seek(number)
                frames.append(_rgb8(picture, str(path)))
            except (OSError, SyntaxError, EOFError) as error:
                if not frames:
                    raise
                text = f"{path} is truncated: decoding stopped after {len(frames)} frames ({error})"
                warnings.warn(text, DamageWarning, stacklevel=3)
                break
            delays.append(float(picture.info.get("duration") or 0))
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        shown = ", ".join(f"{width}×{height}" for height, width, _ in sorted(sizes))
        raise MediaError(f"the pictures in {path} differ in size ({shown}, width × height): give one alone")
    fps = rate_of_delays(delays)
    if len(frames) > 1 and (variation := describe_variation(np.array(delays) / 1000, fps)):
        _warn(f"{path}: {variation}")
    return np.stack(frames), fps


def has_pages(path: Path) -> bool:
    """Whether a file holds several pictures, which make a clip; a broken one and what is no picture do not."""
    try:
        with _opened(path, str(path)) as picture:
            return len(_pages(picture, str(path))) > 1
    except MediaError:
        return False


@contextlib.contextmanager
def _opened(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """A picture opened by its content; whatever is wrong with it is a MediaError."""
    size = ""
    try:
        found = content.identify(file)
        if found is None:
            raise MediaError(f"cannot read {name}: it is no picture, or damaged")
        if found.kind == content.FOREIGN:
            raise MediaError(content.refusal(name, found))
        if found.kind == content.VIDEO:
            raise MediaError(f"{name} is a video ({found.name}) by its content, not a picture: give it as a clip")
        try:
            picture = Image.open(file, formats=[found.name])
        except (UnidentifiedImageError, KeyError) as error:
            if found.name == "AVIF":  # Pillow reads it from 11.3 on
                raise MediaError(content.refusal(name, found)) from error
            raise MediaError(f"cannot read {name}: it is no picture, or damaged") from error
        with picture:
            size = f"{picture.width}×{picture.height}"
            if picture.width * picture.height > MAX_PIXELS:
                limit = f"{MAX_PIXELS / 1e6:g} megapixels"
                raise MediaError(f"{name} is {size} (width × height), larger than {limit}: make it smaller")
            yield picture
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(f"{name} does not fit the memory ({size}, width × height): make it smaller") from error
    except Exception as error:  # Pillow raises a different type for every way a file can be broken
        raise MediaError(f"cannot read {name}: {error or type(error).__name__}") from error


def _pages(picture: Image.Image, name: str) -> list[int]:
    """Which pictures of a file are frames: neither previews, nor what stands in for an animation."""
    if picture.format == "MPO":  # a photo, and what the camera adds to it: depth, brightness, the other eye
        return [0]
    pages = list(range(getattr(picture, "n_frames", 1)))
    if picture.format == "TIFF":
        reduced = [number for number in pages if _seek(picture, number).tag_v2.get(SUBFILE, 0) & 1]
        picture.seek(0)
        if 0 in reduced:
            raise MediaError(f"{name} shows a preview alone, as raw photos of cameras do: export it as JPEG or PNG")
        return [number for number in pages if number not in reduced]
    return pages[1:] if picture.format == "PNG" and picture.info.get("default_image") else pages


def _seek(picture: Image.Image, number: int) -> Image.Image:
    picture.seek(number)
    return picture


def _rgb8(picture: Image.Image, name: str) -> np.ndarray:
    """The page that a picture is at: uint8 (H, W, 3)."""
    profile, tags = picture.info.get("icc_profile"), getattr(picture, "tag_v2", {})
    if picture.getexif().get(ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):  # more than eight bits of grey
        picture = Image.fromarray(_deep_grey(np.asarray(picture), tags, name))
    elif picture.has_transparency_data:
        picture = picture.convert("LA" if picture.mode == "LA" else "RGBA")
    elif picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if profile:
        picture = _to_srgb(picture, profile, name)
    return to_rgb8(np.asarray(picture.convert("RGB") if picture.mode == "CMYK" else picture), name)


def _deep_grey(values: np.ndarray, tags: dict, name: str) -> np.ndarray:
    """Grey of more than eight bits → uint8 (H, W), in the range that a TIFF's ``tags`` give it."""
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    top = tags.get(MAX_SAMPLE, ((1 << bits) - 1,))[0] if bits <= 16 else 65535
    if values.dtype.kind != "f" and (bits > 16 or tags.get(SAMPLE_FORMAT, (1,))[0] == 2):
        raise MediaError(f"{name} holds {bits}-bit whole numbers, or signed ones; legal are 8-bit, 16-bit and float")
    grey = _to_8_bits(values, name, top)
    return 255 - grey if tags.get(WHITE_IS_ZERO) == 0 else grey


def _to_srgb(picture: Image.Image, icc: bytes, name: str) -> Image.Image:
    """A picture of the mode L, LA, RGB, RGBA or CMYK in sRGB; as it is, with a warning, if the profile is of no use."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return picture
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
        alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
        colours = picture.convert(picture.mode.removesuffix("A")) if alpha else picture
        if mode == "RGB" and colours.mode == "L":
            colours = colours.convert("RGB")
        if colours.mode != mode:
            raise ValueError(f"a profile of {mode} in a picture of {colours.mode}")
        out = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError, TypeError) as error:
        _warn(f"{name}: its colour profile cannot be used, the colours are taken as sRGB ({error})")
        return picture
    if alpha:
        out.putalpha(alpha)
    return out


def _warn(text: str) -> None:
    warnings.warn(text, MediaWarning, stacklevel=3)


def resize_frame(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3) → uint8 (height, width, 3): area averaging when shrinking, bicubic when enlarging."""
    if frame.shape[:2] == (height, width):
        return frame
    import cv2

    shrinking = height < frame.shape[0] or width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
