"""Make a data set in the layout that training and animation read: folders of frames, and clips.csv.

    python prepare.py sample --out data/sample              # built-in faces, nothing to download
    python prepare.py sample --out data/sample --only test  # the small part that the demo needs

Run ``python prepare.py <corpus> --help`` for a corpus's own options.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence


def _whole_number(low: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least ``low``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return parse


def _add_sample(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sample",
        help="built-in faces with known movements and ground truth",
        description="Faces made from two public-domain portraits that ship inside scikit-image and matplotlib, "
        "moving by facial action units. A second run makes only what is missing.",
    )
    parser.add_argument("--out", default="data/sample", help="output folder (default: %(default)s)")
    parser.add_argument("--seed", type=_whole_number(0), default=0, help="makes all random choices (default: 0)")
    parser.add_argument("--size", type=_whole_number(32), default=256, help="side of the frames, pixels (default: 256)")
    parser.add_argument("--train-clips", type=_whole_number(1), default=96, help="training clips (default: 96)")
    parser.add_argument("--only", choices=("train", "test"), help="make only this part")
    parser.add_argument(
        "--workers", type=_whole_number(1), default=os.cpu_count() or 1, help="processes (default: one per CPU core)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make again what is there already")
    parser.set_defaults(command=_run_sample)


def _run_sample(arguments: argparse.Namespace) -> None:
    from corpora.sample import build

    written = build(
        arguments.out, seed=arguments.seed, size=arguments.size, train_clips=arguments.train_clips,
        workers=arguments.workers, only=arguments.only, overwrite=arguments.overwrite,
    )  # fmt: skip
    print(f"{written} clips written to {arguments.out}" if written else f"{arguments.out} is complete")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="corpus", required=True, metavar="corpus")
    for add in (_add_sample,):
        add(commands)
    arguments = parser.parse_args(argv)
    try:
        arguments.command(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
