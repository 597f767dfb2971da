"""Make a data set in the layout that training and animation read: folders of frames, and clips.csv.

    python prepare.py casme2  --raw CASME2 --out data/casme2        # a corpus as its owners ship it …
    python prepare.py samm    --raw SAMM --out data/samm
    python prepare.py smic_hs --raw SMIC_all_raw --out data/smic_hs
    python prepare.py megc2021 --raw MEGC2021_generation.zip --out data/megc2021
    python prepare.py folder  --raw my_clips --fps 200 --out data/mine   # … or any tree of videos or frame folders
    python prepare.py check   --root data/casme2 data/megc2021      # what is wrong with it, before training finds out
    python prepare.py sample  --out data/sample                     # built-in faces, nothing to download
    python prepare.py sample  --out data/sample --only test         # the small part that the demo needs
    python prepare.py portraits --faces DIR --out data/portraits    # a training set from photos of faces

A second run does only what is missing or has changed.  Look at report.html in the output folder before you train.
Run ``python prepare.py <corpus> --help`` for a corpus's own options.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from parallel.workers import speak_any_alphabet, usable_cores

SPLITS = ("paper", "subject", "train")
# What prepare.py calls a corpus: its title; how its clips can be split, the default first.
CORPORA = {
    "casme2": ("CASME II", SPLITS),
    "samm": ("SAMM", SPLITS),
    "smic_hs": ("SMIC, high-speed part", SPLITS),
    "megc2021": ("MEGC 2021, generation task: its clips and faces", ("train",)),  # all of it is the test set
    "folder": ("any tree of videos or folders of frames", ("train", "subject")),
}
FRAMES = {"casme2": ("selected", "raw", "cropped"), "smic_hs": ("raw", "cropped", "extended")}
FINISHED, FAILED, INTERRUPTED = 0, 2, 130  # exit codes


def _number(kind: type, is_legal: Callable[[float], bool], what: str) -> Callable[[str], float]:
    """An argparse type: a legal number of that kind; ``what`` it is, for the message."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if is_legal(value):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return parse


def _whole_number(low: int, high: int = 2**31 - 1) -> Callable[[str], float]:
    return _number(int, lambda value: low <= value <= high, f"a whole number from {low} to {high}")


def _pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression ({error})") from error


_POSITIVE = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=_whole_number(1, 512), default=usable_cores(), help="processes (default: one per CPU core)"
    )


# ------------------------------------------------------------------------------------------------------ sample
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
    _add_workers(parser)
    parser.add_argument("--overwrite", action="store_true", help="make again what is there already")
    parser.set_defaults(command=_run_sample)


def _run_sample(arguments: argparse.Namespace) -> int:
    from corpora.sample import build

    written = build(
        arguments.out, seed=arguments.seed, size=arguments.size, train_clips=arguments.train_clips,
        workers=arguments.workers, only=arguments.only, overwrite=arguments.overwrite,
    )  # fmt: skip
    print(f"{written} clips written to {arguments.out}" if written else f"{arguments.out} is complete")
    return FINISHED


# ------------------------------------------------------------------------------------------------------ portraits
def _add_portraits(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "portraits",
        help="a training set from a folder of photos: faces that move by action units, with ground truth",
        description="Photos of faces → clips in which they move by facial action units, strongly in training; people "
        "held out to test with, and the truth for pairs of them. Photos that show no single large face that looks at "
        "the camera are left out, see left_out.csv. A second run makes only what is missing.",
    )
    add = parser.add_argument
    add("--faces", type=Path, required=True, metavar="DIR", help="the photos: image files, one person in each")
    add("--out", type=Path, default=Path("data/portraits"), help="output folder (default: %(default)s)")
    add("--held-out", metavar="PATTERN", help="file names of the faces to test with, such as 'f*' (default: one in 16)")
    add("--clips", type=_whole_number(1), default=3, help="clips of each face in training (default: 3)")
    add("--seed", type=_whole_number(0), default=0, help="makes all random choices (default: 0)")
    add("--size", type=_whole_number(32), default=256, help="side of the frames, pixels (default: 256)")
    _add_workers(parser)
    add("--overwrite", action="store_true", help="make again what is there already, whatever its settings")
    parser.set_defaults(command=_run_portraits)


def _run_portraits(arguments: argparse.Namespace) -> int:
    from corpora.portraits import build

    done = build(
        arguments.faces, arguments.out, arguments.held_out, arguments.clips, arguments.seed, arguments.size,
        arguments.workers, arguments.overwrite,
    )  # fmt: skip
    print(f"{arguments.out}: {done}")
    return FINISHED


