"""Work shared through a folder: every piece is done once, whoever dies."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
import yaml

from checkpoint import write_checkpoint
from corpora import ClipRecord, write_clips
from media import open_clip
from media.ownership import MARKER
from modules import build_networks
from parallel import work_sharing
from parallel.work_sharing import FOLDER, Claims
from tests.conftest import ROOT, make_data, training_config
from tests.pictures import leftovers

NAME = "a-b"
PATIENCE = 30.0  # seconds, for what takes a moment unless something is wrong


@contextlib.contextmanager
def holder(folder: Path, lease: float | None = None, host: str = "") -> Iterator[subprocess.Popen]:
    """Another process that holds a claim on ``NAME``, on a machine of that name; it ends when it may read a line."""
    lines = ["import socket, sys", "from parallel.work_sharing import Claims"]
    if host:
        lines.append(f"socket.gethostname = lambda: {host!r}")
    lines.append(f"with Claims({str(folder)!r}, {lease}).hold({NAME!r}) as mine:")
    lines.append("    print(mine, flush=True); sys.stdin.readline()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, **pipes) as process:
        try:
            assert process.stdout.readline() == b"True\n"
            yield process
        finally:
            process.kill()


def takes(claims: Claims, seconds: float) -> float | None:
    """How long it takes to get ``NAME``, which is given back at once; None where it doesn't come."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        with claims.hold(NAME) as mine:
            if mine:
                return time.monotonic() - begin
        time.sleep(0.02)
    return None


def claim_file(folder: Path) -> Path:
    (file,) = (folder / FOLDER).iterdir()
    return file


def no_exchange(monkeypatch) -> None:
    """What network folders answer to the exchange of two names (renameat2)."""
    exchange = pytest.importorskip("filelock._filesystem._exchange", reason="before 4.3 filelock renames, in two steps")
    monkeypatch.setattr(exchange, "_rename_call", lambda: (lambda source, target, flag: errno.EINVAL, 2))


# ------------------------------------------------------------------------------------------ one claim
def test_one_holder(tmp_path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    with first.hold(NAME) as mine:
        assert mine
        for claims in (first, second):
            with claims.hold(NAME) as others:
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


def test_a_claim_may_end_in_another_thread(tmp_path):
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(Claims(tmp_path).hold(NAME))
        claim = stack.pop_all()
    assert takes(Claims(tmp_path), 0.1) is None
    thread = threading.Thread(target=claim.close)
    thread.start()
    thread.join()
    assert takes(Claims(tmp_path), PATIENCE) is not None
    assert not (tmp_path / FOLDER).exists()


def test_a_fork_leaves_the_claim_alone(tmp_path):
    code = (
        "import os, sys; from parallel.work_sharing import Claims\n"
        "with Claims(sys.argv[1]).hold('a'):\n"
        "    if child := os.fork(): os.waitpid(child, 0)\n"
        "    else: sys.exit()\n"
        "    with Claims(sys.argv[1]).hold('a') as free: print(free)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
    assert not (tmp_path / FOLDER).exists()


def test_an_interrupted_holder_gives_back(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        assert not (tmp_path / FOLDER).exists()


# ------------------------------------------------------------------------------------------ folders
@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EROFS, "read-only"), (errno.ENOSPC, "the disk is full"), (errno.EACCES, "denied")]
)
@pytest.mark.parametrize("function", ["mkdir", "open"])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, number, reason, function):
    def fails(path, *arguments, **options):
        if FOLDER in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **options)

    owner = Path if function == "mkdir" else os
    real = getattr(owner, function)
    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"cannot write .*{reason}"):
        patch.setattr(owner, function, fails)
        with Claims(tmp_path).hold(NAME):
            pass
    assert not list(tmp_path.glob(f"{FOLDER}/*"))


