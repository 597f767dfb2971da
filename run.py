"""Train, reconstruct, animate, compare and evaluate.

    python run.py --config config/your_dataset_train.yaml
    python run.py --config config/your_dataset_test.yaml --mode animate --checkpoint path/to/checkpoint
    python run.py --config config/your_dataset_test.yaml --mode animate --checkpoint path/to/checkpoint --sources photos
    python run.py --config config/your_dataset_test.yaml --mode reconstruction --checkpoint path/to/checkpoint
    python run.py --config config/sample.yaml --set train_params.batch_size=4 --device cpu
    torchrun --nproc_per_node 4 run.py --config config/your_dataset_train.yaml      # or --device_ids 0,1,2,3
    python run.py --mode compare --config config/compare.yaml --out comparison
    python run.py --mode evaluate --driving data/sample/test --generated log/RUN/animation/png --truth data/sample/truth
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation import YARDSTICKS
from parallel.stopping import StopRequest
from parallel.workers import global_rank, launched, speak_any_alphabet

if TYPE_CHECKING:  # PyTorch and the engines are imported where they are needed: --help answers at once
    import torch

    from animation.cast import Cast
    from checkpoint import LoadedModel

WHICH_MODEL = (
    "config/your_dataset_small.yaml (fpb_tracked, ten clips, a laptop), config/fpb_tracked.yaml (moves a face most "
    "faithfully; full size, for a GPU) or config/your_dataset_train.yaml (fpb_fomm, the paper's method); fomm and "
    "mraa are baselines to compare with"
)
TRAINING_MODES = ("train", "train_avd")
INFERENCE_MODES = ("reconstruction", "animate")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config", help="YAML file; config/base.yaml explains every key (needed by every mode but evaluate)")
    add("--mode", default="train", choices=(*TRAINING_MODES, *INFERENCE_MODES, "export", "compare", "evaluate"))
    add("--log_dir", default="log", help="where run folders go (default: %(default)s)")
    add("--checkpoint", help="go on training from it, or animate and reconstruct with it; last: what the runs of this "
        "config wrote last")
    add("--init-from", metavar="CHECKPOINT", help="start training from what fits of another model's checkpoint")
    add("--out", help="folder of the results (default: a folder named after the mode, beside the checkpoint)")
    add("--overwrite", action="store_true", help="make finished results again")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change a setting")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--device_ids", default="0", help="number of the GPU to use; several, such as 0,1, work together "
        "(default: %(default)s)")
    add("--verbose", action="store_true", help="print the networks, and tracebacks of errors")
    add = parser.add_argument_group("animate and evaluate").add_argument
    add("--sources", metavar="DIR", help="animate: photos to move, whose faces are looked for now, and put back when "
        "they move; evaluate: pictures of the sources, for yardsticks without results")  # fmt: skip
    add("--driving", metavar="DIR", help="driving clips (animate: with --sources; default: the data set's test clips)")
    add = parser.add_argument_group("evaluate", "score results of any program, named <driving>-<source>").add_argument
    add("--generated", action="append", default=[], metavar="[NAME=]DIR", help="results; once for every method")
    add("--pairs", metavar="CSV", help="columns driving, and source or generated (default: from the results' names)")
    add("--truth", metavar="DIR", help="true results, where they are known")
    add("--method", action="append", choices=YARDSTICKS, help="yardsticks to score too (default: both)")
    add("--workers", type=int, help="processes (default: one a core)")
    return parser


def run_training(options: argparse.Namespace, config: dict, device: torch.device, request: StopRequest) -> Path:
    """Train in a new run folder, or go on in the checkpoint's if that was trained in the same mode."""
    from frames_dataset import inputs_of
    from parallel import distributed as team
    from train import train
    from training.run_folder import is_run_folder, new_run_folder, record_settings

    beside = Path(options.checkpoint).parent if options.checkpoint else None
    going_on = beside is not None and is_run_folder(beside, options.mode)
    inputs = inputs_of(config["dataset_params"])
    folder = beside if going_on else new_run_folder(options.log_dir, options.config, options.mode, inputs)

    def ready() -> None:
        record_settings(folder, options.config, config, options.mode)
        print(f"run folder: {folder}")

    with team.join(device) as members:
        last = train(config, folder, device, options.mode, options.checkpoint, options.init_from, ready, members,
                     request)
        if members.first:
            print(f"last checkpoint: {last}")
    return last


