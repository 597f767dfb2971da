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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

import media
from animation.clip_animator import CONTROLS, STILL, ClipAnimator, Take
from animation.results import result_paths, write_result
from checkpoint import LoadedModel, load_for_inference
from corpora import read_clips, sample
from evaluate import score_pair
from faces import Detector, DetectorUnavailable, largest_face, make_detector
from faces.crop import Crop, add_crop_options, paste_crop, transform_points
from faces.tracking import track_keypoints
from frames_dataset import FALLBACK_FPS, Pair, rate_is_known, read_pairs
from media.background import pays
from media.side_by_side import side_by_side
from metrics.canonical import MetricError
from metrics.image import image_figures
from modules import get_family
from modules.facial_prior import select_keypoints
from modules.motion_control import REGIONS
from modules.track import Track
from settings import load_config
from settings.devices import choose_device

SAMPLE_MODEL = Path(__file__).parent / "sup-mat" / "sample_model.pth.tar"
SAMPLE_DATA = Path("data/sample")
MARGIN = 0.1  # around the face, as the sample model's faces have it
DIFFERENCE_GAIN = 4
SHOWN_SLOWER = 8  # times, in the comparison
HARDLY = 0.3  # pixels at 256×256: the noise gate of the motion figures, 0.003 inter-ocular distances
SOURCE, DRIVING = "the source", "the driving clip"


@dataclass(frozen=True)
class Face:
    """A clip or picture and its face.

    Attributes:
        clip: the frames cut to the face, uint8 (N, S, S, 3), with the path and rate they came from.
        keypoints: (18, 2), (x, y) in pixels of the cut frame 0.
        photo: frame 0, uncut: uint8 (H, W, 3).
        matrix: (2, 3), photo → cut.
    """

    clip: media.ArrayClip
    keypoints: torch.Tensor
    photo: np.ndarray
    matrix: np.ndarray

    @property
    def name(self) -> str:
        return self.clip.name

    @property
    def frames(self) -> np.ndarray:
        return self.clip.frames


def crop_face(path: Path, detector: Detector, crop: Crop, only_first: bool) -> Face:
    """Read a clip or picture and cut it to its face, as the training data was cut.

    Args:
        path: picture, video, GIF or folder of frames.
        detector: finds the face in frame 0.
        crop: how it is cut.
        only_first: keep frame 0 alone (a source), and take a picture for one, not for a strip of frames.

    Raises:
        media.MediaError: nothing to read, or no face in frame 0.
    """
    if only_first and path.suffix.lower() in media.IMAGE_SUFFIXES and path.is_file():
        clip: media.Clip = media.ArrayClip(path, media.read_image(path)[None])  # a photo, however wide: no image strip
    else:
        clip = media.open_clip(path)
    frames = clip.read([0]) if only_first else clip.read_all()
    face = largest_face(detector, frames[0])
    if face is None:
        raise media.MediaError(f"no face found in the first frame of {path}: use a frontal, evenly lit face")
    matrix = crop.matrix(face, frames.shape[1:3])
    cut = np.stack([crop.apply(frame, matrix) for frame in frames])
    points = select_keypoints(torch.from_numpy(np.rint(transform_points(matrix, face.landmarks))))
    return Face(media.ArrayClip(path, cut, clip.fps), points, frames[0], matrix)