@pytest.mark.parametrize("place", [f"out/{FOLDER}", "out"])
def test_a_file_where_the_folder_should_be(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(OSError, match="a file is where a folder is needed"), Claims(tmp_path / "out").hold(NAME):
        pass


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
    """To who tidies up, no claims are left."""
    (tmp_path / FOLDER).mkdir()

    def gone(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "iterdir", gone)
    assert list(Claims(tmp_path).share(range(3), str, lambda item: True)) == []


# ------------------------------------------------------------------------------------------ who dies, stops, sleeps
def test_the_claim_of_a_killed_process_is_void_at_once(tmp_path):
    with holder(tmp_path) as process:
        assert takes(Claims(tmp_path), 0.1) is None
        process.kill()
        process.wait()
        assert takes(Claims(tmp_path), PATIENCE) is not None  # which is half of the lease
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("how", ["a machine that went", "a process whose parent does not look", "a stopped process"])
def test_a_silent_holder_loses_its_claim_after_the_lease(tmp_path, how):
    elsewhere = how == "a machine that went"
    with holder(tmp_path, 1.5, "elsewhere" if elsewhere else "") as process:
        process.send_signal(signal.SIGSTOP if how == "a stopped process" else signal.SIGKILL)
        if elsewhere:
            process.wait()
        late = Claims(tmp_path, 1.5)
        assert takes(late, 1) is None
        assert takes(late, PATIENCE) > 0.3
    assert not (tmp_path / FOLDER).exists()


def test_who_slept_too_long_leaves_the_claim_to_who_took_over(tmp_path):
    with holder(tmp_path, 1) as process:
        process.send_signal(signal.SIGSTOP)
        late = Claims(tmp_path, 1)
        with contextlib.ExitStack() as over:
            while not over.enter_context(late.hold(NAME)):
                time.sleep(0.02)
            process.send_signal(signal.SIGCONT)
            process.communicate(b"\n", PATIENCE)
            assert process.returncode == 0
            assert takes(Claims(tmp_path, 1), 2) is None, "it is held, and shows it"
    assert not (tmp_path / FOLDER).exists()


def test_a_holder_shows_that_it_lives(tmp_path):
    with holder(tmp_path, 0.6, "elsewhere"):
        assert takes(Claims(tmp_path, 0.6), 3) is None


def test_many_threads_take_over_once(tmp_path):
    """Twenty rounds in which eight see the same dead claim at once."""
    with holder(tmp_path) as process:
        file = claim_file(tmp_path)
        dead = file.read_bytes()
        process.kill()
    for _ in range(20):
        (tmp_path / FOLDER).mkdir(exist_ok=True)
        file.write_bytes(dead)
        barrier, winners, over = threading.Barrier(8), [], threading.Event()

        def work(barrier=barrier, winners=winners, over=over):
            claims, tries = Claims(tmp_path), 0
            barrier.wait()
            while tries < 5:  # who meets others there may have to come again
                with claims.hold(NAME) as mine:
                    if mine:
                        winners.append(mine)
                        over.wait(PATIENCE)
                        return
                tries += 1
                time.sleep(0.01)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + PATIENCE
        while sum(thread.is_alive() for thread in threads) > 1 and time.monotonic() < end:
            time.sleep(0.002)
        over.set()
        for thread in threads:
            thread.join()
        assert winners == [True]
        assert not (tmp_path / FOLDER).exists()


# ------------------------------------------------------------------------------------------ what filelock cannot do
def test_a_killed_holder_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    """On a network folder ``filelock`` alone would never take over."""
    no_exchange(monkeypatch)
    with holder(tmp_path, 0.4) as process:
        process.kill()
        process.wait()
        alone, begin = filelock.SoftFileLease(claim_file(tmp_path), lease_duration=0.4), time.monotonic()
        while time.monotonic() - begin < 1.5:
            with pytest.raises(filelock.Timeout):
                alone.acquire(blocking=False)
        assert takes(Claims(tmp_path, 0.4), PATIENCE) > 0.5
    assert not (tmp_path / FOLDER).exists()


def test_who_was_killed_as_it_began(tmp_path, monkeypatch):
    """Between making the file and writing into it; ``filelock`` alone would take the file for a living holder's."""
    with holder(tmp_path) as process:
        file = claim_file(tmp_path)
        process.kill()
    file.write_bytes(b"")
    with pytest.raises(filelock.Timeout):
        filelock.SoftFileLease(file, lease_duration=0.2).acquire(timeout=1)
    monkeypatch.setattr(work_sharing, "UNSIGNED", 0.5)
    late = Claims(tmp_path)
    assert takes(late, 0.3) is None
    assert takes(late, PATIENCE) is not None
    (tmp_path / FOLDER).mkdir()
    file.write_bytes(b"")
    assert list(Claims(tmp_path).share([NAME], str, lambda item: True)) == []
    assert not (tmp_path / FOLDER).exists()


def test_a_swarm_that_is_killed_at_random(tmp_path):
    """Sixty kills in a few seconds; `python -m benchmarks kills` repeats this with other moments."""
    code = "import sys, pathlib, benchmarks.kills as k; print(k.share_and_kill(pathlib.Path(sys.argv[1]), 0))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "some held a claim"


def test_a_living_holder_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    no_exchange(monkeypatch)
    with holder(tmp_path, 0.6, "elsewhere"):
        assert takes(Claims(tmp_path, 0.6), 3) is None


def test_another_process_has_taken_over_from_the_silent_one(tmp_path, monkeypatch):
    """Between the last look at the silent claim and its removal: the new one is put back, and stays its holder's."""
    late, state, silent = Claims(tmp_path, 0.3), work_sharing._state, ("a silent claim", 0)
    with Claims(tmp_path, 0.3).hold(NAME):
        file = claim_file(tmp_path)
        before, looks = file.stat().st_ino, iter([silent, silent])
        monkeypatch.setattr(work_sharing, "_state", lambda path: next(looks, None) or state(path))
        for wait in (0.5, 0):
            with late.hold(NAME) as second:
                assert not second
            time.sleep(wait)
        assert next(looks, None) is None and claim_file(tmp_path).stat().st_ino == before
    assert not (tmp_path / FOLDER).exists()


# ------------------------------------------------------------------------------------------ many claims
def test_share_leaves_nothing_out_and_does_nothing_twice(tmp_path):
    """Four threads, forty pieces; one of them fails at every piece, and each piece fails for nobody else."""
    done: set[int] = set()
    worked: list[int] = []

    def work(fails: bool) -> None:
        for item, _ in Claims(tmp_path).share(range(40), str, done.__contains__):
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
    assert not (tmp_path / FOLDER).exists()


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


def test_an_item_that_comes_twice_is_worked_on_once(tmp_path):
    """Its claim is held, by this very process, when it comes again."""
    done: set[str] = set()
    with contextlib.ExitStack() as claims:
        sweeps = Claims(tmp_path).sweeps([NAME, NAME], str, done.__contains__)
        worked = [item for item, claim in next(sweeps) if claims.enter_context(claim.pop_all())]
        done.update(worked)
    assert worked == [NAME] and [list(sweep) for sweep in sweeps] == [[]]


def test_what_a_dead_process_left_is_taken_up_by_who_waits_for_it(tmp_path):
    """A machine goes while it works on the only piece that is left."""
    done: set[str] = set()
    with holder(tmp_path, 1, "elsewhere") as process:
        process.kill()
        process.wait()
        for item, _ in Claims(tmp_path, 1).share([NAME], str, done.__contains__):
            done.add(item)
    assert done == {NAME}
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("age", [0, 4000])
def test_claims_on_finished_work_are_cleared_away(tmp_path, age):
    """Of this machine's dead at once; of others', when they have lain there for an hour.

    What a process leaves that is killed while it takes over goes with them.
    """
    with holder(tmp_path, host="elsewhere" if age else "") as process:
        file = claim_file(tmp_path)
        process.kill()
        process.wait()
    for name in (file.name, "0123"):
        file.with_name(f"{name}.break.{process.pid}.{'0' * 32}").write_bytes(file.read_bytes())
    then = time.time() - age
    os.utime(file, (then, then))
    assert list(Claims(tmp_path).share([NAME], str, lambda item: True)) == []
    assert not (tmp_path / FOLDER).exists()


def test_claims_on_work_in_progress_stay(tmp_path):
    with holder(tmp_path, host="elsewhere") as process:
        assert list(Claims(tmp_path).share(["c"], str, lambda item: True)) == []
        assert claim_file(tmp_path).is_file()
        process.communicate(b"\n", PATIENCE)
    assert not (tmp_path / FOLDER).exists()


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


def test_claims_of_the_killed_are_tidied_away(tmp_path):
    """Whatever they were on, and also where nothing is left to share."""
    script = "import os, sys; from parallel.work_sharing import Claims\nwith Claims(sys.argv[1]).hold('x'): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script, tmp_path], cwd=ROOT).returncode == 9
    assert leftovers(tmp_path / ".claims")
    with Claims(tmp_path).hold("mine"):
        Claims(tmp_path).tidy()
        assert len(leftovers(tmp_path / ".claims")) == 1
    assert leftovers(tmp_path) == []
    Claims(tmp_path / "nowhere").tidy()


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
    hidden = [path.name for path in out.rglob("*") if path.name.startswith(".")]
    assert sorted(hidden) == [MARKER, ".made_from"], "no claims, no half-written files"
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
