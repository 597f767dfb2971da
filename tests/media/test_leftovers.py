"""What killed writers leave beside their files is cleared, what live ones are writing is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from media import atomic_path, clear_leftovers
from tests.conftest import ROOT
from tests.pictures import leftovers

KILLED = """
import os, sys
from media import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""


def kill_writer(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT).returncode == 9


@pytest.mark.parametrize("name", ["a.mp4", "一" * 70 + ".mp4", "line\nfeed.mp4"], ids=["short", "long", "odd"])
def test_of_killed_writers(tmp_path, name):
    kill_writer(tmp_path / name)
    assert len(leftovers(tmp_path)) == 1
    with atomic_path(tmp_path / "other") as temporary:  # the first time that a process writes there
        temporary.touch()
    assert leftovers(tmp_path) == ["other"]


def test_live_writers_are_left_alone(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.touch()
        kill_writer(tmp_path / "a")
        assert len(leftovers(tmp_path)) == 2
        clear_leftovers(tmp_path, tmp_path / "nowhere")
        assert temporary.exists() and len(leftovers(tmp_path)) == 1
    assert leftovers(tmp_path) == ["a"]


def test_other_machines_are_given_an_hour(tmp_path):
    """What has another name is not this program's, however old."""
    names = (".a.0123456789ab-1.xyz.part", ".c.0123456789ab-2.xyz.part", ".d.part", "e.part")
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / names[1] / "frame").touch()
    clear_leftovers(tmp_path)
    assert len(leftovers(tmp_path)) == 4
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    clear_leftovers(tmp_path)
    assert leftovers(tmp_path) == list(names[1:])
