"""What each part of the tracked model is worth: every one switched off in turn, on the sample's pairs with known truth.

    python -m benchmarks.ablation                                     # the shipped model, all variants
    python -m benchmarks.ablation --other "no field=log/RUN/last.pth.tar"   # and models trained otherwise
    python -m benchmarks.ablation --only 'as trained' 'all painted'

Needs the sample data (``prepare.py sample``, ``kpmaker.py --root data/sample --detector dlib --track``); writes the
clips, the evaluation's report and ``ablation.md`` to ``--out``.  The head's motion is kept, as it is part of the truth.
Below the means: what every variant gains over the warp, pair by pair, and where it loses most.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from tqdm import tqdm

from animation.clip_animator import ClipAnimator
from animation.pairs import Pair
from checkpoint import LoadedModel, load_for_inference
from evaluate import Evaluation, evaluate, named_folders
from evaluation.tables import YARDSTICKS
from frames_dataset import ClipFolder
from media import atomic_path, write_frame_folder
from metrics.statistics import mean_over_pairs
from modules import get_family
from modules.dense_motion import DenseMotionNetwork
from modules.generator import OcclusionAwareGenerator

SAMPLE_MODEL = Path(__file__).resolve().parent.parent / "sup-mat" / "sample_model.pth.tar"
AGAINST_WARP = ("truth_rho", "truth_skill", "psnr_moving")
FIGURES = ("truth_rho", "truth_vcor", "truth_gain", "truth_skill", "leak", "psnr", "psnr_moving", "sharp", "id_drift")
Change = Callable[[LoadedModel], contextlib.AbstractContextManager]


def _nothing(model: LoadedModel) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def _bias(motion: slice, amount: float) -> Change:
    """Mask logits of some motions raised beyond what the network can answer."""

    @contextlib.contextmanager
    def change(model: LoadedModel) -> Iterator[None]:
        bias = model.networks["generator"].dense_motion_network.mask.bias.data
        before = bias.clone()
        bias[motion] += amount
        yield
        bias.copy_(before)

    return change


def _painted(model: LoadedModel) -> contextlib.AbstractContextManager:
    return mock.patch.object(model.networks["generator"], "blend_source", False)


def _patched(target: str, replacement: object) -> Change:
    return lambda model: mock.patch(target, replacement)


@contextlib.contextmanager
def _head_removed(model: LoadedModel) -> Iterator[None]:
    with mock.patch.dict(model.config["animate_params"], {"head": "remove"}):
        yield


def _bilinear(model: LoadedModel) -> contextlib.AbstractContextManager:
    deform = OcclusionAwareGenerator.deform
    return mock.patch.object(
        OcclusionAwareGenerator, "deform", lambda self, x, motion, padding="zeros", mode="bilinear": deform(
            self, x, motion, padding, "bilinear"
        )
    )  # fmt: skip


VARIANTS: dict[str, Change] = {
    "as trained": _nothing,
    "head removed": _head_removed,
    "the field alone": _bias(slice(-1, None), 1e4),
    "no field": _bias(slice(-1, None), -1e4),
    "all painted": _painted,
    "source sampled bilinearly": _bilinear,
    "spline through every key point": _patched("modules.track.RIGIDITY", 0.0),
    "lower lids not held": _patched("modules.track.still_lower_lids", lambda moved, keypoints, places: moved),
    "slope not limited": _patched("modules.animator.limit_slope", lambda field: field),
}


def animate_pairs(model: LoadedModel, clips: ClipFolder, pairs: list[Pair], out: Path) -> None:
    """Write the pairs' clips to ``out`` as folders of lossless frames."""
    animator = ClipAnimator(model, clips, torch.device("cpu"))
    for pair in pairs:
        write_frame_folder(out / pair.name, animator.take(pair))


