"""Reading ahead and writing behind: files are read and written in background threads while the networks compute.

The networks stay in the calling thread, as PyTorch's inference mode, autocast and current device are a thread's own.
Items and errors come as they would without threads.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import TypeVar

import torch

Item = TypeVar("Item")
END = object()


def threads_pay(device: torch.device) -> bool:
    """Whether threads save time: networks on the processor use all of its cores (benchmarks/README.md)."""
    return device.type != "cpu"


def read_ahead(items: Iterable[Item], active: bool, depth: int = 2) -> Iterator[Item]:
    """``items``, made in a background thread, at most ``depth`` of them beyond the one given out last.

    Closing the iterator ends the thread.  Where it is not ``active``, there is none.
    """
    if not active:
        yield from items
        return
    source = iter(items)
    thread = ThreadPoolExecutor(1, "read ahead")
    try:
        made = deque(thread.submit(next, source, END) for _ in range(depth))
        while (item := made.popleft().result()) is not END:
            made.append(thread.submit(next, source, END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


def _received(queue: Queue) -> Iterator:
    while (item := queue.get()) is not END:
        if isinstance(item, BaseException):
            raise item
        yield item


def _send(item: object, writer: Future, queue: Queue) -> bool:
    """Whether the item was handed over, once there was room: a writer may stop early."""
    while not writer.done():
        try:
            queue.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False


class WriteBehind(contextlib.AbstractContextManager):
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
        self._threads = ThreadPoolExecutor(2, "write behind")
        self._writers: dict[Future, Queue] = {}

    def __call__(self, write: Callable[[Iterator[Item]], object], items: Iterable[Item]) -> None:
        if not self._active:
            write(iter(items))
            return
        self._finish(all_but=1)
        queue = Queue(self._depth)
        writer = self._threads.submit(write, _received(queue))
        self._writers[writer] = queue
        try:
            for item in items:
                for earlier in filter(Future.done, self._writers):
                    earlier.result()
                if not _send(item, writer, queue):
                    break
            _send(END, writer, queue)
        except Exception as error:
            _send(error, writer, queue)
            self._finish()

    def _finish(self, all_but: int = 0) -> None:
        while len(self._writers) > all_but:
            writer = next(iter(self._writers))
            writer.result()
            del self._writers[writer]

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        with self._threads:
            for writer, queue in self._writers.items():
                _send(error or END, writer, queue)
            if error is None:
                self._finish()
