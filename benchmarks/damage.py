"""``python -m benchmarks damage --count 300 --seed 0``: damaged inputs through every command.

Files of all kinds are truncated, flipped, emptied, swapped, renamed, or replaced by folders, pipes and numbers beyond
all bounds, at random.  Every run must end in time and without a traceback, leave what is not its own as it was, and
call itself a success only where its results are whole and finite.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import torch

from benchmarks.workshop import COMMANDS, Command, Run, files_below, furnish

LIMIT = 120.0  # seconds a run
ODD_NAMES = ("line\nfeed", "no\udcffutf", "CON", "..mp4", "ÿ" * 100, "a:b", "-x", "%s", "٣", " ")
BEYOND = ("1e400", "-1", "99999999999999999999999", "nan", "0", "", "1e300", "٣", "2147483648", "{}", "null", "x" * 300)
SELF = ("a: &a [*a]\n", "base: tiny.yaml\n", "a: &a {b: *a}\n", "[" * 3000)


# ------------------------------------------------------------------------------------------------ damages
def truncate(file: Path, rng: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data) + 1)])


def flip(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 3, 20, 200)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def flip_head(file: Path, rng: random.Random) -> None:
    """Sizes and types stand at the beginning."""
    data = bytearray(file.read_bytes())
    for _ in range(3):
        data[rng.randrange(min(64, len(data)))] = rng.choice((0, 255, rng.randrange(256)))
    file.write_bytes(data)


def empty(file: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def noise(file: Path, rng: random.Random) -> None:
    file.write_bytes(rng.randbytes(rng.choice((10, 1000, 100_000))))


def folder(file: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()
    if rng.random() < 0.5:
        (file / "inside").write_text("x")


def pipe(file: Path, rng: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def dangling(file: Path, rng: random.Random) -> None:
    file.unlink()
    file.symlink_to(rng.choice(("nowhere", file.name, "..", "/dev/zero")))


def gone(file: Path, rng: random.Random) -> None:
    file.unlink()


def swap(file: Path, rng: random.Random) -> None:
    root = next(parent for parent in file.parents if parent.name == "work")
    others = sorted(path for path in files_below(root) if path.suffix != file.suffix and not path.is_symlink())
    shutil.copyfile(rng.choice([path for path in others if path.is_file()]), file)


def rename(file: Path, rng: random.Random) -> None:
    """The file, or its folder; the suffix stays, or is another kind's."""
    suffix = rng.choice((file.suffix, ".png", ".mp4", ".gif", ".csv", ""))
    with contextlib.suppress(OSError):  # some names are too long with it
        file.rename(file.with_name(rng.choice(ODD_NAMES) + suffix))


def rename_folder(file: Path, rng: random.Random) -> None:
    if file.parent.name != "work":
        with contextlib.suppress(OSError):
            file.parent.rename(file.parent.with_name(rng.choice(ODD_NAMES)))


def bad_numbers(file: Path, rng: random.Random) -> None:
    """A number, in text; a value, in tensors."""
    if file.name.endswith((".pt", ".tar")):
        poison(file, rng)
        return
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    numbers = list(re.finditer(r"(?<![\w.])-?\d+(\.\d+)?", text))
    if numbers:
        found = rng.choice(numbers)
        text = text[: found.start()] + rng.choice(BEYOND) + text[found.end() :]
        file.write_bytes(text.encode("utf-8", "surrogateescape"))


def endless(file: Path, rng: random.Random) -> None:
    with file.open("a") as stream:
        stream.write("\n" + rng.choice(SELF))


