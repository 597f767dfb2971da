"""One face, one clip, or folders of them: make a face show the micro-expression of another one.

    python demo.py                                          # the built-in sample, compared with the known truth
    python demo.py --source face.jpg --driving clip.mp4 --result out.mp4
    python demo.py --source face.jpg --score "6+12B @ 0.1:0.25:0.6" --fps 200
    python demo.py --source face.jpg --driving clip.mp4 --amplify 2 --slow 4 --compare
    python demo.py --source face.jpg --driving clip.mp4 --regions brows,mouth:left --retime 0s:0.1s:0.3s --fps 200
    python demo.py --source photos/ --driving clips/ --out results       # every photo with every clip, or --pairs
    python demo.py --source face.jpg --driving clip/ --checkpoint 'log/my run/00000099-checkpoint.pth.tar'

Finds and crops both faces, animates, and puts the moving face back into the full photo.  The clip starts with the
neutral face; a score of action units (docs/scores.md) stands for one, and its truth lies beside the result.  Writes the
video and its lossless frames; --show makes the movement visible, --compare shows everything
side by side in slow motion.  Of folders, contact_sheet.html shows all results; run again, the command goes on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

import media
from animation import SAMPLE_MODEL
from faces import DetectorUnavailable, face_choice, make_detector
from faces.crop import Crop, add_crop_options, chosen_crop
from parallel.workers import speak_any_alphabet

if TYPE_CHECKING:  # PyTorch, and what needs it, is imported once the options are read: --help answers at once
    import torch

    from animate import AnimatedFace
    from checkpoint import LoadedModel
    from scores.performance import Performance

SAMPLE_DATA = Path("data/sample")
OUT = Path("demo")
MARGIN = 0.1  # around the face, as the sample model's faces have it
SHOWN = ("-magnified.mp4", "-apex.png")  # what --show adds to the result's name
TRUTH = "-truth.npz"  # what --score adds to it
DIFFERENCE_GAIN = 4
SHOWN_SLOWER = 8  # times, in the comparison
HARDLY = 0.3  # pixels at 256×256: the noise gate of the motion figures, 0.003 inter-ocular distances


def run(options: argparse.Namespace) -> Path:
    """Animate as a parsed command line says; returns the path of the result, of the comparison, or of the page of many
    results.
    """
    from animate import animate_face
    from animation.results import write_result
    from media.threads import threads_pay
    from settings.devices import choose_device

    check_options(options)
    device = choose_device(options.device)
    if is_many(options):
        return run_many(options, device)
    inputs, driving = chosen_inputs(options)
    outputs = output_paths(options, inputs)
    model = load_model(options, device)
    if options.score is not None and options.head is None:  # a score's head drift is a part of it
        model.config["animate_params"]["head"] = "keep"

    # Both faces are found in their first frames and cut out; the driving clip's key points are followed from frame to
    # frame, and the source's face takes their movement over.
    face = animate_face(
        inputs.source, driving, model, device, make_detector(options.detector), crop_of(options, model),
        (options.face, options.driving_face), paste=not options.no_paste,
    )  # fmt: skip
    for note in face.notes:
        print(note)
    warn_of_clip(face, options.driving_fps)
    if options.show and not face.take.is_magnifiable:
        raise ValueError(f"--show: this checkpoint (model: {model.family}) does not know the movement since the onset")

    # Frame by frame, as they come, the moving face is put back into the photo and written.
    rate = face.take.fps / (options.slow or 1)
    count = len(face.driving) if face.take.positions is None else len(face.take.positions)
    frames = tqdm(face, desc="animate", total=count, unit="frame")
    write_result(frames, outputs.video, outputs.lossless, rate, overlap=threads_pay(device))

    if options.show:
        show(options, face, outputs)
    if face.motion and is_plain(options):
        write_truth(face, outputs.truth)
    report(options, inputs, face)
    if slowdown := media.gif_slowdown(outputs.video.suffix.lower(), rate):
        print(slowdown)
        rate = media.gif_rate(rate)
    print(f"result: {outputs.video} ({rate:g} frames a second), lossless frames: {outputs.lossless}")
    return outputs.video if outputs.comparison is None else compare(options, inputs, face, outputs.comparison)


def is_many(options: argparse.Namespace) -> bool:
    """Whether a folder of photos or clips is given, and not one of each."""
    from animation.cast import driving_files, source_files

    if options.source is None:
        return False
    for name, path in (("--source", options.source), ("--driving", options.driving)):
        if path is not None and not path.exists():
            raise media.MediaError(f"{name} {path}: no such file or folder")
    if options.score is not None:
        if source_files(options.source) != [options.source]:
            raise ValueError(f"--score moves one photo, and --source {options.source} holds several: generate.py "
                             "--scores makes clips of all of them")  # fmt: skip
        return False
    one = source_files(options.source) == [options.source] and driving_files(options.driving) == [options.driving]
    return options.pairs is not None or not one


def run_many(options: argparse.Namespace, device: torch.device) -> Path:
    """All photos of a folder by all clips of a folder, or those of a list; returns the page that shows them.

    Raises:
        ValueError: options that are for one result; or, once all others are made, photos or clips that were left out.
    """
    from animate import animate
    from animation.cast import photos
    from animation.contact_sheet import PAGE

    for name in ("result", "compare", "show"):
        if getattr(options, name):
            raise ValueError(
                f"--{name} is for one photo and one clip; of many, {PAGE} in --out shows every apex, magnified too "
                "(videos of magnified movement: --amplify 4 --slow 8)"
            )
    names = [media.clip_name(path) for path in (options.driving, options.source)]
    out = options.out / "-".join(names) if options.out == OUT else options.out
    model = load_model(options, device)
    choices = options.face, options.driving_face
    cast = photos(model, options.source, options.driving, make_detector(options.detector), crop_of(options, model),
                  choices, options.pairs, paste=not options.no_paste, slow=options.slow or 1)  # fmt: skip
    print(f"{len(cast.sources.names)} photos, {len(cast.clips.names)} clips, {len(cast.pairs)} results: {out / PAGE}")
    animate(model, options.checkpoint, out, device, options.overwrite, cast)
    return out / PAGE


@dataclass(frozen=True)
class Outputs:
    """Where a result goes, its lossless frames, what shows it (comparison, magnified, still), the truth of a score."""

    video: Path
    lossless: Path
    comparison: Path | None
    magnified: Path
    still: Path
    truth: Path


@dataclass(frozen=True)
class Inputs:
    """Where source and driving clip are; of the sample also the true result, uint8 (N, S, S, 3)."""

    source: Path
    driving: Path
    truth: np.ndarray | None = None
    label: str = "driving"


def sample_inputs(data: Path) -> Inputs:
    """Make the test part of the sample data; its first pair."""
    from animation.pairs import read_pairs
    from corpora import read_clips, sample

    sample.build(data, only="test")
    clips = {record.clip: record for record in read_clips(data / "clips.csv") if record.split == "test"}
    pair = read_pairs(data / "pairs.csv", list(clips))[0]
    record = clips[pair.driving]
    truth = media.open_clip(data / "truth" / pair.name).read_all()
    label = f"{record.emotion}, AU {record.action_units}"
    return Inputs(data / "test" / pair.source, data / "test" / pair.driving, truth, label)


def chosen_inputs(options: argparse.Namespace) -> tuple[Inputs, Path | Performance]:
    """What the options name, and the driving clip, or the score with the result's own frames in place of one.

    Raises:
        ScoreError: it cannot be played.
    """
    from scores.driving import find_score, score_name
    from scores.performance import FPS, perform

    if options.score is None:
        inputs = sample_inputs(SAMPLE_DATA) if options.source is None else Inputs(options.source, options.driving)
        return inputs, inputs.driving
    score = find_score(options.score)
    if notice := getattr(score, "notice", ""):
        print(f"{score.text}: {notice}")
    performance = perform(score, options.fps or FPS, options.variety, options.seed)
    if options.head == "remove":
        performance = replace(performance, drift=np.zeros_like(performance.drift))
    options.fps = None
    label = f"score, AU {score.action_units}"
    return Inputs(options.source, Path(score_name(options.score)), label=label), performance


def write_truth(face: AnimatedFace, path: Path) -> None:
    """Write the truth of a score beside the result; in pixels of the face's crop."""
    from scores.truth import save_truth, truth_of

    truth = truth_of(face.motion, face.source.keypoints.numpy())
    save_truth(path, {**truth, "photo_to_frame": face.source.matrix})
    print(f"truth of the face's crop: {path}")


