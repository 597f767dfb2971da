"""Work shared by any number of processes on any number of machines, through files in a folder they all see.

Who works on something holds a claim: a file that only one process can create, and that it touches while it lives.
A claim whose holder has died, or was not touched for ``LEASE`` seconds, is taken over by the next claim in its row,
which again only one process can create.  Nobody talks to anybody; processes may be started and killed at will.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from media import explain_write_error

LEASE = 60.0  # seconds without a sign of life after which a claim is void
POLL = 0.5  # seconds between looks at what others are working on
FOLDER = ".claims"

Item = TypeVar("Item")


def _started(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's own units; None where none of that number lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # killed, and its parent has not noticed yet
    except (OSError, IndexError):
        return None


def _system() -> str | None:
    """This running kernel and its numbering of processes; None where only the lease can tell who lives."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _digest(name: str) -> str:
    """What the claims on ``name`` are called."""
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def _number(claim: Path) -> int:
    """Place of a claim in its row."""
    return int(claim.suffix[1:])


class Claims:
    """Claims in ``<folder>/.claims``; the folder may be on a network.

    Args:
        folder: where the work's results go.
        lease: seconds after which a silent holder counts as dead.
    """

    def __init__(self, folder: str | Path, lease: float | None = None):
        self.folder, self.lease = Path(folder) / FOLDER, LEASE if lease is None else lease
        self._held: set[Path] = set()
        self._beating, self._lock = False, threading.Lock()

    # ------------------------------------------------------------------------------------------ one claim
    def _row(self, name: str) -> list[Path]:
        """The claims made on ``name``, the valid one last."""
        try:
            return sorted(self.folder.glob(f"{_digest(name)}.*"), key=_number)
        except FileNotFoundError:  # the folder went, with another process's last claim, while it was looked at
            return []

    def _void(self, claim: Path) -> bool:
        """Whether the holder of a claim is dead."""
        try:
            holder = json.loads(claim.read_text(encoding="utf-8") or "{}")
            last = claim.stat().st_mtime
        except FileNotFoundError:
            return True
        except ValueError:  # it is being written
            return False
        if holder and holder["system"] and holder["system"] == _system():
            return _started(holder["pid"]) != holder["started"]
        return self._now() - last > self.lease

    def _now(self) -> float:
        """Time by the clock that dates the claims: that of the machine that holds the folder."""
        clock = self.folder / f"clock-{os.getpid()}-{threading.get_ident()}"
        try:
            clock.touch()
            return clock.stat().st_mtime
        finally:
            clock.unlink(missing_ok=True)

    def _take(self, name: str) -> Path | None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, FileExistsError) and not self.folder.is_file():
                return None  # it went, with another process's last claim, after it had been found to exist
            raise explain_write_error(error, self.folder) from error
        row = self._row(name)
        if row and not self._void(row[-1]):
            return None
        number = _number(row[-1]) + 1 if row else 0
        claim = self.folder / f"{_digest(name)}.{number}"
        content = {"name": name, "system": _system(), "pid": os.getpid(), "started": _started(os.getpid())}
        try:
            file = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except (FileExistsError, FileNotFoundError):  # another process was faster, or the folder went with its claim
            return None
        with open(file, "w", encoding="utf-8") as text:
            text.write(json.dumps(content))
        if self._alone(claim, name):
            return claim
        claim.unlink(missing_ok=True)
        return None

    def _alone(self, claim: Path, name: str) -> bool:
        """Whether nobody else has claimed ``name`` since the look at the row that ``claim`` follows.

        Both of two who claim at once may find that they are not, as both have claimed before they look; both never
        find that they are.
        """
        row = self._row(name)
        return row[-1:] == [claim] and all(self._void(earlier) for earlier in row[:-1])

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Try to claim ``name`` for the length of the block; says whether it worked."""
        try:
            claim = self._take(name)
        except FileNotFoundError:  # the folder went between two looks at it: another process has just finished
            claim = None
        if claim is None:
            yield False
            return
        self._keep(claim)
        try:
            yield True
        finally:
            self._held.discard(claim)
            for path in self._row(name):
                if _number(path) <= _number(claim):  # a later one is of who took over while this process slept
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others hold claims in it
                self.folder.rmdir()

    def _keep(self, claim: Path) -> None:
        with self._lock:
            self._held.add(claim)
            if not self._beating:
                self._beating = True
                threading.Thread(target=self._touch, name="claims", daemon=True).start()

    def _touch(self) -> None:
        """Show, while any claim is held, that its holder lives."""
        while True:
            time.sleep(self.lease / 5)
            with self._lock:
                held = list(self._held)
                self._beating = bool(held)
            if not held:
                return
            for claim in held:
                with contextlib.suppress(OSError):  # released since; or the network will be back
                    os.utime(claim)

    # ------------------------------------------------------------------------------------------ many
    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Wait for ``name`` and hold it for the length of the block."""
        while True:
            with self.hold(name) as mine:
                if mine:
                    yield
                    return
            time.sleep(POLL / 10)

    def each(
        self, items: Iterable[Item], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, contextlib.ExitStack]]:
        """All ``items``, each with its claim (as in :meth:`share_claims`), which is waited for."""
        for item in items:
            with contextlib.ExitStack() as claim:
                claim.enter_context(self.exclusive(name(item)))
                yield item, claim

    def share(self, items: Iterable[Item], name: Callable[[Item], str], done: Callable[[Item], bool]) -> Iterator[Item]:
        """Items for this process to work on, until all are done, by whomever.

        Args:
            items: the whole work, the same for every process.
            name: of an item.
            done: whether its result is there, whole.

        Yields:
            items that nobody else works on; each at most once, whether it gets done or not.
        """
        for item, _ in self.share_claims(items, name, done):
            yield item

    def share_claims(
        self, items: Iterable[Item], name: Callable[[Item], str], done: Callable[[Item], bool]
    ) -> Iterator[tuple[Item, contextlib.ExitStack]]:
        """As :meth:`share`, each item with its claim, which ends before the next item: whoever is not done with one
        by then takes its claim over with ``pop_all``.
        """
        for sweep in self.sweeps(items, name, done):
            yield from sweep

    def sweeps(
        self, items: Iterable[Item], name: Callable[[Item], str], done: Callable[[Item], bool]
    ) -> Iterator[Iterator[tuple[Item, contextlib.ExitStack]]]:
        """As :meth:`share_claims`, in looks at all that is left, each of which is an iterator that never waits for
        others: who asks for items before it is done with earlier ones must be done with all before the next look.
        """
        items = list(items)
        left = items
        while left:
            mine, others = [], []
            yield self._sweep(left, name, done, mine, others)
            left = others
            if left and not mine:
                time.sleep(POLL)
        self._tidy(name(item) for item in items if done(item))

    def _sweep(
        self,
        items: Iterable[Item],
        name: Callable[[Item], str],
        done: Callable[[Item], bool],
        mine: list[Item],
        others: list[Item],
    ) -> Iterator[tuple[Item, contextlib.ExitStack]]:
        """Of ``items`` what is free, with its claim, and entered in ``mine``; what others hold goes to ``others``."""
        for item in items:
            if done(item):
                continue
            with contextlib.ExitStack() as claim:
                if not claim.enter_context(self.hold(name(item))):
                    others.append(item)
                elif not done(item):  # it was, perhaps, while the claim was asked for
                    mine.append(item)
                    yield item, claim

    def _tidy(self, names: Iterable[str]) -> None:
        """Remove the claims of those who were killed between finishing a piece and giving it back."""
        if not self.folder.is_dir():
            return
        for name in names:
            for claim in self._row(name):
                if self._void(claim):
                    claim.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