# ------------------------------------------------------------------------------------------------------ corpora
def _add_corpus(commands: argparse._SubParsersAction, corpus: str, chosen: bool) -> None:
    """The command of a corpus; ``chosen``: with the options whose import takes a while."""
    title, splits = CORPORA[corpus]
    parser = commands.add_parser(
        corpus,
        help=title,
        description=f"{title} → face crops, clips.csv and a report. The face is looked for once, in each clip's onset "
        "frame, and all frames of the clip are cut alike.",
    )
    parser.set_defaults(
        command=_run_corpus, corpus=corpus, sheet=None, no_sheet=False, frames=None, fps=None,
        labels=None, subjects=None, split="train", test_share=0.2, test_subjects="", seed=0, challenge=None,
    )  # fmt: skip
    add = parser.add_argument
    add("--raw", type=Path, required=True, metavar="DIR", help="the corpus as downloaded: its folder, or a .zip of it")
    add("--out", type=Path, default=Path("data") / corpus, help="output folder (default: %(default)s)")
    if corpus in ("casme2", "samm", "smic_hs"):
        add("--sheet", type=Path, metavar="FILE", help="the coding sheet: .xlsx, .xls or .csv (default: the one there)")
        add("--no-sheet", action="store_true", help="import the frames without annotations")
    if corpus in FRAMES:
        add("--frames", choices=FRAMES[corpus], help="which copy of the frames (default: the first that is there)")
    # fmt: off
    if corpus == "folder":
        add("--fps", type=_POSITIVE, metavar="N", help="frames a second, of videos too (default: what a video says)")
        add("--labels", type=Path, metavar="FILE",
            help="a table, one row a clip: .xlsx, .xls or .csv with the columns clip, subject, onset, apex, offset, "
            "emotion, action units, as far as they are known; labels.csv in the output is one to begin with")
        add("--subjects", type=_pattern, metavar="REGEX",
            help="finds the person in a clip's path, such as '(s[0-9]+)_' (default: the first folder)")
    # fmt: on
    if chosen:
        _add_cutting(parser)
    if len(splits) > 1:
        _add_splitting(parser, splits)
    _add_workers(parser)
    add("--overwrite", action="store_true", help="make anew what an earlier run wrote, whatever its settings")


def _add_cutting(parser: argparse.ArgumentParser) -> None:
    from faces import face_choice
    from faces.crop import add_crop_options

    add = parser.add_argument
    add("--size", type=_whole_number(16), default=256, help="side of the crops, pixels (default: 256)")
    add_crop_options(parser)
    # fmt: off
    add("--detector", choices=("dlib", "face-alignment"), default="dlib", help="default: %(default)s, offline")
    add("--device", default="auto", help="where face-alignment runs: auto, cpu, cuda or mps")
    add("--upsample", type=_whole_number(0), metavar="N",
        help="dlib: doublings of the frame before the search; 1 finds faces from 40 pixels, slowly (default: 0, as the "
        "paper: from 80)")
    add("--landmark-model", metavar="PATH", help="another landmark model, see kpmaker.py")
    add("--on-missing", choices=("skip", "whole", "error"), default="skip",
        help="a clip without a face is left out (skip), used uncut (whole), or is an error; always reported "
        "(default: %(default)s)")
    add("--keep-doubtful", action="store_true",
        help="use clips whose face is doubtful, too: look at the first onsets of the report; else they are left out")
    add("--face", type=face_choice, default="largest", metavar="N|left|right|largest",
        help="which face of a frame that shows several; N counts from the left (default: largest)")
    # fmt: on


def _add_splitting(parser: argparse.ArgumentParser, splits: Sequence[str]) -> None:
    add = parser.add_argument
    # fmt: off
    add("--split", choices=splits, default=splits[0],
        help="paper: everything trains but the challenge's source clips; subject: no subject of a test clip in train; "
        "train: everything trains (default: %(default)s)")
    add("--test-share", type=float, default=0.2, metavar="S",
        help="subject: at least this share of the subjects is for testing (default: %(default)s)")
    add("--test-subjects", default="", metavar="A,B", help="subject: exactly these are for testing")
    add("--seed", type=_whole_number(0), default=0, help="of the draw of subjects (default: 0)")
    if "paper" in splits:
        add("--challenge", type=Path, metavar="CSV",
            help="list of the challenge's clips (default: data/megc2021_challenge.csv)")
    # fmt: on


