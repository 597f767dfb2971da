"""One face, one clip: make a face show the micro-expression of another one.

    python demo.py                                          # the built-in sample, compared with the known truth
    python demo.py --source face.jpg --driving clip.mp4 --result out.mp4
    python demo.py --source face.jpg --driving clip.mp4 --amplify 2 --slow 4 --compare
    python demo.py --source face.jpg --driving clip.mp4 --regions brows,mouth:left --retime 0s:0.1s:0.3s --fps 200
    python demo.py --source face.jpg --driving clip/ --checkpoint 'log/my run/00000099-checkpoint.pth.tar'

Finds and crops both faces, animates, and puts the moving face back into the full photo.  The clip starts with the
neutral face.  Writes the video and its lossless frames; --compare shows everything side by side in slow motion.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

import media
from faces import DetectorUnavailable, face_choice, make_detector
from faces.crop import Crop, add_crop_options, chosen_crop
from parallel.workers import speak_any_alphabet

if TYPE_CHECKING:  # PyTorch, and what needs it, is imported once the options are read: --help answers at once
    import torch

    from animation.clip_animator import Take, TwoClips
    from checkpoint import LoadedModel
    from faces.photo import Paster

SAMPLE_MODEL = Path(__file__).parent / "sup-mat" / "sample_model.pth.tar"
SAMPLE_DATA = Path("data/sample")
MARGIN = 0.1  # around the face, as the sample model's faces have it
DIFFERENCE_GAIN = 4
SHOWN_SLOWER = 8  # times, in the comparison
HARDLY = 0.3  # pixels at 256×256: the noise gate of the motion figures, 0.003 inter-ocular distances


def run(options: argparse.Namespace) -> Path:
    """Animate one face as a parsed command line says; returns the path of the result, or of the comparison."""
    from animation.clip_animator import PAIR, ClipAnimator, TwoClips
    from animation.results import write_result
    from faces.photo import Paster, crop_face
    from media.threads import threads_pay
    from modules import get_family
    from settings.devices import choose_device

    check_options(options)
    device = choose_device(options.device)
    inputs = sample_inputs(SAMPLE_DATA) if options.source is None else Inputs(options.source, options.driving)
    video, lossless, comparison = output_paths(options, inputs)
    model = load_model(options, device)

    # Both faces are found in their first frames, and cut out as those were that the model was trained on.
    detector, crop = make_detector(options.detector), crop_of(options, model)
    source = crop_face(inputs.source, detector, crop, only_first=True, choice=options.face)
    driving = crop_face(inputs.driving, detector, crop, only_first=False, choice=options.driving_face)
    for role, face in (("source", source), ("driving", driving)):
        for note in face.notes:
            print(f"{role} {face.clip.path}: {note}")

    # The driving clip's key points are followed from frame to frame, and the source's face takes their movement over.
    clips = TwoClips(source, driving, get_family(model.config).uses_tracks)
    warn_of_clip(clips, model.config["animate_params"]["fps"])
    take = ClipAnimator(model, clips, device, model.config["animate_params"]["batch_size"]).take(PAIR)

    # Frame by frame, as they come, the moving face is put back into the photo and written.
    crops: list[np.ndarray] = []
    frames = in_photo(take, len(driving.clip), crops, None if options.no_paste else Paster(source))
    rate = take.fps / (options.slow or 1)
    write_result(frames, video, lossless, rate, overlap=threads_pay(device))

    result = np.stack(crops)
    report(options, inputs, clips, take, result)
    if slowdown := media.gif_slowdown(video.suffix.lower(), rate):
        print(slowdown)
        rate = media.gif_rate(rate)
    print(f"result: {video} ({rate:g} frames a second), lossless: {lossless}")
    return video if comparison is None else compare(options, inputs, clips, take, result, comparison)


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


def output_paths(options: argparse.Namespace, inputs: Inputs) -> tuple[Path, Path, Path | None]:
    """Where the result, its lossless frames and the comparison go, if there is one.

    Raises:
        OutputError: one of these places is an input, or holds what this program did not write.
    """
    from animation.results import result_paths

    path = options.result or options.out / f"{media.clip_name(inputs.driving)}-{media.clip_name(inputs.source)}.mp4"
    video, lossless = result_paths(path.parent, path.name.removesuffix(path.suffix), path.suffix.lower() or ".png")
    comparison = video.with_name(f"{video.stem}-compare.gif") if options.compare is True else options.compare
    media.check_outputs(
        {"--result": video, "its lossless copy": None if lossless == video else lossless, "--compare": comparison},
        {"--source": inputs.source, "--driving": inputs.driving, "--checkpoint": options.checkpoint,
         "--config": options.config, "--retime": options.retime},
    )  # fmt: skip
    return video, lossless, comparison


def load_model(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """The checkpoint's networks, with the controls of the command line in their settings."""
    from animation.clip_animator import CONTROLS
    from checkpoint import load_for_inference
    from modules import get_family
    from settings import load_config

    config = None if options.config is None else load_config(options.config)
    model = load_for_inference(options.checkpoint, config, device, single_use=True)
    controls = {**vars(options), "output_fps": options.fps, "fps": options.driving_fps}
    params = {"batch_size": 4, **(model.config.get("animate_params") or {})}
    model.config["animate_params"] = {**params, **{name: controls[name] for name in (*CONTROLS, "fps")}}
    if options.head is not None:
        legal = get_family(model.config).animation_keys.get("head")
        if legal is None:
            raise ValueError(f"--head belongs to model: fpb_tracked; this checkpoint is of model: {model.family}")
        model.config["animate_params"]["head"] = options.head
    return model


