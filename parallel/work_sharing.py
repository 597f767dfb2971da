"""Work shared by any number of processes on any number of machines, through files in a folder they all see.

Who works on something holds a lease on it (``filelock.SoftFileLease``: a file that only one process can create, and
that it touches while it lives).  The lease of a process that has ended on this machine is taken over at once, one that
stays untouched for ``LEASE`` seconds by whoever watched it that long.  Nobody talks to anybody; processes may be
started and killed at will.

A process that was stopped for longer than its lease may go on beside the one that took over.  That is harmless: a
result appears under its name whole or not at all (:func:`media.atomic_path`), so the later of two equal ones replaces
the earlier, and they never mix.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import OwnerRecord, SoftFileLease, Timeout

from media import explain_write_error

LEASE = 60.0  # seconds without a sign of life after which a claim is void; the same for all who share a folder
POLL = 0.5  # seconds between looks at what others are working on
FOLDER = ".claims"
UNSIGNED = 5.0  # seconds after which whoever made a claim's file and has not written into it was killed meanwhile
ABANDONED = 3600.0  # seconds: a file untouched for so long is of a process that was killed, whatever the clocks say

Item = TypeVar("Item")


class Claims:
    """Claims in ``<folder>/.claims``; the folder may be on a network.

    Args:
        folder: where the work's results go.
        lease: seconds after which a silent holder counts as dead.
    """

    def __init__(self, folder: str | Path, lease: float | None = None):
        self.folder, self.lease = Path(folder) / FOLDER, LEASE if lease is None else lease
        self._others: dict[Path, SoftFileLease] = {}  # kept, as a lease takes over only what it has watched itself
        self._watched: dict[Path, tuple[tuple, float]] = {}

    def _files(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except FileNotFoundError:  # it goes with the last claim
            return []

    def _remove_silent(self, path: Path) -> None:
        """Remove a claim that the lease should have taken over by now, but cannot.

        To do so it exchanges two names, which network folders (NFS, SMB) do not offer; and it never takes over an empty
        file, which a process leaves that is killed as it begins.
        """
        with contextlib.suppress(OSError):  # there is none, or another process was faster
            seen, since = self._watched.get(path, (None, 0.0))
            if seen != (state := _state(path)):
                self._watched[path] = state, time.monotonic()
            elif time.monotonic() - since > (1.5 * self.lease if state[0] else UNSIGNED):
                path.rename(aside := path.with_name(f"{path.name}.{uuid.uuid4().hex}"))
                if _state(aside) != seen:  # what another process, which was faster, has claimed since
                    path.hardlink_to(aside)
                aside.unlink()

    def _take(self, path: Path) -> SoftFileLease | None:
        self._remove_silent(path)
        lease = self._others.pop(path, None) or SoftFileLease(path, lease_duration=self.lease, thread_local=False)
        try:
            lease.acquire(blocking=False)
        except Timeout:
            self._others[path] = lease
            return None
        except OSError as error:
            if isinstance(error, (FileNotFoundError, FileExistsError)) and not self.folder.is_file():
                return None  # the folder went, with another process's last claim, while this one was made
            raise explain_write_error(error, self.folder) from error
        return lease

    @contextlib.contextmanager
    def _hold(self, path: Path) -> Iterator[bool]:
        lease = self._take(path)
        if lease is None:
            yield False
            return
        try:
            yield True
        finally:
            for file in self._files():
                if file.name.startswith(f"{path.name}."):  # of who was killed while it took this claim over
                    file.unlink(missing_ok=True)
            lease.release()
            with contextlib.suppress(OSError):  # others hold claims in it
                self.folder.rmdir()

    def hold(self, name: str) -> contextlib.AbstractContextManager[bool]:
        """Try to claim ``name`` for the length of the block; says whether it worked."""
        return self._hold(self.folder / hashlib.sha256(name.encode()).hexdigest()[:20])

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Wait for ``name`` and hold it for the length of the block."""
        while True:
            with self.hold(name) as mine:
                if mine:
                    yield
                    return
            time.sleep(POLL / 10)

    def share(
        self, items: Iterable[Item], name: Callable[[Item], str], done: Callable[[Item], bool]
    ) -> Iterator[tuple[Item, contextlib.ExitStack]]:
        """Items for this process to work on, until all are done, by whomever.

        Args:
            items: the whole work, the same for every process.
            name: of an item.
            done: whether its result is there, whole.

        Yields:
            items that nobody else works on, each at most once, whether it gets done or not; with its claim, which ends
            before the next item: whoever is not done with one by then takes its claim over with ``pop_all``.
        """
        for sweep in self.sweeps(items, name, done):
            yield from sweep

    def sweeps(
        self, items: Iterable[Item], name: Callable[[Item], str], done: Callable[[Item], bool]
    ) -> Iterator[Iterator[tuple[Item, contextlib.ExitStack]]]:
        """As :meth:`share`, in looks at all that is left, each of which is an iterator that never waits for others:
        who asks for items before it is done with earlier ones must be done with all before the next look.
        """
        left = list(items)
        while left:
            others: list[Item] = []
            yield self._sweep(left, name, done, others)
            if len(others) == len(left):
                time.sleep(POLL)
            left = others
        self.tidy()

    def _sweep(
        self, items: list[Item], name: Callable[[Item], str], done: Callable[[Item], bool], others: list[Item]
    ) -> Iterator[tuple[Item, contextlib.ExitStack]]:
        """Of ``items`` what is free, with its claim; what others hold goes to ``others``."""
        for item in items:
            if done(item):
                continue
            with contextlib.ExitStack() as claim:
                if not claim.enter_context(self.hold(name(item))):
                    others.append(item)
                elif not done(item):  # it was, perhaps, while the claim was asked for
                    yield item, claim

    def tidy(self) -> None:
        """Remove the claims of those who were killed before they gave them back; :meth:`sweeps` ends with it."""
        for path in {self.folder / file.name.partition(".")[0] for file in self._files()}:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()
            while True:
                with self._hold(path) as mine:
                    pass
                if mine or SoftFileLease(path).owner:
                    break
                time.sleep(POLL)  # it went just now; or nobody has written into it, and that takes UNSIGNED


def _state(claim: Path) -> tuple[OwnerRecord | None, int]:
    """Whose a claim is, as far as it says, and when it was touched."""
    return SoftFileLease(claim).owner, claim.stat().st_mtime_ns
