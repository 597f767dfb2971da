"""Make the pictures of sup-mat/ again, from the models that lie there.

    python -m benchmarks.supplement                                   # all of them
    python -m benchmarks.supplement amplify regions                   # some of them
    python -m benchmarks.supplement --run 'log/sample 25_11_26_11.08.00'    # also take over the run's curves and log

``demo``: the built-in pair beside its truth.  ``table``: driving | FOMM | MRAA | ours | truth, by --mode compare.
``amplify``: one movement at several strengths, with the measured gain.  ``regions``: parts of it alone.  ``motion``:
the measured motion over time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import demo
import media
from animation.clip_animator import CONTROLS, ClipAnimator
from animation.face_clips import FaceClips
from animation.pairs import Pair
from benchmarks.sample_clips import SampleClip, sample_clip, still_face
from checkpoint import LoadedModel, load_for_inference
from compare import compare
from corpora import read_clips
from corpora.sample import build
from faces.keypoint_files import default_folder
from faces.photo import FaceClip
from frames_dataset import clip_rate
from kpmaker import main as make_keypoints
from media.side_by_side import side_by_side
from metrics.canonical import REGIONS as PLACES
from metrics.motion import ClipMotion, compare_motion, measure_motion
from modules import get_family
from modules.facial_prior import select_keypoints
from settings import load_comparison
from settings.devices import choose_device

OUT = Path(__file__).resolve().parent.parent / "sup-mat"
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 3.0)
SHOWN_REGIONS = ("brows", "mouth", "mouth:left", "brows:right,mouth:right")
WIDTH, DEMO_WIDTH = 136, 176  # of one picture of a row
SLOW, DIFFERENCE_GAIN = 8, 6
CURVES = (("mouth_L", "corner of the mouth, left"), ("mouth_R", "corner of the mouth, right"), ("brow_mid_L", "brow"))


def smile_with_raised_brows() -> SampleClip:
    """A clip that moves above and below: AU 1+2+12 of a face that is in no part of the sample data."""
    return sample_clip(seed=77, movement="1+2+12", amplitude_px=3.5, head=0.0, variety=0.0)


def as_face(frames: np.ndarray, landmarks: np.ndarray, fps: float) -> FaceClip:
    """A sample face whose landmarks (68, 2) are known."""
    points = select_keypoints(torch.from_numpy(np.rint(landmarks)))
    return FaceClip(media.ArrayClip(Path("sample"), frames, fps), landmarks, points, frames[0], np.eye(2, 3))


class Studio:
    """One face and one clip, animated with different controls, and measured."""

    def __init__(self, model: LoadedModel, device: torch.device, clip: SampleClip):
        self.model, self.device, self.clip = model, device, clip
        picture, self.landmarks = still_face("hopper")
        source = as_face(picture[None], self.landmarks, self.clip.fps)
        driving = as_face(self.clip.frames, self.clip.landmarks, self.clip.fps)
        self.sources = FaceClips.of(source)
        self.clips = FaceClips.of(driving, get_family(model.config).uses_tracks)
        self.driven = measure_motion(self.clip.frames, self.clip.landmarks)

    def play(self, **controls) -> tuple[np.ndarray, ClipMotion]:
        """The result's frames, and its motion."""
        params = {**self.model.config["animate_params"], **CONTROLS, **controls}
        model = LoadedModel(self.model.networks, {**self.model.config, "animate_params": params}, self.model.family)
        animator = ClipAnimator(model, self.clips, self.device, sources=self.sources)
        frames = np.stack(list(animator.take(Pair(*self.clips.names, *self.sources.names))))
        return frames, measure_motion(frames, self.landmarks)


def write_row(path: Path, columns: dict[str, np.ndarray], fps: float, width: int = WIDTH) -> None:
    """Square clips side by side as a GIF, in slow motion."""
    small = {
        name: np.stack([media.resize_frame(frame, width, width) for frame in frames])
        for name, frames in columns.items()
    }
    rate = media.gif_rate(fps / SLOW)
    foot = f"{fps:g} frames a second, shown {fps / rate:.3g} times slower"
    media.write_clip(path, side_by_side(small, [foot], DIFFERENCE_GAIN), rate)


