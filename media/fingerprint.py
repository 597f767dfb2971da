"""What a clip or file is, by its content: what is derived from it keeps that, and so knows when it is out of date.

To read everything at every start would take minutes for thousands of clips (45 ms for 100 frames of 100 kB).  So a
fingerprint also holds the names, sizes and times of the files (1 ms): while these are as they were, nothing is read.
Where they differ the content decides: a copy, a move or a new date is no change.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from media.names import MediaError, frame_files


@dataclass(frozen=True)
class Fingerprint:
    """Of a clip or file as it was.

    Attributes:
        content: digest of the bytes of its frames, in their order, or of the file.
        state: digest of its files' names, sizes, times and places on disk.
    """

    content: str
    state: str

    @classmethod
    def of(cls, path: str | Path) -> Fingerprint:
        """The fingerprint of a clip or file.

        Raises:
            OSError, MediaError: it is not there, or cannot be read.
        """
        state = file_state(path)  # first: what is being written meanwhile shows as another state
        return cls(content_digest(path), state)

    def fits(self, path: str | Path) -> bool:
        """Whether ``path`` is still what it was.

        Raises:
            OSError: it cannot be read.
        """
        return self.state == file_state(path) or self.content == content_digest(path)

    def __str__(self) -> str:
        return f"{self.content} {self.state}"

    @classmethod
    def parse(cls, text: object) -> Fingerprint | None:
        """What ``str`` made of a fingerprint, again; None for anything else."""
        parts = text.split() if isinstance(text, str) else ()
        return cls(*parts) if len(parts) == 2 else None


def file_state(path: str | Path) -> str:
    """Changes whenever a file of a clip does, and with its name, place or date; nothing is read."""
    return digest(*((file.name, *stat_state(file.stat())) for file in _files(path)))


def stat_state(stat: os.stat_result) -> tuple[int, ...]:
    """What changes with a file: no program can write one and leave all of these as they were."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def content_digest(path: str | Path) -> str:
    """Changes with the content alone: the bytes of the frames of a folder, in their order, or of a file."""
    parts = []
    for file in _files(path):
        if not file.is_file():  # a named pipe would be waited for
            raise MediaError(f"{file} is no file that can be read: remove it")
        with file.open("rb") as stream:
            parts.append(hashlib.file_digest(stream, "blake2b").hexdigest())
    return digest(*parts)


def has_flipped_bytes(path: str | Path) -> bool:
    """Whether a file in PyTorch's format is not as it was written, by the checksums in it: PyTorch does not look at
    them, and takes what it finds for numbers.  False of other formats.
    """
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except Exception:  # zipfile and zlib raise a different type for every way a file can be broken
        return True


def digest(*parts: object) -> str:
    """20 hexadecimal digits that stand for ``parts``, of which ``repr`` tells all."""
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:20]


def _files(path: str | Path) -> list[Path]:
    path = Path(path)
    return frame_files(path) if path.is_dir() else [path]
