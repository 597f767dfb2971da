"""One face, one clip: make a face show the micro-expression of another one.

    python demo.py                                          # the built-in sample, compared with the known truth
    python demo.py --source face.jpg --driving clip.mp4     # your own; the clip starts with the neutral face
    python demo.py --source face.jpg --driving clip/ --checkpoint 'log/my run/00000099-checkpoint.pth.tar'

Writes the result as video and lossless frames, and a GIF that shows everything side by side in slow motion.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import media
from checkpoint import LoadedModel, load_for_inference
from corpora import read_clips, sample
from evaluate import score_pair
from faces import Detector, largest_face, make_detector
from faces.crop import apply_crop, crop_matrix
from faces.tracking import track_keypoints
from frames_dataset import FALLBACK_FPS, read_pairs, to_frames, to_tensor
from grid import side_by_side
from metrics.image import image_figures
from modules import get_family
from modules.facial_prior import select_keypoints
from run import choose_device

SAMPLE_MODEL = Path(__file__).parent / "sup-mat" / "sample_model.pth.tar"
SAMPLE_DATA = Path("data/sample")
DIFFERENCE_GAIN = 4


@dataclass(frozen=True)
class Face:
    """A clip or picture cut to its face: frames uint8 (N, S, S, 3), key points (18, 2) of frame 0, its rate."""

    name: str
    frames: np.ndarray
    keypoints: torch.Tensor
    fps: float


def crop_face(path: Path, detector: Detector, size: int, cropped: bool, only_first: bool) -> Face:
    """Read a clip or picture and cut it to its face, as the training data was cut.

    Args:
        path: picture, video, GIF or folder of frames.
        detector: finds the face in frame 0.
        size: side of the square frames.
        cropped: the frames are face crops already: they are resized only.
        only_first: keep frame 0 alone (a source).

    Raises:
        media.MediaError: nothing to read, or no face in frame 0.
    """
    clip = media.open_clip(path)
    frames = clip.read([0]) if only_first else clip.read_all()
    face = largest_face(detector, frames[0])
    if face is None:
        raise media.MediaError(f"no face found in the first frame of {path}: use a frontal, evenly lit face")
    height, width = frames.shape[1:3]
    if cropped:
        matrix = np.array([[size / width, 0, 0], [0, size / height, 0]])
        cut = np.stack([media.resize_frame(frame, size, size) for frame in frames])
    else:
        matrix = crop_matrix(face, (height, width), size, "square", 0.1)
        cut = np.stack([apply_crop(frame, matrix, size) for frame in frames])
    landmarks = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    points = select_keypoints(torch.from_numpy(np.rint(landmarks)))
    return Face(media.clip_name(path), cut, points, clip.fps or FALLBACK_FPS)


def animate_face(model: LoadedModel, source: Face, driving: Face, device: torch.device, batch_size: int) -> np.ndarray:
    """Frame 0 of ``source`` moving as ``driving`` does: uint8 (N, S, S, 3)."""
    family, animator = get_family(model.config), model.animator()
    track = track_keypoints(driving.frames, driving.keypoints).to(device) if family.uses_tracks else None

    def points(face: Face) -> torch.Tensor:
        return face.keypoints[None].to(device)

    images = [to_tensor(face.frames[:1]).to(device) for face in (source, driving)]
    animator.start(*images, points(source), points(driving) if track is None else track[:1])
    out = []
    for first in tqdm(range(0, len(driving.frames), batch_size), desc="animate", unit="batch"):
        batch = to_tensor(driving.frames[first : first + batch_size]).to(device)
        moved = [] if track is None else [track[first : first + batch_size]]
        out.append(to_frames(animator.animate(batch, *moved)["prediction"]))
    return np.concatenate(out)


def sample_inputs(data: Path) -> tuple[Path, Path, np.ndarray, str]:
    """Make the test part of the sample data; its first pair's source, driving clip, true result and label."""
    sample.build(data, only="test")
    clips = {record.clip: record for record in read_clips(data / "clips.csv") if record.split == "test"}
    pair = read_pairs(data / "pairs.csv", list(clips))[0]
    record = clips[pair.driving]
    truth = media.open_clip(data / "truth" / pair.name).read_all()
    label = f"{record.emotion}, AU {record.action_units}"
    return data / "test" / pair.source, data / "test" / pair.driving, truth, label


