"""Ctrl-C and SIGTERM as requests: a training stops where it can be gone on with."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class StopRequest:
    """Whether this process was asked to stop; true once it was.

    Attributes:
        signal: by which signal, first; None so far.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextlib.contextmanager
    def on(self, *numbers: signal.Signals) -> Iterator[None]:
        """In the block these signals ask for a stop.

        SIGTERM may come several times, as queues send it to every process and launchers pass it on; a second Ctrl-C
        stops at once.
        """
        try:
            before = {number: signal.signal(number, self._note) for number in numbers}
        except ValueError:  # not the main thread: signals are somebody else's
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if number == self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = signal.Signals(number)


def outlive_requests(number: int = 0) -> None:
    """For a loader's worker: the process that it works for decides when it ends.

    Ctrl-C and a queue's SIGTERM go to all processes of a job.  The second SIGTERM, which is that process's own, counts.

    Args:
        number: of the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
