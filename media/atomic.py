"""Files and folders that appear under their names only when they are whole, and what to say where they cannot."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from media.ownership import check_own


@contextlib.contextmanager
def scratch_folder(destination: str | Path) -> Iterator[Path]:
    """A folder beside ``destination`` that is gone when the block ends; errors of writing name ``destination``."""
    destination = Path(destination)
    naming = {"prefix": f".{destination.name[:60]}.", "suffix": ".part", "dir": destination.parent}
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(**naming, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise explain_write_error(error, destination) from error


@contextlib.contextmanager
def atomic_path(destination: str | Path) -> Iterator[Path]:
    """Write to the yielded temporary path; it takes the name ``destination`` only when the block ends well.

    Works for files and folders; what this program wrote under that name is replaced.  On any error, an interruption
    included, the temporary is removed and what was there stays.

    Raises:
        OutputError: there is what this program did not write.
    """
    destination = Path(destination)
    check_own(destination)
    with scratch_folder(destination) as folder:
        temporary = folder / destination.name
        yield temporary
        if temporary.is_dir() and destination.is_dir():
            _replace_folder(temporary, destination)
        else:
            os.replace(temporary, destination)


def clear_leftovers(destination: str | Path) -> None:
    """Remove what a killed process has left of its attempt to write ``destination``; nobody may be writing it now."""
    destination = Path(destination)
    if len(destination.name) <= 60:  # a longer one cannot be told from its neighbours
        for folder in destination.parent.glob(f".{glob.escape(destination.name)}.*.part"):
            shutil.rmtree(folder, ignore_errors=True)


def remove_own(path: Path) -> None:
    """Remove a folder of frames, or a file, that this program wrote; nothing where there is none.

    Raises:
        OutputError: it is not this program's, or holds what is not.
    """
    check_own(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