def print_figures(driving: np.ndarray, result: np.ndarray, truth: np.ndarray | None) -> None:
    """Motion fidelity, and against a known truth also how near the pictures are, beside doing nothing."""
    figures = score_pair(driving, result).figures
    print("motion of the result against the driving clip (1 perfect, 0 still; head motion removed):")
    print("  " + ", ".join(f"{name} {figures[name]:.2f}" for name in ("rho", "vcor", "gain", "skill")))
    if truth is None:
        return
    against = score_pair(truth, result).figures
    print("motion of the result against the true result:")
    print("  " + ", ".join(f"{name} {against[name]:.2f}" for name in ("rho", "vcor", "gain", "skill")))
    still = np.repeat(truth[:1], len(truth), axis=0)
    for name, frames in (("result", result), ("still picture", still)):
        values = image_figures(frames, truth)
        print(f"pictures against the true result, {name}: L1 {values['l1']:.4f}, PSNR {values['psnr']:.1f} dB")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", type=Path, help="picture of the face to animate (default: Grace Hopper, from the sample)")
    add("--driving", type=Path, help="clip of a micro-expression, starting neutral (default: a sample clip)")
    add("--cropped", action="store_true", help="both are face crops already: do not crop them again")
    add("--checkpoint", type=Path, default=SAMPLE_MODEL, help="default: the small sample model")
    add("--config", type=Path, help="settings of a published checkpoint; ours carry their own")
    add("--out", type=Path, default=Path("demo"), help="folder of the results (default: %(default)s)")
    add("--detector", choices=("dlib", "face-alignment"), default="dlib")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--slow", type=float, default=8, help="slow motion of the GIF, times (default: %(default)g)")
    return parser


def run(options: argparse.Namespace) -> Path:
    """Carry out a parsed command line; returns the GIF's path."""
    if (options.source is None) != (options.driving is None):
        raise ValueError("give both --source and --driving, or neither for the built-in sample")
    if not options.slow > 0:
        raise ValueError(f"--slow {options.slow:g}: expected a number above 0")
    truth, label, cropped = None, "driving", options.cropped
    source_path, driving_path = options.source, options.driving
    if source_path is None:
        source_path, driving_path, truth, label = sample_inputs(SAMPLE_DATA)
        label, cropped = f"driving: {label}", True
    device = choose_device(options.device)
    config = None
    if options.config is not None:
        from options import load_config

        config = load_config(options.config)
    model = load_for_inference(options.checkpoint, config, device)
    size = (model.config.get("dataset_params") or {}).get("frame_shape") or [256]
    detector = make_detector(options.detector)
    source = crop_face(source_path, detector, size[0], cropped, only_first=True)
    driving = crop_face(driving_path, detector, size[0], cropped, only_first=False)
    result = animate_face(model, source, driving, device, model.config["animate_params"]["batch_size"])

    name = f"{driving.name}-{source.name}"
    fps = driving.fps if options.driving else sample_rate(driving.name)
    media.write_mp4(options.out / f"{name}.mp4", result, fps)
    media.write_strip(options.out / "png" / f"{name}.png", result)
    columns = {label: driving.frames, "source": source.frames, "result": result}
    if truth is not None:
        columns["truth"] = truth
    shown = fps / options.slow
    foot = f"{fps:g} frames a second, shown {fps / media.gif_rate(shown):.3g} times slower"
    gif = options.out / f"{name}.gif"
    media.write_gif(gif, side_by_side(columns, [foot], DIFFERENCE_GAIN), shown)
    print_figures(driving.frames, result, truth)
    print(f"result: {options.out / f'{name}.mp4'} ({fps:g} frames a second), lossless: {options.out / 'png'}")
    print(f"side by side, {foot.split(', ')[1]}: {gif}")
    return gif


def sample_rate(name: str) -> float:
    """Frames a second of a sample clip, from its clip list."""
    return next(float(record.fps) for record in read_clips(SAMPLE_DATA / "clips.csv") if record.clip == name)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.source is None:
        print("Your own: make demo ARGS='--source face.jpg --driving clip.mp4'  (python demo.py --help)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