def poison(file: Path, rng: random.Random) -> None:
    """NaN, infinity or an enormous value in some tensor."""
    content = torch.load(file, weights_only=True)
    tensors, waiting = [], [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
            tensors.append(value)
    chosen = rng.choice(tensors)
    chosen.view(-1)[rng.randrange(chosen.numel())] = rng.choice((float("nan"), float("inf"), 3e4))
    torch.save(content, file)


TEXTS = (".csv", ".yaml", ".json")
ALWAYS = (truncate, flip, flip_head, empty, noise, folder, pipe, dangling, gone, swap, rename, rename_folder)


def damages_of(file: Path) -> tuple:
    """What can be done to a file."""
    if file.suffix in TEXTS:
        return *ALWAYS, bad_numbers, bad_numbers, bad_numbers, endless
    if file.name.endswith((".pt", ".tar")):
        return *ALWAYS, poison, poison, poison, flip, flip
    return ALWAYS


# ------------------------------------------------------------------------------------------------ a case
def _hashes(root: Path, left_out: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for path in files_below(root, *left_out):
        if path.is_file() and path.stat().st_size < 10**9 and not path.is_symlink():
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _plant(root: Path, command: Command) -> dict[str, str]:
    """Foreign files in the folders that the command writes into; their hashes by path."""
    planted = {}
    for name in command.writes:
        if (root / name).suffix == "":
            place = root / name / "notes of mine.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("do not touch")
            planted[str(place.relative_to(root))] = hashlib.sha256(place.read_bytes()).hexdigest()
    return planted


def try_case(base: Path, scratch: Path, number: int, seed: int) -> tuple[str, str, str]:
    """One damaged input: what was done to which command, how it ended, and what is wrong with that ("" if nothing)."""
    rng = random.Random(f"{seed} {number}")
    root = scratch / "work"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    name = list(COMMANDS)[number % len(COMMANDS)]
    command = COMMANDS[name]
    planting, done = rng.random() < 0.15, []
    for _ in range(rng.choice((1, 1, 1, 2))):
        pattern = rng.choice(command.reads)
        files = sorted(path for path in root.glob(pattern) if path.is_file() and not path.is_symlink())
        if files:
            file = rng.choice(files)
            damage = rng.choice(damages_of(file))
            done.append(f"{damage.__name__} {file.relative_to(root)}")
            damage(file, rng)
    before = _hashes(root, command.writes) | (_plant(root, command) if planting else {})
    run = Run(command.arguments, root)
    code = run.wait(LIMIT)
    return f"{name}: {'; '.join(done)!r}", str(code), _wrong(command, code, run.said(), before, root)


def _wrong(command: Command, code: int | None, said: str, before: dict[str, str], root: Path) -> str:
    if code is None:
        return f"it runs for more than {LIMIT:.0f} s"
    if "Traceback (most recent call last)" in said:
        return f"a traceback: {said[said.rindex('Traceback (most') :][-1500:]}"
    if code not in (0, 2) and not (code == 1 and "not finite" in said):
        return f"exit code {code}: {said[-500:]}"
    after = {path: _hash(root / path) for path in before}
    changed = [path for path in before if before[path] != after[path]]
    if changed:
        return f"changed or removed: {changed[:5]}"
    if code == 0:
        try:
            command.check(root)
        except Exception as error:
            return f"no success: {type(error).__name__}: {error}"
    elif "error" not in said + run_output(root):
        return f"exit code {code} without a word: {said[-300:]!r}"
    return ""


def run_output(root: Path) -> str:
    """What came to standard output."""
    return (root.parent / "said.1").read_text(encoding="utf-8", errors="replace")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def run(arguments: argparse.Namespace) -> list[str]:
    """Try ``--count`` damages; every failure is said as it comes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # its threads do not live on in a forked process
    failures, codes = 0, Counter()
    with tempfile.TemporaryDirectory(prefix="damage-") as place:
        base, scratch = Path(place, "base", "work"), Path(place, "scratch")
        base.mkdir(parents=True)
        scratch.mkdir()
        furnish(base)
        for number in range(arguments.first, arguments.first + arguments.count):
            what, code, wrong = try_case(base, scratch, number, arguments.seed)
            codes[what.partition(":")[0], code] += 1
            failures += bool(wrong)
            if wrong:
                print(f"case {number}: {what}: {wrong}", file=sys.stderr, flush=True)
    total = Counter(code for _, code in codes.elements())
    ended = ", ".join(f"{count} with {code}" for code, count in sorted(total.items()))
    taken = ", ".join(f"{name} {count}" for (name, code), count in sorted(codes.items()) if code == "0")
    return [
        f"{arguments.count} damaged inputs (seed {arguments.seed}): {failures} went wrong; exit codes: {ended}",
        f"taken, with whole results: {taken or 'none'}",
    ]
