"""``python -m benchmarks kills --rounds 60``: what is killed at random moments loses, doubles and leaves nothing.

First all commands, each of which, run again, must come to what an undisturbed run comes to; then bare processes that
share quick pieces of work, so that most kills meet one that holds a claim.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from benchmarks.workshop import COMMANDS, Command, Run, files_below, furnish, last_checkpoint
from checkpoint import read_checkpoint
from logger import CHECKPOINT_SUFFIX, read_lines
from media.fingerprint import digest
from parallel.work_sharing import FOLDER, Claims

PIECES, WORKERS, KILLS = 200, 4, 60


def _work(folder: Path) -> None:
    def done(piece: int) -> bool:
        return (folder / f"{piece}.done").exists()

    for piece, _ in Claims(folder).share(range(PIECES), str, done):
        time.sleep(random.uniform(0, 0.02))
        own = folder / f"{piece}.{os.getpid()}"
        own.touch()
        try:
            os.link(own, folder / f"{piece}.done")
        except FileExistsError:
            (folder / f"{piece}.twice").touch()
        own.unlink()


def share_and_kill(folder: Path, seed: int) -> int:
    """Share ``PIECES`` among ``WORKERS`` processes, killed and replaced ``KILLS`` times; how many of the killed held a
    claim.

    Raises:
        AssertionError: a piece was not done, or twice; or something is left behind.
    """
    rng, fork, holders = random.Random(seed), get_context("fork"), 0

    def start():
        worker = fork.Process(target=_work, args=(folder,))
        worker.start()
        return worker

    workers = [start() for _ in range(WORKERS)]
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.002, 0.06))
        victim = rng.randrange(WORKERS)
        workers[victim].kill()
        workers[victim].join()
        owner = f"pid={workers[victim].pid}\n"
        holders += any(owner in _text(path) for path in folder.glob(f"{FOLDER}/*"))
        workers[victim] = start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0, worker.exitcode
    assert len(list(folder.glob("*.done"))) == PIECES and not list(folder.glob("*.twice"))
    assert not (folder / FOLDER).exists()
    return holders


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # the claim has just ended
        return ""


# ------------------------------------------------------------------------------------------------ whole commands
# Files that differ from run to run, though nothing was interrupted: they hold times, or places on disk.
VARY = re.compile(
    r"(^|/)(log\.txt|environment\.jsonl|curves\.png|manifest\.json|report\.html|report\.md|evaluation\.json|"
    r"index\.html|events\.out\..*|.*\.pth\.tar)$|/\.made_from/|/tracks/|/onsets/"
)
KILLABLE = ("key points", "prepare folder", "prepare casme2", "train", "animate", "reconstruction", "evaluate",
            "compare", "demo")  # fmt: skip


def outcome(root: Path, command: Command) -> dict[str, str]:
    """What a command has left in its folders: path → digest of the content, of what does not vary; a training's run
    folder goes by one name, and its checkpoints by their tensors.
    """
    found = {}
    for name in command.writes:
        for path in files_below(root / name):
            shown = re.sub(r"^log/[^/]+", "log/run", path.relative_to(root).as_posix())
            shown = re.sub(r"events\.out\..*", "events.out.", shown)
            if path.name == "metrics.jsonl":
                rows = [{**row, "seconds": 0} for row in read_lines(path)]
                found[shown] = digest(rows)
            elif path.name.endswith(CHECKPOINT_SUFFIX):
                data = read_checkpoint(path)
                found[shown] = digest([(key, value.tolist()) for key, value in sorted(data["generator"].items())])
            else:
                found[shown] = "" if VARY.search(shown) else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(root: Path) -> list[str]:
    """Scratch folders and claims, anywhere."""
    return [str(path) for path in root.rglob("*") if path.name == FOLDER or path.name.endswith(".part")]


def arguments_of(name: str, root: Path) -> tuple[str, ...]:
    """Those of a command; a training goes on from its last checkpoint, or begins anew where it came to none."""
    if name != "train":
        return COMMANDS[name].arguments
    last = last_checkpoint(root)
    if last is not None:
        return *COMMANDS[name].arguments, "--checkpoint", str(last.relative_to(root))
    shutil.rmtree(root / "log", ignore_errors=True)
    return COMMANDS[name].arguments


def _furnished(base: Path, root: Path, name: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    if name == "key points":
        shutil.rmtree(root / "keypoints")


def kill_round(base: Path, root: Path, name: str, rng: random.Random, whole: dict, seconds: float) -> str:
    """Kill a command some times at random moments, and let it run: what is wrong with the outcome, "" if nothing.

    Args:
        whole: what an undisturbed run leaves; ``seconds`` is how long it takes.
    """
    _furnished(base, root, name)
    for _ in range(rng.choice((1, 2, 3))):
        run = Run(arguments_of(name, root), root)
        code = run.wait(rng.uniform(0.02, 1.05) * seconds)
        if code not in (None, 0) and "has all" not in run.said():
            return f"exit code {code} of a run after a kill: {run.said()[-800:]}"
    run = Run(arguments_of(name, root), root)
    code = run.wait(300)
    if code != 0 and not (name == "train" and "has all" in run.said()):
        return f"exit code {code} of the whole run: {run.said()[-800:]}"
    if left := leftovers(root):
        return f"left behind: {left[:5]}"
    now = outcome(root, COMMANDS[name])
    differing = sorted(path for path in now.keys() | whole.keys() if now.get(path) != whole.get(path))
    return f"not as after an undisturbed run: {differing[:8]}" if differing else ""


def kill_commands(rounds: int, seed: int) -> tuple[int, Counter]:
    """``rounds`` times :func:`kill_round`, over all commands in turn; how many ended well, and rounds by command."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # its threads do not live on in a forked process
    good, tried, undisturbed = 0, Counter(), {}
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        base, root = Path(place, "base", "work"), Path(place, "scratch", "work")
        base.mkdir(parents=True)
        root.parent.mkdir()
        furnish(base)
        for number in range(rounds):
            name, rng = KILLABLE[number % len(KILLABLE)], random.Random(f"{seed} {number}")
            if name not in undisturbed:
                _furnished(base, root, name)
                run = Run(COMMANDS[name].arguments, root)
                if run.wait(600) != 0:
                    raise RuntimeError(f"{name} fails undisturbed: {run.said()}")
                undisturbed[name] = outcome(root, COMMANDS[name]), time.monotonic() - run.began
            wrong = kill_round(base, root, name, rng, *undisturbed[name])
            tried[name] += 1
            good += not wrong
            if wrong:
                print(f"round {number}: {name}: {wrong}", file=sys.stderr, flush=True)
    return good, tried


def run(arguments: argparse.Namespace) -> list[str]:
    """Kills in all commands, and in bare processes that share pieces of work."""
    good, tried = kill_commands(arguments.rounds, arguments.seed)
    holders, rounds = [], max(1, arguments.rounds // 10)
    for seed in range(arguments.seed, arguments.seed + rounds):
        with tempfile.TemporaryDirectory() as folder:
            holders.append(share_and_kill(Path(folder), seed))
    return [
        f"{good} of {arguments.rounds} rounds of kills ended as an undisturbed run, and with nothing left behind "
        f"({', '.join(f'{name} {count}' for name, count in tried.items())})",
        f"{len(holders)} of {rounds} rounds ended with every piece done once, and nothing left behind "
        f"({PIECES} pieces, {WORKERS} workers, {KILLS} kills each, {sum(holders)} in all while a claim was held)",
    ]