def output_paths(options: argparse.Namespace, inputs: Inputs) -> Outputs:
    """Where everything goes.

    Raises:
        OutputError: one of these places is an input, or holds what this program did not write.
    """
    from animation.results import result_paths

    path = options.result or options.out / f"{media.clip_name(inputs.driving)}-{media.clip_name(inputs.source)}.mp4"
    video, lossless = result_paths(path.parent, path.name.removesuffix(path.suffix), path.suffix.lower() or ".png")
    comparison = video.with_name(f"{video.stem}-compare.gif") if options.compare is True else options.compare
    outputs = Outputs(video, lossless, comparison, *(video.with_name(video.stem + end) for end in (*SHOWN, TRUTH)))
    media.check_outputs(
        {"--result": video, "its lossless copy": None if lossless == video else lossless, "--compare": comparison,
         "--show": outputs.magnified if options.show else None, "its still": outputs.still if options.show else None,
         "the score's truth": outputs.truth if options.score else None},
        {"--source": inputs.source, "--driving": inputs.driving, "--checkpoint": options.checkpoint,
         "--config": options.config, "--retime": options.retime},
    )  # fmt: skip
    return outputs


def load_model(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """The checkpoint's networks, with the controls of the command line in their settings."""
    from animate import load_controlled
    from animation.clip_animator import CONTROLS
    from settings import load_config

    config = None if options.config is None else load_config(options.config)
    given = {**vars(options), "output_fps": options.fps, "fps": options.driving_fps}
    controls = {name: given[name] for name in (*CONTROLS, "fps", "head")}
    return load_controlled(options.checkpoint, device, config, **controls)


def crop_of(options: argparse.Namespace, model: LoadedModel) -> Crop:
    """How faces are cut: as the options say, at the model's size."""
    size = (model.config.get("dataset_params") or {}).get("frame_shape") or [256]
    return chosen_crop(options, size[0], "square", MARGIN)


# ------------------------------------------------------------------------------------------------ what is said
def warn_of_clip(face: AnimatedFace, fps: float | None) -> None:
    """Say what the driving clip does not tell about itself; ``fps`` is its rate as the user gives it."""
    from frames_dataset import FALLBACK_FPS, known_rate

    clip = face.driving
    if not fps and not known_rate(clip):
        print(f"{clip.path} does not say how many frames a second it has; taking {FALLBACK_FPS:g}. "
              "Give --driving-fps if that is wrong.")  # fmt: skip
    if face.moved < HARDLY:
        print(f"{clip.path} hardly moves: its key points by at most {face.moved:.2f} pixels of a 256 pixel face. "
              "Do not expect a movement.")  # fmt: skip


def is_plain(options: argparse.Namespace) -> bool:
    """Whether the movement is carried over as it is."""
    return options.retime is options.fps is options.regions is None and options.amplify == 1


def report(options: argparse.Namespace, inputs: Inputs, face: AnimatedFace) -> None:
    """Say how faithful the result is, to a known truth too, beside what a still face and a plain warp get."""
    from animation.clip_animator import STILL
    from evaluate import score_beside
    from evaluation.explained import MOTION, STILL_AND_WARP, explain
    from metrics.canonical import MetricError

    largest = face.take.largest
    if largest is not None and largest < STILL and options.amplify and face.moved >= HARDLY:
        print(f"the result hardly moves (at most {largest:.2f} pixels): the model does not carry this movement")
    if not is_plain(options):
        print("no figures of the motion: --amplify, --regions, --retime and --fps change what they compare with")
        return
    try:
        figures = score_beside(face.driving.frames, np.stack(face.crops), inputs.truth)
    except MetricError as error:
        print(f"the motion could not be measured: {error}")
        return
    print("the result's movement against the driving clip's (head motion removed)", *explain(figures), sep="\n")
    if inputs.truth is not None:
        names = [f"truth_{name}" for name in MOTION] + ["l1", "psnr"]
        print("and against the true result, which is known here", *explain(figures, names), sep="\n")
    print(f"  {STILL_AND_WARP}")


def show(options: argparse.Namespace, face: AnimatedFace, outputs: Outputs) -> None:
    """Write the movement magnified, in slow motion, and the apex beside the photo."""
    from animation.moving_face import MAGNIFIED

    media.write_image(outputs.still, face.apex_still())
    slower = options.slow or SHOWN_SLOWER
    frames = tqdm(face.magnified(), desc="magnified", total=len(face.crops), unit="frame")
    media.write_clip(outputs.magnified, frames, face.take.fps / slower)
    print(f"to be seen: {outputs.magnified} (movement {MAGNIFIED} times as strong, {slower:g} times slower), "
          f"{outputs.still} (the apex beside the photo)")  # fmt: skip


def compare(options: argparse.Namespace, inputs: Inputs, face: AnimatedFace, path: Path) -> Path:
    """Write driving clip, source and result side by side, in step and in slow motion; returns ``path``."""
    from media.side_by_side import side_by_side

    driving, fps = face.driving.frames[face.shown_driving_frames], face.take.fps
    columns = {inputs.label: driving, "source": face.source.clip.frames, "result": np.stack(face.crops)}
    if inputs.truth is not None and is_plain(options):
        columns["truth"] = inputs.truth
    wanted = fps / (options.slow or SHOWN_SLOWER)
    rate = media.gif_rate(wanted) if path.suffix.lower() == ".gif" else wanted
    slowly = f"shown {fps / rate:.3g} times slower"
    media.write_clip(path, side_by_side(columns, [f"{fps:g} frames a second, {slowly}"], DIFFERENCE_GAIN), wanted)
    print(f"side by side, {slowly}: {path}")
    return path


# ------------------------------------------------------------------------------------------------ command line
def reference(text: str) -> str | int:
    """``onset``, ``auto`` or a frame number."""
    if text in ("onset", "auto"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no reference; legal: onset, auto and frame numbers from 0")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", type=Path, help="picture of the face to animate, or a folder of pictures (default: Grace Hopper, "
        "from the sample)")  # fmt: skip
    add("--driving", type=Path, help="clip of a micro-expression, starting neutral, or a folder of clips (default: a "
        "sample clip; a folder of pictures alone is one clip, of frames)")  # fmt: skip
    add("--score", help="in place of --driving: action units and when they move, '6+L12B @ 0.1:0.25:0.6' (onset:apex:"
        "offset in seconds), or a CSV table of them, or of OpenFace (docs/scores.md); at --fps, or 100")  # fmt: skip
    add("--variety", type=float, default=1.0, help="of a score: natural variation, 0 plays it dry (default: 1)")
    add("--seed", type=int, default=0, help="of that variation (default: 0)")
    add("--pairs", type=Path, metavar="CSV", help="which of the folders' photos and clips belong together: columns "
        "source, driving (default: each with each)")  # fmt: skip
    add("--checkpoint", type=Path, default=SAMPLE_MODEL, help="default: the sample model")
    add("--config", type=Path, help="settings of a published checkpoint; ours carry their own")
    add("--result", type=Path, help=".mp4, .gif, or a folder for frames (default: <out>/<driving>-<source>.mp4)")
    add("--out", type=Path, default=OUT, help="folder of results that have no name (default: %(default)s; of many, a "
        "folder in it)")  # fmt: skip
    add("--overwrite", action="store_true", help="make finished results of folders again")
    add("--show", action="store_true", help="also <result>-magnified.mp4, the movement four times as strong and eight "
        "times slower, and <result>-apex.png, the apex beside the photo: at x1 nobody sees it")  # fmt: skip
    add("--compare", nargs="?", type=Path, const=True, metavar="FILE",
        help="driving clip, source and result side by side, .gif or .mp4 (default: <result>-compare.gif)")  # fmt: skip
    add("--detector", choices=("dlib", "face-alignment"), default="dlib")
    for name, whose in (("--face", "the picture"), ("--driving-face", "the clip")):
        add(name, type=face_choice, default="largest", metavar="N|left|right|largest",
            help=f"which face of {whose} that shows several; N counts from the left (default: largest)")  # fmt: skip
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--cpu", action="store_true", help="the same as --device cpu")
    add("--no-paste", action="store_true", help="the face's crop alone, not put back into the photo")
    add_crop_options(parser, "square", MARGIN)
    add = parser.add_argument_group("movement").add_argument
    add("--amplify", type=float, default=1.0, help="strength: 0 still, 1 as driven (default), 2 twice as strong")
    add("--regions", help="parts that move: any of brows,eyes,nose,cheeks,mouth; one side of the picture: brows:left")
    add("--head", choices=("remove", "keep"), help="keep: the driving head's own motion is carried over too")
    add("--reference", type=reference, default="onset",
        help="driving frame that the movement starts from: onset (annotated, or the first frame; default), auto (the "
        "one most like the source's expression), or its number")  # fmt: skip
    add("--colour", choices=("model", "source"), default="model",
        help="source: for models of grey faces; luminance from the model, colours from the photo")  # fmt: skip
    add = parser.add_argument_group("time").add_argument
    add("--retime", help="onset:apex:offset in frames of the result (0:20:60) or seconds (0s:0.1s:0.3s), or a CSV file "
        "with the columns time (seconds), position (driving frames)")  # fmt: skip
    add("--fps", type=float, help="frames a second of the result, which lasts as long (default: the driving clip's)")
    add("--driving-fps", type=float, help="frames a second of the driving clip (default: by clips.csv or the file)")
    add("--slow", type=float, help=f"play so many times slower (default: 1, and {SHOWN_SLOWER} in the comparison)")
    return parser


def check_options(options: argparse.Namespace) -> None:
    """What no single option can tell; completes them.

    Raises:
        ValueError: options that contradict each other, or a number out of range.
    """
    if options.score is not None and (options.source is None or options.driving is not None or options.driving_fps):
        raise ValueError("--score stands in place of --driving and --driving-fps, and needs a --source")
    if options.score is None and (options.source is None) != (options.driving is None):
        raise ValueError("give both --source and --driving (or --score), or neither for the built-in sample")
    if not 0 <= options.variety <= 3 or options.seed < 0:
        raise ValueError(f"--variety {options.variety:g} --seed {options.seed}: expected 0 to 3, and a seed from 0")
    if options.pairs and options.source is None:
        raise ValueError("--pairs lists photos and clips of --source and --driving: give both folders")
    for name in ("slow", "fps", "driving_fps"):
        value = getattr(options, name)
        if value is not None and not 0 < value <= 1000:
            raise ValueError(f"--{name.replace('_', '-')} {value:g}: expected a number above 0, at most 1000")
    if options.cpu and options.device not in ("auto", "cpu"):
        raise ValueError(f"--cpu and --device {options.device}: give one of them")
    if options.cpu:
        options.device = "cpu"
    if options.source is None:  # the sample's faces are cut already
        options.crop, options.no_paste = "whole", True
        options.compare = options.compare or True
    if options.result and options.result.suffix.lower() not in (".mp4", ".gif", ""):
        raise ValueError(f"--result {options.result}: legal are .mp4, .gif and a folder (no suffix)")
    if isinstance(options.compare, Path) and options.compare.suffix.lower() not in (".mp4", ".gif"):
        raise ValueError(f"--compare {options.compare}: legal are .mp4 and .gif")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    speak_any_alphabet()
    options = build_parser().parse_args(arguments)
    media.warn_in_one_line()
    print(f"{options.source or 'the sample'}, moved by {options.driving or options.score or 'its clip'}", flush=True)
    from torch import OutOfMemoryError

    try:
        run(options)
    except KeyboardInterrupt as stop:
        print(stop.args[0] if stop.args else "interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, DetectorUnavailable, OutOfMemoryError) as error:
        print(f"error: {media.describe_error(error)}", file=sys.stderr)
        return 2
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        print(f"error: out of memory{reason}: give a shorter or smaller clip, or free memory", file=sys.stderr)
        return 2
    if options.source is None:
        print("Your own: make demo ARGS='--source face.jpg --driving clip.mp4'  (python demo.py --help)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