def make_demo(options: argparse.Namespace) -> None:
    """``demo.gif``: the built-in pair."""
    with tempfile.TemporaryDirectory() as folder:
        demo.run(demo.build_parser().parse_args(["--out", folder, "--device", options.device]))
        (frames,) = Path(folder, "png").iterdir()
        result = media.open_clip(frames).read_all()
    inputs = demo.sample_inputs(demo.SAMPLE_DATA)
    source, driving = media.open_clip(inputs.source), media.open_clip(inputs.driving)
    columns = {inputs.label: driving.read_all(), "source": source.read([0]), "result": result, "truth": inputs.truth}
    write_row(OUT / "demo.gif", columns, clip_rate(driving), DEMO_WIDTH)


def make_table(options: argparse.Namespace) -> None:
    """``compare_<driving>-<source>.gif``: the comparison of the models."""
    prepare_sample()
    with tempfile.TemporaryDirectory() as folder:
        compare(load_comparison(options.comparison), folder, choose_device(options.device))
        for row in sorted(Path(folder).glob("*.gif")):
            shutil.copyfile(row, OUT / f"compare_{row.name}")


def prepare_sample() -> None:
    """The sample's test clips with their key points and tracks, where they are missing."""
    build(demo.SAMPLE_DATA, only="test")
    names = [record.clip for record in read_clips(demo.SAMPLE_DATA / "clips.csv") if record.split == "test"]
    folder = default_folder(demo.SAMPLE_DATA)
    if not all((folder / "tracks" / f"{name}.pt").is_file() for name in names):
        make_keypoints(["--root", str(demo.SAMPLE_DATA), "--detector", "dlib", "--track"])


def make_amplify(options: argparse.Namespace) -> None:
    """``amplify.gif``: one movement at several strengths."""
    studio = make_studio(options)
    columns = {"driving": studio.clip.frames}
    for strength in STRENGTHS:
        frames, motion = studio.play(amplify=strength)
        gain = compare_motion(studio.driven, motion).figures["gain"]
        columns[f"x {strength:g}: gain {gain:.2f}"] = frames
    write_row(OUT / "amplify.gif", columns, studio.clip.fps)


def make_regions(options: argparse.Namespace) -> None:
    """``regions.gif``: parts of a movement alone."""
    studio = make_studio(options)
    columns = {"driving": studio.clip.frames, "all of it": studio.play()[0]}
    for regions in SHOWN_REGIONS:
        columns[regions] = studio.play(regions=regions)[0]
    write_row(OUT / "regions.gif", columns, studio.clip.fps)


def make_motion(options: argparse.Namespace) -> None:
    """``motion.png``: how far places of the face move, in the driving clip and in results of several strengths."""
    from matplotlib.figure import Figure

    studio = make_studio(options)
    clips = {"driving": studio.driven}
    clips |= {f"result, x {strength:g}": studio.play(amplify=strength)[1] for strength in (0.5, 1.0, 2.0)}
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, (place, title) in zip(figure.subplots(1, len(CURVES), sharey=True), CURVES, strict=True):
        for name, motion in clips.items():
            length = 100 * np.linalg.norm(motion.curves[PLACES.index(place)], axis=-1)
            axes.plot(motion.times / studio.clip.fps, length, "k--" if name == "driving" else "-", label=name)
        axes.set(title=title, xlabel="seconds")
    figure.axes[0].set_ylabel("motion, % of the eyes' distance")
    figure.axes[0].legend()
    with media.atomic_path(OUT / "motion.png") as temporary:
        figure.savefig(temporary, dpi=90)


def make_studio(options: argparse.Namespace) -> Studio:
    """The sample model, ready to play."""
    device = choose_device(options.device)
    return Studio(load_for_inference(demo.SAMPLE_MODEL, None, device), device, smile_with_raised_brows())


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "demo": make_demo,
    "table": make_table,
    "amplify": make_amplify,
    "regions": make_regions,
    "motion": make_motion,
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)} (default: all)")
    add("--comparison", default="config/compare.yaml", help="settings of the table (default: %(default)s)")
    add("--run", type=Path, help="run folder of the sample model's training, for its curves.png and log.txt")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    return parser


def run(options: argparse.Namespace) -> None:
    """Carry out a parsed command line."""
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        raise ValueError(f"no part {unknown[0]!r}; legal: {', '.join(PARTS)}")
    if options.run is not None:
        for name in ("curves.png", "log.txt"):
            if not (options.run / name).is_file():
                raise ValueError(f"--run {options.run}: no {name} there; expected a run folder of a training")
            shutil.copyfile(options.run / name, OUT / name)
    for part in options.parts or PARTS:
        print(f"{part}: {PARTS[part].__doc__}")
        PARTS[part](options)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    try:
        run(build_parser().parse_args(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
