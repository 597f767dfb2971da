"""How many worker processes there is room for, and what those of all pools begin with."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker(on_interrupt: signal.Handlers = signal.SIG_IGN) -> None:
    """A worker lives no longer than its parent, however that one ends.

    Args:
        on_interrupt: what Ctrl-C does, which goes to all processes; ignored, the parent decides what is finished.
    """
    signal.signal(signal.SIGINT, on_interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()  # of a parent that was killed, a pool's worker waits for work for good
    os._exit(1)
