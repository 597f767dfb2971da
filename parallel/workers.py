"""This process among others: which one the launcher started, how many have room, what those of pools begin with."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext


def speak_any_alphabet() -> None:
    """From now on, what the console's encoding lacks (a Windows code page, a pipe) is printed as ``?``, no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where there is no console, or another program took its place
            stream.reconfigure(errors="replace")


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launched() -> bool:
    """Whether a launcher such as ``torchrun`` started this process as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def local_rank() -> int:
    """Number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def global_rank() -> int:
    """Number of this process among all that the launcher started; 0 without a launcher."""
    return int(os.environ["RANK"]) if launched() else 0


def global_size() -> int:
    """How many processes the launcher started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def fork_server(module: str, environment: Mapping[str, str]) -> BaseContext:
    """Context of worker processes that are forked from a server, which starts now and imports ``module`` for them all.

    The server is a process of its own: what it loads is in memory once, while this one goes on, and forking it is safe
    whatever threads this one has.  A process has one server: later calls get the first one's.

    Args:
        module: its name.
        environment: variables that it finds in ``os.environ``.

    On other systems than Linux the processes are spawned, and find nothing imported.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    ours = {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    before = {name: os.environ[name] for name in ours if name in os.environ}
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # it would let Ctrl-C through again
    os.environ.update(ours)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for good: the parent decides what is finished
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name in ours:
            del os.environ[name]
        os.environ.update(before)
    return context


def start_worker(on_interrupt: signal.Handlers = signal.SIG_IGN) -> None:
    """A worker lives no longer than its parent, however that one ends.

    Args:
        on_interrupt: what Ctrl-C does, which goes to all processes; ignored, the parent decides what is finished.
    """
    from media import warn_in_one_line

    signal.signal(signal.SIGINT, on_interrupt)
    warn_in_one_line()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()  # of a parent that was killed, a pool's worker waits for work for good
    os._exit(1)
