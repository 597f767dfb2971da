"""Which files are clips and pictures, what they are called, and in which order they come."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

# What in a folder could be a picture or a clip; what a file is, its content says (:mod:`media.content`).
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".apng", ".avif", ".jp2", ".pgm",
    ".ppm",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif", ".m4v", ".mts", ".m2ts", ".wmv", ".asf", ".mpg", ".mpeg", ".3gp",
    ".3g2", ".flv", ".f4v", ".ogv", ".mxf",
)  # fmt: skip
CLIP_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES
# What lies beside recordings and is none: nobody misses it among the clips.
DOCUMENT_SUFFIXES = (
    ".csv", ".txt", ".md", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ods",
    ".log", ".py", ".m", ".ini", ".db", ".zip",
)  # fmt: skip

# What systems (macOS: a folder's icon), network drives (Synology, QNAP, NetApp) and archives leave beside one's files.
SYSTEM_NAMES = (
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot", "$recycle.bin", "recycler",
    "system volume information", "lost+found", "__macosx", "network trash folder", "temporary items", "icon\r",
)  # fmt: skip

_usual_format = warnings.formatwarning


class MediaError(ValueError):
    """A clip or picture that cannot be used; the message names the file, what is wrong and what would be legal."""


_UTF8 = "set PYTHONUTF8=1, and names and console are UTF-8"

# Names that Windows keeps for devices, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.I)


def name_problem(name: str, foreign: bool = False) -> str:
    """Why something cannot be called so; "" where it can.

    Args:
        name: of a clip, or a part of a path.
        foreign: it comes from an archive or a list, so no file system has accepted it yet.
    """
    if name.strip() in ("", ".", "..") or "/" in name or "\\" in name:
        return "is no bare name of a file or folder"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        encoding = sys.getfilesystemencoding()
        remedy = "" if encoding == "utf-8" else f" ({_UTF8})"
        return f"has control characters in its name, or one that is no {encoding.upper()}{remedy}"
    if foreign and (_DEVICES.fullmatch(name) or re.match(r"[a-z]:", name, re.I)):
        return "is the name of a device or drive on Windows"
    if foreign and name != name.strip():
        return "begins or ends with a blank, which lists do not keep"
    return ""


class MediaWarning(UserWarning):
    """Something about a clip or picture that is used all the same; the message begins with its path."""


class DamageWarning(MediaWarning):
    """A file that is truncated or damaged; what can be read of it is used."""


def describe_error(error: BaseException) -> str:
    """What an error says, in a line, as Python's own words of memory, files and letters that a locale lacks do not."""
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}: use smaller or shorter clips, or a smaller batch"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} cannot be written in this locale's encoding, {error.encoding}: {_UTF8}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename is not None else "")
    return str(error)


def warn_in_one_line() -> None:
    """Let this process show a :class:`MediaWarning` as a line for its user, and not as Python's two for a developer."""
    warnings.formatwarning = _format_warning


def _format_warning(message: Warning | str, category: type[Warning], *place: object, **line: object) -> str:
    usual = _usual_format(message, category, *place, **line)
    return f"warning: {message}\n" if issubclass(category, MediaWarning) else usual


def composed(name: str) -> str:
    """A name as names are compared: macOS may write ë as e and a mark (NFD), all else writes one letter (NFC)."""
    return unicodedata.normalize("NFC", name)


def natural_key(name: str | Path) -> list:
    """Sort key that reads numbers as numbers: img2 before img10 (CASME II frames are not zero-padded)."""
    parts = re.split(r"(\d+)", composed(str(name)))
    return [(0, int(part), part) if part.isdecimal() else (1, part.lower(), part) for part in parts if part]


def natural_sorted(items: Iterable) -> list:
    """``items`` in natural order; paths are compared by their names within one folder."""
    return sorted(items, key=lambda item: natural_key(item.name if isinstance(item, Path) else item))


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's: hidden, of the system, or a lock of Office's."""
    return name.startswith((".", "~$", "SYNOPHOTO_", "SYNOFILE_")) or name.lower() in SYSTEM_NAMES


def frame_files(folder: str | Path) -> list[Path]:
    """The image files of a folder in natural order; anything else (``Thumbs.db``, ``._*`` …) is not a frame."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and not is_passed_over(e.name)]
    return [Path(folder) / name for name in natural_sorted(names)]


def instead_of_frames(folder: str | Path) -> str:
    """What a folder without frames holds, and what to do about it; "" for nothing, or documents only."""
    there = [path for path in natural_sorted(Path(folder).iterdir()) if not is_passed_over(path.name)]
    if any(path.is_dir() for path in there):
        return "It holds folders, but frames lie directly in it: `prepare.py folder --raw` makes clips of any tree"
    if videos := [path.name for path in there if path.suffix.lower() in VIDEO_SUFFIXES]:
        return f"It holds videos, each a clip of its own, such as {videos[0]}: name that, or move it out of the folder"
    return describe_left_out(path.name for path in there)


def first_names(names: Iterable[str], count: int) -> str:
    """The first ``count`` names as a message lists them, and ``…`` where there are more: ``a, b …``."""
    names = list(names)
    return ", ".join(names[:count]) + (" …" if len(names) > count else "")


def describe_left_out(names: Iterable[str]) -> str:
    """What to say of files by their names: those that are no clips here and might be meant to be; "" without any."""
    names = [name for name in names if not name.lower().endswith(CLIP_SUFFIXES + DOCUMENT_SUFFIXES)]
    if not names:
        return ""
    shown = first_names(natural_sorted(names), 5)
    count = f"{len(names)} file{'s' * (len(names) > 1)}"
    return (
        f"{count} left out that no clip's name ends like: {shown}. Make videos .mp4 (ffmpeg -i FILE FILE.mp4), export "
        "photos as JPEG or PNG, unpack archives"
    )


def clip_name(path: str | Path) -> str:
    """Name of a clip, :func:`composed`: the folder's name, or the file's without its suffix; ``.`` has a name too."""
    if isinstance(path, Path) and path.name in ("", ".."):
        path = path.resolve()
    path = Path(path)
    return composed(path.name if path.is_dir() or path.suffix.lower() not in CLIP_SUFFIXES else path.stem)


def list_clips(root: str | Path) -> list[Path]:
    """Clips directly under ``root`` in natural order: frame folders, videos, strips and pictures.

    A warning lists what is left out: files that are no clips by their names, nor documents.

    Raises:
        MediaError: no such folder, no clip in it, or two clips of one name (``a.mp4`` beside the folder ``a``).
    """
    root = Path(root)
    if not root.is_dir():
        raise MediaError(f"no such data folder: {root}. Expected one folder, video or image strip per clip in it.")
    there = [path for path in natural_sorted(root.iterdir()) if not is_passed_over(path.name)]
    clips = [path for path in there if path.suffix.lower() in CLIP_SUFFIXES or path.is_dir()]
    if text := describe_left_out(path.name for path in there if not path.is_dir()):
        warnings.warn(f"{root}: {text}", MediaWarning, stacklevel=2)
    if not clips:
        raise MediaError(
            f"no clips in {root}. Expected folders of frames ({', '.join(IMAGE_SUFFIXES)}), "
            f"videos ({', '.join(VIDEO_SUFFIXES)}) or image strips, one per clip."
        )
    seen: dict[str, Path] = {}
    for path in clips:
        if problem := name_problem(path.name):
            raise MediaError(f"{str(path)!r} {problem}. Rename it")
        other = seen.setdefault(clip_name(path), path)
        if other is not path:
            raise MediaError(f"two clips are called {clip_name(path)!r}: {other} and {path}. Rename one of them.")
    return clips