class TwoClips:
    """The source and the driving clip in memory, as :class:`animate.ClipAnimator` wants its clips."""

    def __init__(self, source: Face, driving: Face, with_tracks: bool):
        self.faces = {SOURCE: source, DRIVING: driving}
        self.with_tracks = with_tracks
        self.driving_track = track_keypoints(driving.frames, driving.keypoints)

    def open(self, name: str) -> media.ArrayClip:
        return self.faces[name].clip

    def fit(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def keypoints(self, name: str, own_size: tuple[int, int]) -> torch.Tensor:
        return self.faces[name].keypoints

    def track(self, name: str, indices: Iterable[int]) -> Track:
        return self.driving_track[list(indices)]

    def largest_movement(self) -> float:
        """Largest displacement of a key point in the driving clip, head motion removed, pixels at 256×256."""
        track = self.driving_track
        moved = track.points - track.onset - track.head_at(track.onset)
        return float(moved.norm(dim=-1).max()) * 256 / track.size[0]


class Paster:
    """Puts animated crops back into the photo, with a soft border.

    What a photo finer than the crop loses by being cut is put back too, moved along by the model's own motion.

    Args:
        face: the source.
    """

    def __init__(self, face: Face):
        self.face, size = face, face.frames.shape[1]
        lost = face.photo.astype(np.float32) - paste_crop(face.photo, face.frames[0], face.matrix)
        rows, columns = np.nonzero(lost.any(-1))
        self.lost: np.ndarray | None = None
        if len(rows) == 0:
            return
        self.area = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        self.lost = lost[self.area]
        y, x = np.mgrid[self.area].astype(np.float32)
        places = transform_points(face.matrix, np.stack([x, y], axis=-1)) / (size - 1)  # 0 … 1 over the crop
        self.places = places.astype(np.float32)
        self.back = np.linalg.inv(face.matrix[:, :2]) * (size - 1) / 2  # normalised units → pixels of the photo

    def paste(self, frame: np.ndarray, grid: np.ndarray | None) -> np.ndarray:
        """One frame uint8 (S, S, 3), with the grid (h, w, 2) it was sampled at → the photo, uint8 (H, W, 3)."""
        out = paste_crop(self.face.photo, frame, self.face.matrix)
        if self.lost is None:
            return out
        out[self.area] = np.clip(np.rint(out[self.area] + self._moved(grid)), 0, 255).astype(np.uint8)
        return out

    def _moved(self, grid: np.ndarray | None) -> np.ndarray:
        if grid is None:
            return self.lost
        height, width = grid.shape[:2]
        y, x = np.mgrid[: self.lost.shape[0], : self.lost.shape[1]].astype(np.float32)
        own = np.stack(np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)), axis=-1)
        cells = self.places * np.float32([width - 1, height - 1])
        moved = cv2.remap((grid - own).astype(np.float32), cells, None, cv2.INTER_LINEAR, borderValue=0) @ self.back.T
        origin = np.stack([x, y], axis=-1) + moved.astype(np.float32)
        return cv2.remap(self.lost, origin, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def shown(take: Take, frames: int, crops: list[np.ndarray], paster: Paster | None = None) -> Iterator[np.ndarray]:
    """The frames of a take as they come, in the photo where there is a paster; ``crops`` collects the faces alone.

    ``frames`` is the driving clip's number of them, for the progress bar.
    """
    count = frames if take.positions is None else len(take.positions)
    for frame in tqdm(take, desc="animate", total=count, unit="frame"):
        crops.append(frame)
        yield frame if paster is None else paster.paste(frame, take.grid)


# ------------------------------------------------------------------------------------------------ the built-in sample
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


# ------------------------------------------------------------------------------------------------ command line
def reference(text: str) -> str | int:
    """``onset``, ``auto`` or a frame number."""
    if text in ("onset", "auto"):
        return text
    if text.isdigit():
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
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--cpu", action="store_true", help="the same as --device cpu")
    add("--no-paste", action="store_true", help="the face's crop alone, not put back into the photo")
    add_crop_options(parser, "square", MARGIN)
    add = parser.add_argument_group("movement").add_argument
    add("--amplify", type=float, default=1.0, help="strength: 0 still, 1 as driven (default), 2 twice as strong")
    add("--regions", help=f"parts that move: any of {','.join(REGIONS)}; one side of the picture: brows:left")
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
    if options.crop != "square" and options.margin == MARGIN:
        options.margin = 0.0
    if options.result and options.result.suffix.lower() not in (".mp4", ".gif", ""):
        raise ValueError(f"--result {options.result}: legal are .mp4, .gif and a folder (no suffix)")
    if isinstance(options.compare, Path) and options.compare.suffix.lower() not in (".mp4", ".gif"):
        raise ValueError(f"--compare {options.compare}: legal are .mp4 and .gif")


def load_model(options: argparse.Namespace) -> LoadedModel:
    """The checkpoint's networks, with the controls of the command line in their settings."""
    config = None if options.config is None else load_config(options.config)
    model = load_for_inference(options.checkpoint, config, choose_device(options.device), single_use=True)
    names = {"output_fps": options.fps, "fps": options.driving_fps}
    model.config["animate_params"] = {
        "batch_size": 4, **(model.config.get("animate_params") or {}),
        **{name: names[name] if name in names else getattr(options, name) for name in (*CONTROLS, "fps")},
    }  # fmt: skip
    if options.head is not None:
        legal = get_family(model.config).animation_keys.get("head")
        if legal is None:
            raise ValueError(f"--head belongs to model: fpb_tracked; this checkpoint is of model: {model.family}")
        model.config["animate_params"]["head"] = options.head
    return model


def crop_of(options: argparse.Namespace, model: LoadedModel) -> Crop:
    """How faces are cut: as the options say, at the model's size."""
    size = (model.config.get("dataset_params") or {}).get("frame_shape") or [256]
    return Crop(size[0], options.crop, options.margin, options.align, options.gray)


def begin(model: LoadedModel, source: Face, driving: Face, device: torch.device) -> tuple[Take, TwoClips]:
    """Start the animation; says what the driving clip does not tell about itself."""
    if len(driving.frames) < 2:
        raise media.MediaError(f"{driving.clip.path} has one frame: nothing moves in it. Give a clip")
    if not model.config["animate_params"]["fps"] and not rate_is_known(driving.clip):
        print(f"{driving.clip.path} does not say how many frames a second it has; taking {FALLBACK_FPS:g}. "
              "Give --driving-fps if that is wrong.")  # fmt: skip
    clips = TwoClips(source, driving, get_family(model.config).uses_tracks)
    if clips.largest_movement() < HARDLY:
        print(
            f"{driving.clip.path} hardly moves: its key points by at most {clips.largest_movement():.2f} pixels of a "
            "256 pixel face. Do not expect a movement."
        )
    animator = ClipAnimator(model, clips, device, model.config["animate_params"]["batch_size"])
    return animator.take(Pair(DRIVING, SOURCE)), clips


def write_comparison(
    path: Path, columns: dict[str, np.ndarray], take: Take, driving: Face, fps: float, slow: float
) -> str:
    """Driving clip, source and result side by side, in step and in slow motion; returns how slow it is shown."""
    if take.positions is not None:  # the driving frames that the result's frames show
        shown = np.rint(take.positions).astype(int)
        columns = {name: frames[shown] if frames is driving.frames else frames for name, frames in columns.items()}
    wanted = fps / slow
    rate = media.gif_rate(wanted) if path.suffix.lower() == ".gif" else wanted
    foot = f"{fps:g} frames a second, shown {fps / rate:.3g} times slower"
    media.write_clip(path, side_by_side(columns, [foot], DIFFERENCE_GAIN), wanted)
    return foot.partition(", ")[2]


def run(options: argparse.Namespace) -> Path:
    """Carry out a parsed command line; returns the path of the result, or of the comparison if there is one."""
    check_options(options)
    truth, label, source_path, driving_path = None, "driving", options.source, options.driving
    model = load_model(options)
    if source_path is None:
        source_path, driving_path, truth, label = sample_inputs(SAMPLE_DATA)
        options.crop, options.margin, options.no_paste = "whole", 0.0, True
        options.compare = options.compare or True
    detector, crop = make_detector(options.detector), crop_of(options, model)
    source = crop_face(source_path, detector, crop, only_first=True)
    driving = crop_face(driving_path, detector, crop, only_first=False)
    device = choose_device(options.device)
    take, clips = begin(model, source, driving, device)
    video = options.result or options.out / f"{driving.name}-{source.name}.mp4"
    suffix = video.suffix.lower() or ".png"
    video, lossless = result_paths(video.parent, video.name.removesuffix(video.suffix), suffix)
    frames: list[np.ndarray] = []
    paster = None if options.no_paste else Paster(source)
    moving = shown(take, len(driving.frames), frames, paster)
    write_result(moving, video, lossless, take.fps / (options.slow or 1), overlap=pays(device))
    crops = np.stack(frames)
    if take.largest is not None and take.largest < STILL and options.amplify and clips.largest_movement() >= HARDLY:
        print(f"the result hardly moves (at most {take.largest:.2f} pixels): the model does not carry this movement")
    plain = options.retime is options.fps is options.regions is None and options.amplify == 1
    if plain:
        try:
            print_figures(driving.frames, crops, truth)
        except MetricError as error:
            print(f"the motion could not be measured: {error}")
    rate = take.fps / (options.slow or 1)
    if slowdown := media.gif_slowdown(suffix, rate):
        print(slowdown)
        rate = media.gif_rate(rate)
    print(f"result: {video} ({rate:g} frames a second), lossless: {lossless}")
    if options.compare is None:
        return video
    compared = video.with_name(f"{video.stem}-compare.gif") if options.compare is True else options.compare
    columns = {label: driving.frames, "source": source.frames, "result": crops}
    if truth is not None and plain:
        columns["truth"] = truth
    slowly = write_comparison(compared, columns, take, driving, take.fps, options.slow or SHOWN_SLOWER)
    print(f"side by side, {slowly}: {compared}")
    return compared


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, DetectorUnavailable, torch.OutOfMemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.source is None:
        print("Your own: make demo ARGS='--source face.jpg --driving clip.mp4'  (python demo.py --help)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