def _run_corpus(arguments: argparse.Namespace) -> int:
    from corpora.coded import Source
    from corpora.cutting import Settings
    from corpora.pipeline import prepare
    from corpora.report import write_reports
    from corpora.splits import CHALLENGE_FILE, SplitOptions
    from corpora.tree import CorpusError, scan
    from faces.crop import chosen_crop

    out, corpus = arguments.out, arguments.corpus
    settings = Settings(
        chosen_crop(arguments, arguments.size), detector=arguments.detector, upsample=arguments.upsample,
        device=arguments.device, landmark_model=arguments.landmark_model, on_missing=arguments.on_missing,
        face=arguments.face, keep_doubtful=arguments.keep_doubtful,
    )  # fmt: skip
    subjects = tuple(name.strip() for name in arguments.test_subjects.split(",") if name.strip())
    split = SplitOptions(
        arguments.split, arguments.seed, arguments.test_share, subjects, arguments.challenge or CHALLENGE_FILE
    )
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(arguments.raw)):
        raise CorpusError(f"--out {out} lies inside --raw {arguments.raw}: choose a folder elsewhere")
    modules = {name: importlib.import_module(f"corpora.{name}") for name in CORPORA}
    source = Source(
        scan(arguments.raw), tuple(m.LAYOUT for m in modules.values() if hasattr(m, "LAYOUT")),
        arguments.sheet, not arguments.no_sheet, arguments.frames, arguments.fps, arguments.labels, arguments.subjects,
    )  # fmt: skip
    listing = modules[corpus].read(source)
    prepared = prepare(listing, out, corpus, settings, split, arguments.workers, arguments.overwrite)
    facts = settings.as_dict(corpus) | {"raw": str(arguments.raw), "split": arguments.split}
    report, _ = write_reports(out, f"{CORPORA[corpus][0]}: {out}", prepared, facts)
    for remark in prepared.remarks():
        print(remark, file=sys.stderr)
    print(f"{out}: {prepared.summary()}")
    print(f"look at {report}; next: python kpmaker.py --root {out} --detector dlib")
    if unreadable := prepared.unreadable():
        some = f"{len(unreadable)} of {len(prepared.entries)} clips cannot be read: {unreadable[0]}"
        print(f"error: {some}{' …' if len(unreadable) > 1 else ''}", file=sys.stderr)
    elif not prepared.records:
        print(f"error: no clip of {arguments.raw} could be used; {report} says why", file=sys.stderr)
    return FINISHED if prepared.records and not unreadable else FAILED


# ------------------------------------------------------------------------------------------------------ check
def _add_check(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "check",
        help="what is wrong with prepared data sets",
        description="Unreadable and differently sized frames, missing clips and key points, clips that are there twice "
        "(by content), test clips and subjects in train. Several roots are checked as one training run would see them.",
    )
    add = parser.add_argument
    add("--root", type=Path, nargs="+", required=True, metavar="DIR", help="data sets that are used together")
    add("--keypoints", type=Path, metavar="DIR",
        help="where key points are, if not beside the clips (kpmaker.py --out)")
    _add_workers(parser)
    parser.set_defaults(command=_run_check)


def _run_check(arguments: argparse.Namespace) -> int:
    from corpora.check import ERROR, check

    problems, looked_at = check(arguments.root, arguments.keypoints, arguments.workers)
    for problem in problems:
        print(problem)
    errors = sum(problem.level == ERROR for problem in problems)
    print(f"{looked_at}: {errors} errors, {len(problems) - errors} warnings")
    return FAILED if errors else FINISHED


# ------------------------------------------------------------------------------------------------------ entry
def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The command line; complete for the command ``chosen``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command_name", required=True, metavar="corpus")
    for corpus in CORPORA:
        _add_corpus(commands, corpus, corpus == chosen)
    _add_check(commands)
    _add_sample(commands)
    _add_portraits(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    speak_any_alphabet()
    argv = sys.argv[1:] if argv is None else argv
    arguments = build_parser(next(iter(argv), None)).parse_args(argv)
    place = getattr(arguments, "out", None) or ", ".join(map(str, arguments.root))
    print(f"{arguments.command_name}: {place}", flush=True)  # before imports that take a second
    from media import describe_error, warn_in_one_line

    warn_in_one_line()
    try:
        return arguments.command(arguments)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        from faces import DetectorUnavailable

        if not isinstance(error, (ValueError, OSError, DetectorUnavailable, MemoryError)):
            raise
        print(f"error: {describe_error(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: finished clips are kept, and the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
