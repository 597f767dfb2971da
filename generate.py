"""Make labelled clips by the thousand: faces from photos, movements from scores of action units, and their truth.

    python generate.py --faces photos/ --out data/synthetic --clips 5000
    python generate.py --faces photos/ --like data/casme2/clips.csv --fps 200       # units and durations as in a corpus
    python generate.py --faces data/samm --scores scores.csv --clips 400            # first frames; scores of a table
    python prepare.py check --root data/synthetic --keypoints data/synthetic/keypoints

Beside the clips and clips.csv lie the key points, and of every frame the intensity of every unit and the true dense
motion (docs/scores.md).  A second run makes only what is missing; several may share one folder, on any machines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parallel.workers import speak_any_alphabet, usable_cores


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--faces", type=Path, required=True, metavar="DIR",
        help="photos, one face in each that looks at the camera; or clips, whose first frames are taken")  # fmt: skip
    add("--out", type=Path, default=Path("data/synthetic"), help="output folder (default: %(default)s)")
    add("--clips", type=int, default=1000, metavar="N", help="how many (default: %(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--like", type=Path, metavar="CSV",
        help="clips.csv of a corpus: its emotions, units and durations, as they come together there")  # fmt: skip
    source.add_argument("--scores", type=Path, metavar="CSV", help="scores to play, in place of drawn ones")
    add("--fps", type=float, default=100.0, help="frames a second, 30 to 1000 (default: %(default)g)")
    add("--size", type=int, default=256, help="side of the frames, 32 to 1024 pixels (default: %(default)s)")
    add("--variety", type=float, default=1.0, help="natural variation of the movements, 0 for none (default: 1)")
    add("--test-share", type=float, default=0.2, metavar="S",
        help="share of the people who are for testing, and never in train (default: %(default)s)")  # fmt: skip
    add("--tracks", action="store_true", help="also the true tracks, to train model: fpb_tracked on (1 MB a clip)")
    add("--seed", type=int, default=0, help="makes all random choices (default: 0)")
    add("--workers", type=int, default=usable_cores(), help="processes (default: one per CPU core)")
    add("--overwrite", action="store_true", help="make again what is there already, whatever its settings")
    return parser


def check_options(options: argparse.Namespace) -> None:
    """Raises a ValueError for a number out of range."""
    for name, low, high in (
        ("clips", 1, 10**6), ("fps", 30, 1000), ("size", 32, 1024), ("variety", 0, 3), ("seed", 0, 2**32 - 1),
        ("test_share", 0, 0.9), ("workers", 1, 512),
    ):  # fmt: skip
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(f"--{name.replace('_', '-')} {value:g}: expected {low:g} to {high:g}")


def run(options: argparse.Namespace) -> None:
    """Make the set that a parsed command line asks for, and say what came of it."""
    from scores.drawing import draw_usual, of_corpus, of_table
    from scores.synthetic import Recipe, build

    check_options(options)
    draw, source = draw_usual, "usual"
    if options.scores:
        draw, source = of_table(options.scores), str(options.scores)
    elif options.like:
        (draw, notice), source = of_corpus(options.like), str(options.like)
        if notice:
            print(f"{options.like}: {notice}", file=sys.stderr)
    recipe = Recipe(options.size, options.fps, options.variety, options.seed, options.tracks)
    for line in build(options.faces, options.out, options.clips, draw, source, recipe, options.test_share,
                      options.workers, options.overwrite):  # fmt: skip
        print(line)
    print(f"next: python prepare.py check --root {options.out} --keypoints {options.out / 'keypoints'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    speak_any_alphabet()
    options = build_parser().parse_args(arguments)
    from faces import DetectorUnavailable
    from media import describe_error, warn_in_one_line

    warn_in_one_line()
    try:
        run(options)
    except (ValueError, OSError, DetectorUnavailable, MemoryError) as error:
        print(f"error: {describe_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished clips are kept, and the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
