"""Work shared through a folder: every piece is done once, whoever dies."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from checkpoint import write_checkpoint
from corpora import ClipRecord, write_clips
from media import clear_leftovers, open_clip
from modules import build_networks
from parallel.work_sharing import FOLDER, Claims
from tests.conftest import ROOT, make_data, training_config

NAME = "a-b"


def other_process(folder: Path, code: str) -> subprocess.Popen:
    """A process that holds a claim on ``NAME`` and says so."""
    text = f"import time; from claims import Claims\nwith Claims({str(folder)!r}).hold({NAME!r}) as mine:\n    {code}"
    return subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE)


def test_one_holder(tmp_path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    with first.hold(NAME) as mine:
        assert mine
        with second.hold(NAME) as others:
            assert not others
        with second.hold("c") as free:
            assert free
    with second.hold(NAME) as mine:
        assert mine
    assert not (tmp_path / FOLDER).exists(), "nothing is left behind"


def test_a_claim_ends_with_an_exception(tmp_path):
    with pytest.raises(OSError), Claims(tmp_path).hold(NAME):
        raise OSError
    with Claims(tmp_path).hold(NAME) as mine:
        assert mine


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    message = "cannot write .*read-only; choose another output folder"
    with pytest.raises(OSError, match=message), Claims(tmp_path).hold(NAME):
        pass


def test_the_claim_of_a_killed_process_is_void_at_once(tmp_path):
    process = other_process(tmp_path, "print(mine, flush=True); time.sleep(60)")
    assert process.stdout.readline().strip() == b"True"
    with Claims(tmp_path).hold(NAME) as mine:
        assert not mine
    process.kill()
    time.sleep(0.2)  # not waited for: it stays in the table of processes
    if not Path("/proc/self/ns/pid").exists():
        pytest.skip("this system does not say which processes live: the lease alone decides (next test)")
    with Claims(tmp_path).hold(NAME) as mine:
        assert mine
    process.wait()


def silence(folder: Path, seconds: float) -> None:
    """Make the claim one of another machine, last touched so many seconds ago."""
    (claim,) = (folder / FOLDER).glob("*.0")
    claim.write_text(json.dumps({"name": NAME, "system": "elsewhere", "pid": 1, "started": "1"}))
    then = time.time() - seconds
    os.utime(claim, (then, then))


@pytest.mark.parametrize(("seconds", "void"), [(5, False), (40, True)])
def test_a_silent_machine_loses_its_claim(seconds, void, tmp_path):
    with Claims(tmp_path, lease=1e9).hold(NAME):
        silence(tmp_path, seconds)
        with Claims(tmp_path, lease=30).hold(NAME) as mine:
            assert mine is void
            with Claims(tmp_path, lease=30).hold(NAME) as third:
                assert not third, "a claim is taken over once"


def test_who_slept_too_long_leaves_the_claim_to_who_took_over(tmp_path):
    with contextlib.ExitStack() as over:
        with Claims(tmp_path, lease=1e9).hold(NAME):
            silence(tmp_path, 40)
            assert over.enter_context(Claims(tmp_path, lease=30).hold(NAME))
        with Claims(tmp_path, lease=30).hold(NAME) as third:
            assert not third
    assert not (tmp_path / FOLDER).exists()


def test_a_holder_shows_that_it_lives(tmp_path):
    with Claims(tmp_path, lease=0.5).hold(NAME):
        silence(tmp_path, 100)
        time.sleep(0.5)
        with Claims(tmp_path, lease=30).hold(NAME) as mine:
            assert not mine


def test_many_threads_take_over_once(tmp_path):
    """Twenty rounds in which eight see the same dead claim at once."""
    for _ in range(20):
        (tmp_path / FOLDER).mkdir(exist_ok=True)
        with Claims(tmp_path, lease=1e9).hold(NAME):
            silence(tmp_path, 1000)
            barrier, winners, over = threading.Barrier(8), [], threading.Event()

            def work(barrier=barrier, winners=winners, over=over):
                barrier.wait()
                with Claims(tmp_path).hold(NAME) as mine:
                    winners.append(mine)
                    if mine:
                        over.wait(10)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + 10
            while len(winners) < 8 and time.monotonic() < end:
                time.sleep(0.002)
            over.set()
            for thread in threads:
                thread.join()
            assert sorted(winners) == [False] * 7 + [True]


def test_share_leaves_nothing_out_and_does_nothing_twice(tmp_path):
    """Four threads, forty pieces; one of them fails at every piece, and each piece fails for nobody else."""
    done: set[int] = set()
    worked: list[int] = []

    def work(fails: bool) -> None:
        for item in Claims(tmp_path).share(range(40), str, done.__contains__):
            time.sleep(0.001)
            if not fails:
                worked.append(item)
                done.add(item)

    threads = [threading.Thread(target=work, args=(number == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(worked) == list(range(40))


def test_a_look_at_all_that_is_left_waits_for_nobody(tmp_path):
    """So items may be asked for before earlier ones are done; what others hold is left to a later look."""
    done: set[int] = set()
    sweeps = Claims(tmp_path).sweeps(range(3), str, done.__contains__)
    with Claims(tmp_path).hold("1"), contextlib.ExitStack() as claims:
        first = [item for item, claim in next(sweeps) if claims.enter_context(claim.pop_all())]
    done.update(first)
    second = [item for item, _ in next(sweeps)]
    done.update(second)
    assert (first, second, list(sweeps)) == ([0, 2], [1], [])


def test_claims_on_finished_work_are_cleared_away(tmp_path):
    process = other_process(tmp_path, "print(mine, flush=True); time.sleep(60)")
    process.stdout.readline()
    process.kill()
    process.wait()
    claims = Claims(tmp_path, lease=0)
    assert list(claims.share([NAME], str, lambda item: True)) == []
    assert not (tmp_path / FOLDER).exists()


def test_a_claim_that_ended_while_it_was_looked_at(tmp_path, monkeypatch):
    """By then another process may have made a new one: there are never two."""
    late = Claims(tmp_path)
    real, gone = late._void, iter([True])
    monkeypatch.setattr(late, "_void", lambda claim: next(gone, None) or real(claim))
    with Claims(tmp_path).hold(NAME) as first, late.hold(NAME) as second:
        assert (first, second) == (True, False)
        assert [path.suffix for path in (tmp_path / FOLDER).iterdir()] == [".0"]


def test_a_claim_on_what_was_free_when_it_was_looked_at(tmp_path, monkeypatch):
    """Since then another process has taken over from a dead one: the later number counts."""
    late = Claims(tmp_path)
    (tmp_path / FOLDER).mkdir()
    with Claims(tmp_path).hold(NAME):
        (claim,) = (tmp_path / FOLDER).iterdir()
        claim.rename(claim.with_suffix(".1"))
        real, empty = late._row, iter([[]])
        monkeypatch.setattr(late, "_row", lambda name: next(empty, real(name)))
        with late.hold(NAME) as second:
            assert not second
        assert [path.suffix for path in (tmp_path / FOLDER).iterdir()] == [".1"]


def test_a_folder_that_goes_while_it_is_made(tmp_path, monkeypatch):
    """Path.mkdir finds it there, looks whether it is a folder, and by then it is not there."""

    def gone(path, **options):
        raise FileExistsError(17, "File exists", str(path))

    monkeypatch.setattr(Path, "mkdir", gone)
    with Claims(tmp_path).hold(NAME) as mine:
        assert not mine


def test_a_folder_that_goes_before_the_claim_is_written(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda path, **options: None)
        with Claims(tmp_path).hold(NAME) as mine:
            assert not mine
    with Claims(tmp_path).hold(NAME) as mine:
        assert mine


def test_a_folder_that_goes_while_it_is_looked_at(tmp_path, monkeypatch):
    """Path.glob looks whether there is a folder, then opens it: to who tidies up, no claims are left."""
    (tmp_path / FOLDER).mkdir()

    def gone(path, pattern):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "glob", gone)
    assert list(Claims(tmp_path).share(range(3), str, lambda item: True)) == []


def test_exclusive(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(10):
            with Claims(tmp_path).exclusive("counter"):
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert counter.read_text() == "40"


def test_clear_leftovers(tmp_path):
    for name in (".a.mp4.x1.part", ".aa.mp4.x2.part", "a.mp4"):
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".aa.mp4.x2.part", "a.mp4"]
    clear_leftovers(tmp_path / "nowhere" / "a.mp4")


# ------------------------------------------------------------------------------------------ the whole program
def animation(folder: Path, pairs: int) -> list[str]:
    """The command that animates a data set with labels, ``pairs`` pairs of it."""
    data = make_data(folder / "data", test=4)
    records = [
        ClipRecord(f"test_{i}", "test", "sample", f"s{i}", "", 100.0, 5, emotion="joy", action_units="12")
        for i in range(4)
    ]
    write_clips(data / "clips.csv", records)
    config = training_config("fpb_fomm", data)
    config["animate_params"]["num_pairs"] = pairs
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    networks = {name: network.state_dict() for name, network in build_networks(config).items()}
    write_checkpoint(folder / "model.pth.tar", {**networks, "config": config})
    arguments = ["--config", "tiny.yaml", "--mode", "animate", "--checkpoint", "model.pth.tar", "--out", "out"]
    return [sys.executable, str(ROOT / "run.py"), *arguments, "--device", "cpu"]


def check_results(out: Path, pairs: int) -> None:
    """Every result once and whole, listed once, and nothing else."""
    assert not [path for path in out.rglob("*") if path.name.startswith(".")], "no claims, no half-written files"
    videos, strips = sorted(out.glob("*.mp4")), sorted((out / "png").iterdir())
    assert [path.stem for path in videos] == [path.stem for path in strips]
    assert len(videos) == pairs
    for path in (*videos, *strips):
        assert len(open_clip(path)) == 5
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["video"] for row in rows) == [path.name for path in videos]
    assert {row["driving_emotion"] for row in rows} == {"joy"}
    assert all(row["source_subject"] == f"s{row['source'][-1]}" for row in rows)
    assert all(len(row["checkpoint"]) == 16 and row["precision"] == "float32" for row in rows)


def start(command: list[str], folder: Path) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)


def kill_at_random(folder: Path, pairs: int, kills: int, seed: int) -> None:
    """Two workers at a time; ``kills`` times one of them is killed at a random moment and replaced."""
    command, rng = animation(folder, pairs), random.Random(seed)
    workers = [start(command, folder) for _ in range(2)]
    try:
        for _ in range(kills):
            time.sleep(rng.uniform(2, 8))
            victim = rng.randrange(2)
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = start(command, folder)
        for worker in workers:
            assert worker.wait(timeout=300) == 0
    finally:
        for worker in workers:
            worker.kill()
    check_results(folder / "out", pairs)


def test_killed_workers(tmp_path):
    """`python -m benchmarks kills` repeats this with other moments."""
    kill_at_random(tmp_path, pairs=8, kills=2, seed=0)


def test_a_launched_team_shares_the_pairs(tmp_path):
    command = animation(tmp_path, 5)
    done = subprocess.run([*command, "--device_ids", "0,1"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check_results(tmp_path / "out", 5)
    again = subprocess.run([*command, "--overwrite"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert "5 made" in again.stdout
