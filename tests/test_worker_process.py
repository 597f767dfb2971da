"""Worker processes end with their parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_do_not_outlive_a_killed_parent(method):
    program = f"""
        import os, signal
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from worker_process import start_worker

        pool = ProcessPoolExecutor(2, get_context({method!r}), start_worker)
        print(list(pool.map(abs, range(9))), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    # What is read here ends when the last process that writes to it does.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, f"{list(range(9))}\n")