def load(checkpoint: str | Path, data: Path, keypoints: str | None) -> tuple[LoadedModel, ClipFolder]:
    """A checkpoint with its own settings, on the sample data."""
    model = load_for_inference(checkpoint, None, torch.device("cpu"))
    model.config["dataset_params"] = {
        **model.config["dataset_params"], "root_dir": str(data), "keypoint_folder": keypoints,
    }  # fmt: skip
    family = get_family(model.config)
    model.config["animate_params"] = {
        **copy.deepcopy(model.config["animate_params"]), **({"head": "keep"} if family.uses_tracks else {}),
    }  # fmt: skip
    return model, ClipFolder(model.config["dataset_params"], "test", family.uses_prior, family.uses_tracks)


def table(found: Evaluation) -> list[str]:
    """The figures of every method as Markdown, intervals of the first four."""
    lines = [f"| variant | {' | '.join(FIGURES)} |", "|" + "---|" * (len(FIGURES) + 1)]
    for method, figures in found.summary.items():
        cells = []
        for index, name in enumerate(FIGURES):
            value = figures.get(name)
            if value is None:
                cells.append("–")
            elif index < 4:
                cells.append(f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]")
            else:
                cells.append(f"{value.mean:.2f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def against_warp(found: Evaluation) -> list[str]:
    """What every method gains over the warp, as Markdown: mean with its interval, and the worst pair."""
    lines = [f"| variant − warp | {' | '.join(AGAINST_WARP)} |", "|" + "---|" * (len(AGAINST_WARP) + 1)]
    figures = {(row.method, row.pair): row.figures for row in found.rows}
    pairs = {row.pair: row.driving for row in found.rows}
    for method in found.summary:
        if method in YARDSTICKS:
            continue
        cells = []
        for name in AGAINST_WARP:
            gains = {pair: figures[method, pair].get(name, math.nan) - figures["warp", pair][name] for pair in pairs}
            mean = mean_over_pairs(gains, pairs)
            worst = min(filter(math.isfinite, gains.values()), default=math.nan)
            cells.append(
                f"{mean.mean:+.2f} [{mean.low:+.2f}, {mean.high:+.2f}], worst {worst:+.2f}" if mean.count else "–"
            )
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def judge(folders: dict[str, Path], data: Path, table_file: Path) -> None:
    """Evaluate every method's clips of the sample's pairs; print the tables, and write them beside the report."""
    found = evaluate(data / "test", table_file.parent / "evaluation", folders, data / "pairs.csv", data / "truth")
    lines = [*table(found), "", *against_warp(found)]
    with atomic_path(table_file) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def data_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the sample data and its key points are."""
    parser.add_argument("--data", type=Path, default=Path("data/sample"))
    parser.add_argument("--keypoints", help="default: keypoint_folder in the data")


def sample_pairs(data: Path) -> list[Pair]:
    """The sample's held-out pairs."""
    with (data / "pairs.csv").open(newline="", encoding="utf-8") as file:
        return [Pair(row["driving"], row["source"]) for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SAMPLE_MODEL)
    parser.add_argument("--other", action="append", default=[], metavar="NAME=CHECKPOINT", help="trained otherwise")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="some variants")
    data_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    arguments = parser.parse_args()
    pairs, folders = sample_pairs(arguments.data), {}
    model, clips = load(arguments.checkpoint, arguments.data, arguments.keypoints)
    if not isinstance(model.networks["generator"].dense_motion_network, DenseMotionNetwork):
        parser.error(f"{arguments.checkpoint} is of model: {model.family}; the variants are those of fpb_tracked")
    for name in tqdm(arguments.only, desc="variants", unit="variant"):
        folders[name] = arguments.out / name.replace(" ", "_")
        with VARIANTS[name](model):
            animate_pairs(model, clips, pairs, folders[name])
    for name, checkpoint in named_folders(arguments.other).items():
        folders[name] = arguments.out / name.replace(" ", "_")
        animate_pairs(*load(checkpoint, arguments.data, arguments.keypoints), pairs, folders[name])
    judge(folders, arguments.data, arguments.out / "ablation.md")


if __name__ == "__main__":
    main()
