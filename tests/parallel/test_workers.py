"""Worker processes: they end with their parent, and begin with what their server has imported."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from parallel.workers import speak_any_alphabet
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


@pytest.mark.parametrize("command", ["run.py", "kpmaker.py", "prepare.py", "demo.py"])
def test_help_and_messages_survive_any_code_page(command):
    """Into a file on Windows: the encoding is the code page's, which lacks arrows, ellipses and most alphabets."""
    for encoding, arguments in (("cp1252", ["--help"]), ("ascii", ["微笑", "--Zoë"])):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        found = subprocess.run([sys.executable, ROOT / command, *arguments], capture_output=True, env=environment)
        said = (found.stdout + found.stderr).decode(encoding)
        assert "UnicodeEncodeError" not in said and found.returncode == (0 if arguments == ["--help"] else 2), said
        assert "usage" in said


def test_a_console_that_was_replaced_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # pythonw has none
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    speak_any_alphabet()