def crop_of(options: argparse.Namespace, model: LoadedModel) -> Crop:
    """How faces are cut: as the options say, at the model's size."""
    size = (model.config.get("dataset_params") or {}).get("frame_shape") or [256]
    return chosen_crop(options, size[0], "square", MARGIN)


def in_photo(take: Take, frames: int, crops: list[np.ndarray], paster: Paster | None) -> Iterator[np.ndarray]:
    """The frames of a take as they come, in the photo where there is a paster; ``crops`` collects the faces alone.

    ``frames`` is the driving clip's number of them, for the progress bar.
    """
    count = frames if take.positions is None else len(take.positions)
    for frame in tqdm(take, desc="animate", total=count, unit="frame"):
        crops.append(frame)
        yield frame if paster is None else paster.paste(frame, take.grid)


# ------------------------------------------------------------------------------------------------ what is said
def warn_of_clip(clips: TwoClips, fps: float | None) -> None:
    """Say what the driving clip does not tell about itself; ``fps`` is its rate as the user gives it.

    Raises:
        MediaError: it has one frame.
    """
    from frames_dataset import FALLBACK_FPS, known_rate

    clip = clips.driving.clip
    if len(clip) < 2:
        raise media.MediaError(f"{clip.path} has one frame: nothing moves in it. Give a clip")
    if not fps and not known_rate(clip):
        print(f"{clip.path} does not say how many frames a second it has; taking {FALLBACK_FPS:g}. "
              "Give --driving-fps if that is wrong.")  # fmt: skip
    if (most := clips.largest_movement()) < HARDLY:
        print(f"{clip.path} hardly moves: its key points by at most {most:.2f} pixels of a 256 pixel face. "
              "Do not expect a movement.")  # fmt: skip


def is_plain(options: argparse.Namespace) -> bool:
    """Whether the movement is carried over as it is."""
    return options.retime is options.fps is options.regions is None and options.amplify == 1


def report(options: argparse.Namespace, inputs: Inputs, clips: TwoClips, take: Take, result: np.ndarray) -> None:
    """Say how faithful the result is, uint8 (N, S, S, 3): to a known truth also how near, beside doing nothing."""
    from animation.clip_animator import STILL
    from evaluate import score_pair
    from metrics.canonical import MetricError
    from metrics.image import image_figures

    if take.largest is not None and take.largest < STILL and options.amplify and clips.largest_movement() >= HARDLY:
        print(f"the result hardly moves (at most {take.largest:.2f} pixels): the model does not carry this movement")
    if not is_plain(options):
        print("no figures of the motion: --amplify, --regions, --retime and --fps change what they compare with")
        return
    against = {"the driving clip (1 perfect, 0 still; head motion removed)": clips.driving.clip.frames}
    if inputs.truth is not None:
        against["the true result"] = inputs.truth
    try:
        for name, frames in against.items():
            figures = score_pair(frames, result).figures
            print(f"motion of the result against {name}:")
            print("  " + ", ".join(f"{key} {figures[key]:.2f}" for key in ("rho", "vcor", "gain", "skill")))
    except MetricError as error:
        print(f"the motion could not be measured: {error}")
        return
    if inputs.truth is not None:
        still = np.repeat(inputs.truth[:1], len(inputs.truth), axis=0)
        for name, frames in (("result", result), ("still picture", still)):
            values = image_figures(frames, inputs.truth)
            print(f"pictures against the true result, {name}: L1 {values['l1']:.4f}, PSNR {values['psnr']:.1f} dB")


def compare(
    options: argparse.Namespace, inputs: Inputs, clips: TwoClips, take: Take, result: np.ndarray, path: Path
) -> Path:
    """Write driving clip, source and result side by side, in step and in slow motion; returns ``path``."""
    from media.side_by_side import side_by_side

    shown = slice(None) if take.positions is None else np.rint(take.positions).astype(int)
    columns = {inputs.label: clips.driving.clip.frames[shown], "source": clips.source.clip.frames, "result": result}
    if inputs.truth is not None and is_plain(options):
        columns["truth"] = inputs.truth
    wanted = take.fps / (options.slow or SHOWN_SLOWER)
    rate = media.gif_rate(wanted) if path.suffix.lower() == ".gif" else wanted
    slowly = f"shown {take.fps / rate:.3g} times slower"
    media.write_clip(path, side_by_side(columns, [f"{take.fps:g} frames a second, {slowly}"], DIFFERENCE_GAIN), wanted)
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
    add("--source", type=Path, help="picture of the face to animate (default: Grace Hopper, from the sample)")
    add("--driving", type=Path, help="clip of a micro-expression, starting neutral (default: a sample clip)")
    add("--checkpoint", type=Path, default=SAMPLE_MODEL, help="default: the sample model")
    add("--config", type=Path, help="settings of a published checkpoint; ours carry their own")
    add("--result", type=Path, help=".mp4, .gif, or a folder for frames (default: <out>/<driving>-<source>.mp4)")
    add("--out", type=Path, default=Path("demo"), help="folder of results that have no name (default: %(default)s)")
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
    if (options.source is None) != (options.driving is None):
        raise ValueError("give both --source and --driving, or neither for the built-in sample")
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
    print(f"{options.source or 'the sample'}, moved by {options.driving or 'its clip'}", flush=True)
    from torch import OutOfMemoryError

    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
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
