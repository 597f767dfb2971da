"""Files and folders that appear under their names only when they are whole, and what to say where they cannot."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from media.ownership import check_own

ABANDONED = 3600.0  # seconds: what another machine has left half-written for so long is of a process that was killed
_OWNER = re.compile(r"\..*\.(?P<host>[0-9a-f]{12})-(?P<pid>\d+)\.[^.]*\.part", re.S)  # a scratch folder's name
_cleared: set[Path] = set()  # folders that this process has cleared of others' leftovers


def _host() -> str:
    """This machine since it was started, or this container of it: where a process's number means that process."""
    facts = [platform.node()]
    for fact in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            facts.append(os.readlink(fact) if os.path.islink(fact) else Path(fact).read_text())
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:12]


_HOST = _host()


@contextlib.contextmanager
def scratch_folder(destination: str | Path) -> Iterator[Path]:
    """A folder beside ``destination`` that is gone when the block ends; errors of writing name ``destination``."""
    destination = Path(destination)
    naming = {"prefix": f".{destination.name[:30]}.{_HOST}-{os.getpid()}.", "suffix": ".part"}
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if destination.parent not in _cleared:
            _cleared.add(destination.parent)
            clear_leftovers(destination.parent)
        with tempfile.TemporaryDirectory(**naming, dir=destination.parent, ignore_cleanup_errors=True) as folder:
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


def clear_leftovers(*folders: str | Path) -> None:
    """Remove from each of ``folders`` what killed processes have left of their attempts to write something there.

    What a live process is writing stays: a process of this machine is asked for by the number in the folder's name;
    what another machine's has not touched for ``ABANDONED`` seconds is a killed one's.  The first time that a process
    writes into a folder, this comes by itself.
    """
    for folder in folders:
        try:
            found = [(name, _OWNER.fullmatch(name)) for name in os.listdir(folder)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name, owner in found:
            if owner is not None and _is_left(Path(folder, name), owner):
                shutil.rmtree(Path(folder, name), ignore_errors=True)


def _is_left(part: Path, owner: re.Match) -> bool:
    """Whether nobody is writing into this scratch folder any more."""
    if os.name == "posix" and owner["host"] == _HOST:
        try:
            os.kill(int(owner["pid"]), 0)
        except ProcessLookupError:
            return True
        except OSError:  # another user's, or a number that is none
            pass
    with contextlib.suppress(FileNotFoundError):  # its owner has just finished it
        return time.time() - max(path.stat().st_mtime for path in (part, *part.glob("*"))) > ABANDONED
    return False


def remove_own(*paths: Path) -> None:
    """Remove folders of frames, and files, that this program wrote; nothing where there are none.

    Raises:
        OutputError: one of them is not this program's, or holds what is not; then all of them stay.
    """
    for path in paths:
        check_own(path)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
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