def run_inference(options: argparse.Namespace, config: dict, device: torch.device) -> None:
    """Animate, reconstruct or export."""
    from animate import animate
    from animation.export import export
    from checkpoint import load_for_inference
    from reconstruction import reconstruction

    if not options.checkpoint:
        raise ValueError(f"--mode {options.mode} needs --checkpoint")
    model = load_for_inference(options.checkpoint, config, device, single_use=options.mode in INFERENCE_MODES)
    folder = "animation" if options.mode == "animate" else options.mode
    out = Path(options.out) if options.out else Path(options.checkpoint).parent / folder
    if options.mode == "export":
        for path in export(model, out):
            print(f"ONNX: {path}")
        return
    if options.mode == "reconstruction":
        reconstruction(model, options.checkpoint, out, device, options.overwrite)
        return
    animate(model, options.checkpoint, out, device, options.overwrite, photo_cast(options, model))


def photo_cast(options: argparse.Namespace, model: LoadedModel) -> Cast | None:
    """Who takes part where ``--sources`` names photos; None: the clips of the config's data set."""
    from animation.cast import photos
    from faces import make_detector

    if options.sources is None:
        if options.driving:
            raise ValueError("--driving DIR goes with --sources DIR, the photos that its clips move")
        return None
    labelled_set = model.config["animate_params"].get("dataset_out")  # of faces cut out, as all data sets
    pairs = model.config["dataset_params"].get("pairs_list")
    driving = Path(options.driving) if options.driving else None
    detector = make_detector("dlib")
    return photos(model, Path(options.sources), driving, detector, pairs=pairs, paste=not labelled_set)


def run_evaluation(options: argparse.Namespace) -> int:
    """Score results against their driving clips; the exit code: 2 where some could not be, or lack a truth."""
    from evaluate import evaluate, named_folders
    from evaluation.explained import STILL_AND_WARP, explain
    from evaluation.tables import BETTER, NO_BETTER
    from media import first_names

    if not options.driving:
        raise ValueError("--mode evaluate needs --driving DIR, the folder of the driving clips")
    if not options.generated and not options.method:
        raise ValueError("--mode evaluate needs --generated [NAME=]DIR, or --method still or warp for a yardstick")
    generated = named_folders(options.generated)
    out = Path(options.out or "evaluation_results")
    found = evaluate(
        options.driving, out, generated, options.pairs, options.truth, options.sources, yardsticks=options.method,
        workers=options.workers,
    )  # fmt: skip
    means = {method: {name: found.mean for name, found in figures.items()} for method, figures in found.summary.items()}
    print("means over pairs", *explain(means), f"  {STILL_AND_WARP}", sep="\n")
    for method, figures in means.items():
        rows = [row for row in found.rows if row.method == method]
        if not figures:
            counts = Counter(row.status for row in rows)
            said = ", ".join(f"{count} {status}" for status, count in counts.items())
            print(f"{method}: no pair that counts ({said})")
        if behind := [row.pair for row in rows if row.beside_warp and not row.beside_warp.startswith(BETTER + ":")]:
            shown = first_names(behind, 5)
            print(f"{method}: {NO_BETTER} by optical flow in {len(behind)} of {len(rows)} pairs ({shown}); the report "
                  "says in what")  # fmt: skip
    for row in found.failures:
        print(f"failed: {row.pair} ({row.method}): {row.problem}", file=sys.stderr)
    for pair in found.untold:
        print(f"failed: {pair}: no true result of that name in {options.truth}", file=sys.stderr)
    print(f"report: {out / 'report.html'}")
    problems = []
    if found.failures:
        problems.append(f"{len(found.failures)} of {len(found.rows)} results could not be scored")
    if found.untold:
        pairs = len({row.pair for row in found.rows})
        problems.append(f"{len(found.untold)} of {pairs} pairs have no true result to be measured against")
    if problems:
        print(f"error: {'; '.join(problems)}", file=sys.stderr)
    return 2 if problems else 0


