"""Requests to stop: which signals ask, which do not wait, and what a loader's worker makes of them."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context

import pytest

from parallel.stopping import StopRequest, outlive_requests


def test_sigterm_asks_and_ctrl_c_insists():
    request, before = StopRequest(), [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with request.on(signal.SIGINT, signal.SIGTERM):
        assert not request
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):  # what a launcher passes on
            os.kill(os.getpid(), number)
            assert request.signal == signal.SIGTERM
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    request = StopRequest()
    with request.on(signal.SIGINT):
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def _wait(connection) -> None:
    outlive_requests()
    connection.send("ready")
    while True:
        connection.send(connection.recv())


def test_a_worker_outlives_the_queues_signal_and_ends_with_its_own():
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_wait, args=(theirs,), daemon=True)
    worker.start()
    assert ours.recv() == "ready"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
        ours.send(int(number))
        assert ours.recv() == number
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == -signal.SIGTERM
