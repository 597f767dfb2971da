"""Where a training leaves what it makes, and the record of what ran."""

from __future__ import annotations

import glob
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import torch
import yaml

from checkpoint import CheckpointError
from logger import CHECKPOINT_SUFFIX, read_lines
from media import atomic_path, explain_write_error, open_output_folder
from media.ownership import check_apart

KIND = "a training run"  # for the run folder's mark
ENVIRONMENT = "environment.jsonl"  # one line for every start of a run


def git_commit() -> str | None:
    """Commit of the code, if it is a checkout with git at hand."""
    command = ["git", "-C", str(Path(__file__).parent.parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def new_run_folder(
    log_dir: str, config_path: str, mode: str = "train", inputs: Mapping[str, str | Path | None] = MappingProxyType({})
) -> Path:
    """``<log_dir>/<config name> <dd_mm_yy_HH.MM.SS>/``, or that with a number where it exists; not yet made.

    Training modes other than ``train`` stand behind the config's name.

    Raises:
        OutputError: ``log_dir`` is a data set's, or an output's of another kind.
    """
    check_apart(log_dir, "--log_dir", KIND, inputs)
    name = Path(config_path).stem + ("" if mode == "train" else f" {mode}")
    name = f"{name} {time.strftime('%d_%m_%y_%H.%M.%S')}"
    folder = Path(log_dir) / name
    number = 1
    while folder.exists():
        number += 1
        folder = Path(log_dir) / f"{name}-{number}"
    return folder


def newest_checkpoint(log_dir: str, config_path: str) -> Path:
    """The checkpoint that the runs of a config in ``log_dir`` wrote last (the best one of a validation aside).

    Raises:
        CheckpointError: there is none.
    """
    folders = (folder for folder in Path(log_dir).glob(f"{glob.escape(Path(config_path).stem)} *") if folder.is_dir())
    found = [path for folder in folders for path in folder.glob(f"*{CHECKPOINT_SUFFIX}") if "best" not in path.name]
    if not found:
        raise CheckpointError(f"--checkpoint last: {log_dir} has no checkpoint of a {config_path} run")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def record_settings(folder: Path, config_path: str, config: dict, mode: str = "train") -> None:
    """What ran: a copy of the YAML, ``resolved.yaml``, and a line in ``environment.jsonl`` with versions and commit."""
    open_output_folder(folder, "the run folder", KIND, {}, ours=is_run_folder(folder, mode))
    try:
        if not (folder / Path(config_path).name).exists():
            shutil.copy(config_path, folder)
    except OSError as error:
        raise explain_write_error(error, folder) from error
    with atomic_path(folder / "resolved.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    environment = {
        "command": sys.argv,
        "mode": mode,
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "commit": git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": metadata.version("torchvision"),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    with (folder / ENVIRONMENT).open("a", encoding="utf-8") as file:
        file.write(json.dumps(environment) + "\n")


def is_run_folder(folder: Path, mode: str = "train") -> bool:
    """Whether a training of this mode left its records there, so that a resumed run belongs there too."""
    if not (folder / "resolved.yaml").is_file():
        return False
    records = read_lines(folder / ENVIRONMENT)
    return (records[-1].get("mode", "train") if records else "train") == mode
