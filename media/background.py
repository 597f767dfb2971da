"""Reading ahead and writing behind: files are read and written in background threads while the networks compute.

The networks stay in the calling thread, as PyTorch's inference mode, autocast and current device are a thread's own.
Items and errors come as they would without threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue  # unlike Queue and Future, it has no lock that Ctrl-C can leave locked
from threading import Thread
from typing import TypeVar

import torch

Item = TypeVar("Item")
END = object()


def pays(device: torch.device) -> bool:
    """Whether threads save time: networks on the processor use all of its cores (benchmarks/README.md)."""
    return device.type != "cpu"


def read_ahead(items: Iterable[Item], active: bool, depth: int = 2) -> Iterator[Item]:
    """``items``, made in a background thread, at most ``depth`` of them beyond the one given out last.

    Closing the iterator ends the thread.  Where it is not ``active``, there is none.
    """
    if not active:
        yield from items
        return
    room, made, wanted = SimpleQueue(), SimpleQueue(), True

    def work() -> None:
        try:
            source = iter(items)
            while room.get() and wanted:
                made.put(next(source, END))
        except BaseException as error:
            made.put(error)

    thread = Thread(target=work, name="read ahead")
    for _ in range(depth):
        room.put(True)
    try:
        thread.start()
        while (item := made.get()) is not END:
            if isinstance(item, BaseException):
                raise item
            room.put(True)
            yield item
    finally:
        wanted = False
        room.put(False)
        if thread.is_alive():
            thread.join()


class _Writer(Thread):
    """``write(items)`` in a thread of its own, the items put by another one.

    Attributes:
        ended: whether ``write`` has returned, or raised ``error``.
    """

    def __init__(self, write: Callable[[Iterator], object], depth: int):
        super().__init__(name="write behind")
        self.write, self.ended, self.error = write, False, None
        self._items, self._room = SimpleQueue(), SimpleQueue()
        for _ in range(depth):
            self._room.put(True)

    def run(self) -> None:
        try:
            self.write(self._received())
        except BaseException as error:
            self.error = error
        self.ended = True
        self._room.put(True)  # who waits for room goes on

    def _received(self) -> Iterator:
        while (item := self._items.get()) is not END:
            if isinstance(item, BaseException):
                raise item
            self._room.put(True)
            yield item

    def put(self, item: object) -> None:
        """Hand an item over, when there is room."""
        self._room.get()
        self._items.put(item)

    def end(self, how: object = END) -> None:
        """There are no more items, or an error in their place; what follows the first end is never looked at."""
        self._items.put(how)

    def wait(self) -> None:
        """Wait for the end of ``write``."""
        while not self.ended and self.is_alive():
            self._room.get()
        if self.is_alive():
            self.join()


class WriteBehind:
    """Writers in background threads, fed by the calling one: ``behind(write, items)`` is ``write(items)`` that returns
    as soon as ``items`` are at their end.

    Two writers work at a time: the end of a clip (its strip is compressed, the encoder's last frames are waited for)
    takes as long as its frames did, and the next clip's frames come meanwhile.  An error of ``items`` is raised inside
    ``write``, which undoes what it has begun.  What ``write`` raises comes out of the same call, of the next one or of
    the ``with`` block, which waits for all writers.

    Args:
        active: False: everything happens in the calling thread.
        depth: how many items wait for a writer at most.
    """

    def __init__(self, active: bool, depth: int = 32):
        self._active, self._depth = active, depth
        self._writers: list[_Writer] = []

    def __enter__(self) -> WriteBehind:
        return self

    def __call__(self, write: Callable[[Iterator[Item]], object], items: Iterable[Item]) -> None:
        if not self._active:
            write(iter(items))
            return
        self._finish(all_but=1)
        writer = _Writer(write, self._depth)
        self._writers.append(writer)
        writer.start()
        try:
            for item in items:
                self._raise_errors()
                if writer.ended:
                    break
                writer.put(item)
            writer.end()
        except Exception as error:
            writer.end(error)
            writer.wait()
            self._raise_errors()

    def _finish(self, all_but: int = 0) -> None:
        while len(self._writers) > all_but:
            self._writers[0].wait()
            self._raise_errors()
            del self._writers[0]

    def _raise_errors(self) -> None:
        for writer in self._writers:
            if writer.error is not None:
                raise writer.error

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._finish()
            return
        for writer in self._writers:
            writer.end(error)
        for writer in self._writers:
            writer.wait()
