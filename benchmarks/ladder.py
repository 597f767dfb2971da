"""What each lead is worth when trained with: from the paper's prior to the tracked model, one step at a time.

    python -m benchmarks.ladder                        # trains what is missing (7 times about 9 minutes of a core),
    python -m benchmarks.ladder --only FOMM MRAA       # or some of it, side by side with another process,
    python -m benchmarks.ladder --log ladder           # animates the sample's pairs and prints the tables

All runs share ``config/fpb_sample.yaml``: clips, size, networks, losses, batches, steps, seed.  Needs the sample data
(``prepare.py sample``, ``kpmaker.py --root data/sample --detector dlib --track``).  A run that was interrupted goes on
from its last checkpoint; checkpoints, clips, the evaluation's report and ``ladder.md`` lie in ``--log``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ablation import animate_pairs, data_arguments, judge, load, sample_pairs
from logger import checkpoint_path, last_checkpoint
from settings import load_config

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One training: its settings, and its difference from them."""

    config: str = "fpb_sample"
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def overrides(self) -> list[str]:
        return [f"{key}={value}" for key, value in self.changes.items()]


GENERATOR = "model_params.generator_params"
MOTION = f"{GENERATOR}.dense_motion_params"
TRACKED = {"model": "fpb_tracked"}
LOCAL = {**TRACKED, f"{MOTION}.locality": 0.015}
FIELD = {**LOCAL, f"{MOTION}.field_bias": 4}
BLENDED = {**FIELD, f"{GENERATOR}.blend_source": True}
RUNS = {
    "FOMM": Run("fomm_sample"),
    "MRAA": Run("mraa_sample"),
    "the paper's prior": Run(),
    "tracked key points": Run(changes=TRACKED),
    "+ local masks": Run(changes=LOCAL),
    "+ the field": Run(changes=FIELD),
    "+ the source blended in": Run(changes=BLENDED),
}


def train(name: str, run: Run, log: Path) -> Path:
    """Train, or go on, or find it done; returns the last epoch's checkpoint."""
    config = ROOT / "config" / f"{run.config}.yaml"
    epochs = load_config(config, run.overrides)["train_params"]["num_epochs"]
    folder = (log / name.replace(" ", "_")).resolve()
    command = [sys.executable, "run.py", "--config", str(config), "--log_dir", str(folder)]
    command += [f"--set={override}" for override in run.overrides]
    begun = _newest(folder)
    if begun is not None:
        command += ["--checkpoint", str(begun)]
    if begun is None or begun != checkpoint_path(begun.parent, epochs - 1):
        print(f"training {name}", flush=True)
        subprocess.run(command, check=True, cwd=ROOT)
    return _newest(folder)


def _newest(folder: Path) -> Path | None:
    """The checkpoint of the most epochs in the run folders of ``folder``."""
    found = filter(None, map(last_checkpoint, folder.glob("*")))
    return max(found, key=lambda path: path.name, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--train-only", action="store_true", help="neither animate nor evaluate")
    parser.add_argument("--log", type=Path, default=Path("ladder"))
    data_arguments(parser)
    arguments = parser.parse_args()
    checkpoints = {name: train(name, RUNS[name], arguments.log) for name in arguments.only}
    if arguments.train_only:
        return
    pairs, folders = sample_pairs(arguments.data), {}
    for name, checkpoint in checkpoints.items():
        folders[name] = arguments.log / "clips" / name.replace(" ", "_")
        animate_pairs(*load(checkpoint, arguments.data, arguments.keypoints), pairs, folders[name])
    judge(folders, arguments.data, arguments.log / "ladder.md")


if __name__ == "__main__":
    main()