def run_comparison(options: argparse.Namespace) -> None:
    """Fill the table of a comparison's YAML."""
    from compare import compare
    from settings import load_comparison
    from settings.devices import choose_device

    for name in ("checkpoint", "init_from"):
        if getattr(options, name):
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag}: --mode compare takes a checkpoint a column, from its YAML's columns")
    settings = load_comparison(options.config, options.overrides)
    page = compare(settings, options.out or "comparison", choose_device(options.device, options.device_ids),
                   options.overwrite)
    print(f"table: {page}")


def run(options: argparse.Namespace, arguments: list[str], request: StopRequest) -> int:
    """Carry out a parsed command line, ``arguments``; a training stops on ``request``.  Returns the exit code."""
    from checkpoint import checkpoint_file
    from modules import build_networks
    from parallel import distributed as team
    from settings import load_config
    from settings.devices import choose_device, device_numbers
    from training.run_folder import newest_checkpoint

    if options.mode == "evaluate":
        return run_evaluation(options)
    if not options.config:
        raise ValueError(f"--mode {options.mode} needs --config, such as {WHICH_MODEL}")
    if options.mode == "compare":
        run_comparison(options)
        return 0
    config = load_config(options.config, options.overrides)
    if "dataset_params" not in config:
        raise ValueError(f"--mode {options.mode} needs dataset_params in the config")
    if options.checkpoint == "last":
        options.checkpoint = str(newest_checkpoint(options.log_dir, options.config))
        print(f"checkpoint: {options.checkpoint}")
    for path in filter(None, (options.checkpoint, options.init_from)):
        checkpoint_file(path)
    if options.init_from and options.mode not in TRAINING_MODES:
        raise ValueError(f"--init-from starts a training; --mode {options.mode} takes --checkpoint")
    if options.out and options.mode in TRAINING_MODES:
        raise ValueError(f"--out is for results; --mode {options.mode} makes a run folder in --log_dir")
    numbers = device_numbers(options.device_ids)
    if len(numbers) > 1 and not launched():
        for number in numbers:
            choose_device(options.device, str(number))
        return team.start(len(numbers), __file__, arguments)
    device = choose_device(options.device, options.device_ids)
    if options.verbose:
        for name, network in build_networks(config).items():
            print(f"{name}: {network}")
    if options.mode in TRAINING_MODES:
        run_training(options, config, device, request)
    else:
        run_inference(options, config, device)
    return 0


def message(error: BaseException) -> str:
    """What an error says; of one from a data loader's worker, without the traceback that comes with it."""
    from media import describe_error

    text = describe_error(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].strip() if text.startswith("Caught ") else text


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 2 for an error of use or data, 1 for a failed training, 130 for Ctrl-C."""
    speak_any_alphabet()
    arguments = sys.argv[1:] if arguments is None else arguments
    options, request = build_parser().parse_args(arguments), StopRequest()
    # A queue that ends a training while it begins gets its checkpoint, too.
    heeding = request.on(signal.SIGTERM) if options.mode in TRAINING_MODES else contextlib.nullcontext()
    with heeding:
        return carry_out(options, arguments, request)


def carry_out(options: argparse.Namespace, arguments: list[str], request: StopRequest) -> int:
    """:func:`run`, with errors that a user can mend in one line; returns the exit code."""
    if global_rank() == 0:
        what = options.config or options.driving or "no --config"
        print(f"{options.mode}: {what}", flush=True)  # before seconds of imports
    import torch

    from faces import DetectorUnavailable
    from media import warn_in_one_line
    from train import TrainingError

    warn_in_one_line()
    try:
        return run(options, arguments, request)
    except KeyboardInterrupt as stop:
        print(stop if str(stop) else "interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, DetectorUnavailable, TrainingError, torch.OutOfMemoryError, MemoryError) as error:
        if options.verbose:
            raise
        print(f"error: {message(error)}", file=sys.stderr)
        return 1 if isinstance(error, TrainingError) else 2


if __name__ == "__main__":
    sys.exit(main())
