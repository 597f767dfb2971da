"""The files of a raw corpus: a folder, the zip archives in it as if they were unpacked there, or one zip archive."""

from __future__ import annotations

import functools
import io
import itertools
import lzma
import os
import posixpath
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import media
from media.fingerprint import digest, stat_state
from media.names import is_passed_over, name_problem

PACKED = (".rar", ".7z", ".tar", ".gz", ".tgz")  # archives that are only mentioned

# What the standard library raises for flipped bytes in an archive (a KeyError: a member that is not there).
ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, RuntimeError, EOFError, KeyError, ValueError,
    IndexError, MemoryError, OverflowError,
)  # fmt: skip


class CorpusError(ValueError):
    """A raw corpus that cannot be read; the message says what was expected, what was found, and the remedy."""


@dataclass(frozen=True)
class RawFile:
    """A file on disk, or a member of a zip archive that is read without unpacking it."""

    path: Path  # of the file, or of the archive
    member: str = ""  # name inside the archive; empty for a file on disk
    stamp: str = ""  # changes when the content does: size and time, or size and checksum

    @property
    def label(self) -> str:
        """Where it is, for people."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        return posixpath.basename(self.member) if self.member else self.path.name

    def open(self) -> BinaryIO:
        """The content as an open binary file."""
        if not self.member:
            return open(self.path, "rb")
        try:
            return io.BytesIO(_archive(self.path).read(self.member))
        except ARCHIVE_ERRORS as error:
            raise OSError(f"cannot read {self.label}: {error}") from error


@functools.lru_cache(maxsize=8)
def _archive(path: Path) -> zipfile.ZipFile:
    """One open archive a process: listing the members of a large one takes a while."""
    return zipfile.ZipFile(path)


@dataclass
class Tree:
    """All files below a raw folder."""

    root: Path  # what was given as ``--raw``
    # Files by folder; folders are relative to ``root``, with ``/`` between names, ``""`` for itself.
    folders: dict[str, dict[str, RawFile]] = field(default_factory=lambda: defaultdict(dict))
    packed: list[str] = field(default_factory=list)  # archives that cannot be looked into

    def images(self, folder: str) -> list[RawFile]:
        """Picture files of a folder, in natural order."""
        return [self.folders[folder][name] for name in media.natural_sorted(filter(_is_image, self.folders[folder]))]

    def image_folders(self) -> list[str]:
        """Folders that hold pictures, in natural order."""
        return media.natural_sorted(folder for folder, files in self.folders.items() if any(map(_is_image, files)))

    def files(self) -> Iterator[tuple[str, RawFile]]:
        """(relative path, file) of all files, in natural order."""
        for folder in media.natural_sorted(self.folders):
            for name in media.natural_sorted(self.folders[folder]):
                yield posixpath.join(folder, name), self.folders[folder][name]

    def names(self, folder: str) -> tuple[str, ...]:
        """The names on the way to a folder, ``root``'s own first."""
        return (self.root.resolve().name.removesuffix(".zip"), *(part for part in folder.split("/") if part))


def scan(root: str | Path) -> Tree:
    """List what is below ``root``, a folder or a zip archive.

    Raises:
        CorpusError: nothing there, or an archive that is locked or broken.
    """
    root = Path(root)
    tree = Tree(root)
    if root.is_file() and root.suffix.lower() == ".zip":
        _add_archive(tree, root, "")
    elif root.is_dir():
        _add_folder(tree, root)
    else:
        what = "is a file that is no zip archive" if root.is_file() else "does not exist"
        raise CorpusError(f"--raw {root} {what}; expected the corpus's folder, or a .zip of it")
    return tree


def _add_folder(tree: Tree, root: Path) -> None:
    archives, seen = [], set()
    for current, names, files in os.walk(root, followlinks=True):
        real = os.path.realpath(current)
        names[:] = [] if real in seen else [name for name in names if not is_passed_over(name)]
        if real in seen:  # a link that leads back up
            continue
        seen.add(real)
        folder = Path(current).relative_to(root).as_posix().removeprefix(".")
        for name in itertools.filterfalse(is_passed_over, files):
            path = Path(current) / name
            if name.lower().endswith(".zip"):
                archives.append((path, folder))
            elif name.lower().endswith(PACKED):
                tree.packed.append(posixpath.join(folder, name))
            try:
                state = path.stat()
            except OSError:  # a link that leads nowhere
                continue
            if not stat.S_ISREG(state.st_mode):  # it would be waited for
                raise CorpusError(f"{path} is a named pipe, socket or device, no file: remove it")
            tree.folders[folder][name] = RawFile(path, stamp=digest(*stat_state(state)))
    for path, folder in sorted(archives):
        _add_archive(tree, path, folder)


def _add_archive(tree: Tree, path: Path, folder: str) -> None:
    """The members where unpacking would put them: in a folder called like the archive unless they have one.

    What is unpacked there already is used instead.
    """
    members = [member for member in _members(path) if not any(map(is_passed_over, member.filename.split("/")))]
    tops = {member.filename.split("/")[0] for member in members}
    alone = len(tops) == 1 and all("/" in member.filename for member in members)
    prefix = folder if alone or path == tree.root else posixpath.join(folder, path.stem)
    for member in members:
        place, _, name = posixpath.join(prefix, member.filename).rpartition("/")
        if name not in tree.folders[place]:
            stamp = f"{member.file_size}-{member.CRC:08x}"
            tree.folders[place][name] = RawFile(path, member.filename, stamp)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except ARCHIVE_ERRORS as error:
        raise CorpusError(
            f"cannot read the archive {path} ({error}): it is damaged or not completely downloaded. Fetch it again, "
            "or move it out of the folder"
        ) from error
    for member in members:
        parts = [part for part in member.filename.split("/") if part != "."]
        if problem := next(filter(None, (name_problem(part, foreign=True) for part in parts)), ""):
            raise CorpusError(
                f"the archive {path} holds {member.filename!r}, which {problem}, and could be unpacked anywhere. "
                "Unpack what is good in it yourself, and move the archive away"
            )
    if any(member.flag_bits & 1 for member in members):
        raise CorpusError(
            f"the archive {path} is locked with a password: unpack it with the password from the corpus's owners, "
            "and move the archive elsewhere"
        )
    return members


def _is_image(name: str) -> bool:
    return name.lower().endswith(media.IMAGE_SUFFIXES)
