"""Reading ahead and writing behind: files are read and written in background threads while the networks compute.

The networks stay in the calling thread, as PyTorch's inference mode, autocast and current device are a thread's own.
Items and errors come as they would without threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event
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
    source, thread = iter(items), ThreadPoolExecutor(1, "read ahead")
    try:
        made = deque(thread.submit(next, source, END) for _ in range(depth))
        while (item := made.popleft().result()) is not END:
            made.append(thread.submit(next, source, END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


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
        self._threads = ThreadPoolExecutor(2, "write behind") if active else None
        self._depth = depth
        self._writers: list[Future] = []
        self._send: Callable[[object], None] = lambda item: None

    def __enter__(self) -> WriteBehind:
        return self

    def __call__(self, write: Callable[[Iterator[Item]], object], items: Iterable[Item]) -> None:
        if self._threads is None:
            write(iter(items))
            return
        queue, ended = Queue(self._depth), Event()

        def send(item: object) -> None:
            if not ended.is_set():  # else nobody would make room for it
                queue.put(item)

        def work() -> None:
            try:
                write(_received(queue))
            finally:
                ended.set()
                _clear(queue)  # the calling thread may be waiting for room

        self._send = send
        writer = self._threads.submit(work)
        self._writers.append(writer)
        try:
            for item in items:
                self._raise_errors()
                if ended.is_set():
                    writer.result()
                    return
                send(item)
            send(END)
        except BaseException as error:
            send(error)
            writer.result()
            if not isinstance(error, Exception):  # the writer may have had its last item already
                raise

    def _raise_errors(self) -> None:
        for writer in [writer for writer in self._writers if writer.done()]:
            writer.result()
            self._writers.remove(writer)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if self._threads is None:
            return
        if error is not None:
            self._send(error)  # to a writer that still waits for items
        self._threads.shutdown()
        if error is None:
            self._raise_errors()


def _received(queue: Queue) -> Iterator:
    """What is put into a queue, until ``END``; an exception is raised."""
    while (item := queue.get()) is not END:
        if isinstance(item, BaseException):
            raise item
        yield item


def _clear(queue: Queue) -> None:
    with suppress(Empty):
        while True:
            queue.get_nowait()
