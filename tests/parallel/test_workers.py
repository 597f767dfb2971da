"""Worker processes: they end with their parent, and begin with what their server has imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that runs ``program``.  What it and its workers write is read until the last of them has ended."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=60, cwd=ROOT, env=os.environ | environment
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("context", ["get_context('fork')", "get_context('spawn')", "fork_server('wave', {})"])
def test_workers_do_not_outlive_a_killed_parent(context):
    done = run(f"""
        import os, signal
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from parallel.workers import fork_server, start_worker

        pool = ProcessPoolExecutor(2, {context}, start_worker)
        print(list(pool.map(abs, range(9))), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, f"{list(range(9))}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
def test_workers_begin_with_what_their_server_has(tmp_path):
    """A module from a folder that only ``sys.path`` names, and an environment that this process does not keep."""
    (tmp_path / "loaded.py").write_text("import os\nby, given = os.getpid(), os.environ['GIVEN']\n")
    done = run(
        f"""
        import os, sys
        from concurrent.futures import ProcessPoolExecutor
        from parallel.workers import fork_server

        sys.path.append({str(tmp_path)!r})
        before = dict(os.environ)
        with ProcessPoolExecutor(1, fork_server("loaded", {{"GIVEN": "model"}})) as pool:
            find = "[__import__('sys').modules['loaded'].by != __import__('os').getpid(), "
            find += "__import__('loaded').given, __import__('os').environ['GLIBC_TUNABLES']]"
            print(*pool.submit(eval, find).result(), dict(os.environ) == before)
        """,
        GLIBC_TUNABLES="glibc.malloc.check=0",
    )
    assert done.stdout == "True model glibc.malloc.check=0 True\n"
