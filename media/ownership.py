"""Nothing of the user's is replaced or removed: whose a file is, and what may be written where.

What this program writes says so: pictures and clips carry :data:`MARK` inside, and a folder of many outputs holds the
hidden file :data:`MARKER`, so that tables, pages and single pictures are the program's own in it by their names.
Commands call :func:`check_outputs` or :func:`open_output_folder` before they begin; :mod:`media.atomic` looks once more
before anything takes the place of something else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from media.names import MediaError, is_passed_over

MARK = b"made by fpb-fomm"
MARKER = ".fpb-fomm"
_CLIPS = (".mp4", ".gif")  # carry the mark ever since: one without it is somebody else's, whatever its name
_HEAD, _TAIL = 4096, 65536  # bytes in which a file carries the mark: an MP4 at its end, pictures at their start


class OutputError(MediaError):
    """An output whose place is taken; the message names it, by what, and the remedy."""


def bears_mark(file: str | Path) -> bool:
    """Whether a picture or clip says that this program wrote it."""
    with open(file, "rb") as stream:
        if MARK in stream.read(_HEAD):
            return True
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
        return MARK in stream.read()


def is_output_folder(folder: str | Path) -> bool:
    """Whether a folder, or one that it lies in, is marked as this program's."""
    folder = _real(folder)
    return any((parent / MARKER).is_file() for parent in (folder, *folder.parents))


def check_own(path: str | Path, named: bool = False) -> None:
    """Nothing, where ``path`` may be written: there is nothing, or what this program wrote.

    A folder is this program's where it holds nothing but frames that it wrote.

    Args:
        named: the user has chosen the name, so that it says nothing about whose the file is, wherever it lies.

    Raises:
        OutputError: it is somebody else's, or holds what is; or a named folder is a part of a data set.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return
    remedy = "it is left as it is. Choose another name, or move it away"
    kinds = [kind for parent in _real(path).parents if (kind := _kind(parent))] if named and path.is_dir() else []
    if kinds:
        raise OutputError(f"{path} belongs to {kinds[0]} that another command made: {remedy}")
    if path.is_dir():
        foreign = next((entry for entry in path.iterdir() if not _is_frame(entry)), None)
        if foreign is not None:
            raise OutputError(f"{path} holds {foreign.name}, which this program did not write: {remedy}")
        return
    by_name = not named and path.suffix.lower() not in _CLIPS and is_output_folder(path.parent)
    if not path.is_file() or not (by_name or bears_mark(path)):
        raise OutputError(f"{path} is there and was not written by this program: {remedy}")


def _is_frame(entry: Path) -> bool:
    """Whether an entry of a folder of frames is the program's."""
    return entry.name == MARKER or (entry.is_file() and bears_mark(entry))


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, str | Path | None]) -> None:
    """See that a command's outputs may be written, before it begins.

    Args:
        outputs: files and folders of frames, by what they are for the user, as ``"--result"``; None: there is none.
        inputs: what the command reads, alike.

    Raises:
        OutputError: an output is also an input or another output, a folder of frames holds one, or the place is taken
            or cannot be written to.
    """
    outputs = {name: Path(path) for name, path in outputs.items() if path is not None}
    inputs = {name: Path(path) for name, path in inputs.items() if path is not None}
    seen: dict[str, Path] = {}
    for name, path in outputs.items():
        for other, theirs in (inputs | seen).items():
            if _is_same(path, theirs):
                raise OutputError(f"{name} {path} is {other} too: choose another name for one of them")
            if other in inputs and path.is_dir() and _real(theirs).is_relative_to(_real(path)):
                raise OutputError(f"{name} {path} holds {other} {theirs}: choose another name")
        seen[name] = path
        check_own(path, named=True)
        above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not above.is_dir():
            raise OutputError(f"{name} {path}: {above} is a file where a folder is needed; choose another name")
        if not os.access(above, os.W_OK):
            raise OutputError(f"{name} {path}: nothing can be written into {above}; choose another place")


def open_output_folder(
    folder: str | Path, name: str, kind: str, inputs: Mapping[str, str | Path | None], ours: bool = False
) -> Path:
    """Make and mark a folder for many outputs, before anything is written into it.

    Args:
        name: what it is for the user, as ``"--out"``.
        kind: what it will hold, as ``"key points"``; the mark says it.
        inputs: what the command reads, by what it is for the user.
        ours: it is known to be this program's though it is not marked (those of earlier versions are not).

    Raises:
        OutputError: it is an input, no folder, or holds what this program did not write, or what is of another kind.
        OSError: it cannot be written.
    """
    from media.atomic import explain_write_error

    folder = Path(folder)
    for other, path in inputs.items():
        if path is not None and _is_same(folder, Path(path)):
            raise OutputError(f"{name} {folder} is {other} too: choose another folder")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{name} {folder}: a file is where a folder is needed; choose another output folder")
    if not ours and not (folder / MARKER).exists() and folder.is_dir():
        found = next((entry.name for entry in folder.iterdir() if not is_passed_over(entry.name)), None)
        if found is not None:
            raise OutputError(
                f"{name} {folder} holds {found}, which this program did not write: choose a new or an empty folder "
                f"(if an earlier version of this program made it: touch '{folder / MARKER}')"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _kind(folder) is None:  # also where a user has made an empty mark
            (folder / MARKER).write_bytes(
                MARK + f" ({kind}): files that it writes here are its own and may be replaced by it\n".encode()
            )
        if _kind(folder) != kind:
            raise OutputError(f"{name} {folder} holds {_kind(folder)}, and not {kind}: choose another folder")
    except OSError as error:
        raise explain_write_error(error, folder) from error
    return folder


def check_apart(folder: str | Path, name: str, kind: str, inputs: Mapping[str, str | Path | None]) -> None:
    """See that new folders in ``folder`` would not become a part of an input, or of outputs of another kind.

    Args: as of :func:`open_output_folder`.

    Raises:
        OutputError: they would.
    """
    places = [_real(folder), *_real(folder).parents]
    for other, path in inputs.items():
        if path is not None and _real(path) in places:
            raise OutputError(f"{name} {folder} is, or lies in, {other}: choose another folder")
    for place in places:
        if (_kind(place) or kind) != kind:
            raise OutputError(f"{name} {folder}: {place} holds {_kind(place)}; choose another folder")


def _kind(folder: Path) -> str | None:
    """What a folder holds, by its mark; None where it has none, or one of an earlier version."""
    file = folder / MARKER
    said = re.match(rb"made by fpb-fomm \((.+?)\)", file.read_bytes()) if file.is_file() else None
    return said and said[1].decode(errors="replace")


def _is_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return _real(one) == _real(other)


def _real(path: str | Path) -> Path:
    """``Path.resolve``, which raises where links lead in a circle."""
    return Path(os.path.realpath(path))
