"""A small place with everything that the commands read, and the commands run in it as a user's process would.

The programs are forked from this process, which has imported everything already: a run takes as long as its work.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml

from media import clip_name, list_clips, open_clip, write_clip, write_frame_folder, write_image

SIZE, FRAMES = 96, 4
NARROW = {"block_expansion": 4, "max_features": 16}
CONFIG = {
    "model": "fpb_tracked",
    "dataset_params": {
        "root_dir": "data", "frame_shape": [SIZE, SIZE, 3], "keypoint_folder": "keypoints", "pairs_list": "pairs.csv",
    },
    "model_params": {
        "common_params": {"num_kp": 18, "num_channels": 3, "estimate_jacobian": True},
        "kp_detector_params": {**NARROW, "num_blocks": 3, "temperature": 0.1, "scale_factor": 0.25},
        "generator_params": {
            **NARROW, "num_down_blocks": 2, "num_bottleneck_blocks": 1, "estimate_occlusion_map": True,
            "dense_motion_params": {**NARROW, "num_blocks": 3, "scale_factor": 0.25},
        },
    },
    "train_params": {
        "num_epochs": 3, "num_repeats": 2, "batch_size": 2, "checkpoint_freq": 1, "dataloader_workers": 0,
        "log_every": 1, "lr_generator": 1.0e-3, "lr_discriminator": 1.0e-3, "lr_kp_detector": 1.0e-3,
        "loss_weights": {"reconstruction": 10, "deformed": 10},
    },
    "animate_params": {"format": ".mp4", "num_pairs": 4},
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One command as it is run in the workshop.

    Attributes:
        arguments: the script and its options.
        reads: patterns of the files that it reads.
        writes: folders that are its own to write into.
        check: raises where a run that was called a success left no whole result; gets the workshop's folder.
        kept: files of its results that differ from run to run: times, paths, versions.
    """

    arguments: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    check: Callable[[Path], None]
    kept: tuple[str, ...] = field(default=())


# ------------------------------------------------------------------------------------------------ the place
def furnish(folder: Path) -> None:
    """Write data, key points, tracks, settings, checkpoint, lists, raw clips, sheet, and results to evaluate."""
    from corpora import write_clips
    from corpora.sample import dataset

    clips = {"train": dataset.train_plans(0, 2), "test": dataset.test_plans(0)[:2]}
    records = []
    for split, plans in clips.items():
        for plan in plans[:2]:
            face = plan.face(SIZE)
            motion = dataset.Motion(face.landmarks, face.head, plan.timeline(face))
            frames = list(dataset.render_frames(face, motion, (*plan.key, 3)))
            frames = [frames[index] for index in np.linspace(0, len(frames) // 2, FRAMES).astype(int)]
            write_frame_folder(folder / "data" / split / plan.name, frames)
            records.append(dataset.replace(plan.record(), frames=FRAMES, onset_index=0, apex_index=2, offset_index=3))
    write_clips(folder / "data" / "clips.csv", records)
    names = [record.clip for record in records if record.split == "test"]
    rows = [("source", "driving", "frame"), (*names, 0), (*reversed(names), 0)]
    (folder / "pairs.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    _write_raw(folder, [open_clip(path).read_all() for path in list_clips(folder / "data" / "test")])
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    _write_models(folder)
    for driving, source in (names, reversed(names)):  # what a network of random weights makes shows no face
        frames = open_clip(folder / "data" / "test" / driving).read_all()
        write_clip(folder / "results" / f"{driving}-{source}.mp4", frames, 100)
        write_image(folder / "results" / "png" / f"{driving}-{source}.png", np.concatenate(list(frames), axis=1))
    run = Run(COMMANDS["key points"].arguments, folder)
    if run.wait(600) != 0:
        raise RuntimeError(f"no key points can be made in the workshop: {run.said()}")


def _write_raw(folder: Path, clips: list[np.ndarray]) -> None:
    """Clips of every kind, a corpus with its sheet, a zip of it, and two pictures."""
    import zipfile

    import openpyxl

    write_clip(folder / "raw" / "one.mp4", clips[0], 25)
    write_clip(folder / "raw" / "two.gif", clips[1], 25)
    write_image(folder / "photo.png", clips[0][0])
    write_clip(folder / "clip.mp4", clips[1], 25)
    book = openpyxl.Workbook()
    book.active.append(["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units",
                        "Estimated Emotion"])  # fmt: skip
    with zipfile.ZipFile(_parent(folder / "casme2" / "Cropped.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for number, frames in enumerate(clips, start=1):
            book.active.append([f"{number:02d}", "EP01_01", 1, 2, FRAMES, "4", "disgust"])
            for index, frame in enumerate(frames, start=1):
                buffer = io.BytesIO()
                from PIL import Image

                Image.fromarray(frame).save(buffer, "JPEG", quality=95)
                archive.writestr(f"Cropped/sub{number:02d}/EP01_01/reg_img{index}.jpg", buffer.getvalue())
    book.save(folder / "casme2" / "CASME2-coding-20140508.xlsx")


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_models(folder: Path) -> None:
    from checkpoint import write_checkpoint
    from modules import build_networks
    from settings import check_config

    torch.manual_seed(0)
    config = check_config(CONFIG)
    networks = build_networks(config)
    states = {name: network.state_dict() for name, network in networks.items()}
    write_checkpoint(folder / "model.pth.tar", {**states, "config": config, "epoch": 0})
    comparison = {
        "dataset_params": {"root_dir": "data", "frame_shape": [SIZE, SIZE, 3], "keypoint_folder": "keypoints"},
        "columns": [{"name": "ours", "config": "tiny.yaml", "checkpoint": "model.pth.tar"}],
        "rows": "pairs.csv",
    }
    (folder / "compare.yaml").write_text(yaml.safe_dump(comparison))


# ------------------------------------------------------------------------------------------------ what must be there
def _check_frames(path: Path, count: int | None = None) -> None:
    frames = open_clip(path, (SIZE, SIZE)).read_all()
    assert count is None or len(frames) == count, f"{path}: {len(frames)} frames, not {count}"
    assert frames.max() > 8, f"{path} is black"


def _check_key_points(folder: Path) -> None:
    from faces.keypoint_files import load_keypoints
    from faces.tracking import load_track

    for split in ("train", "test"):
        for clip in list_clips(folder / "data" / split):
            load_keypoints(folder / "keypoints", clip_name(clip))
            track = load_track(folder / "keypoints", clip_name(clip))
            assert len(track) == len(open_clip(clip)) and torch.isfinite(track.field).all()


def _check_data_set(name: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        from corpora import read_clips

        records = read_clips(folder / name / "clips.csv")
        assert records, "an empty data set"
        for record in records:
            _check_frames(folder / name / record.split / record.clip, record.frames)

    return check


def _check_animation(folder: Path) -> None:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8-sig") as file:
        names = [f"{clip_name(row['driving'])}-{clip_name(row['source'])}" for row in csv.DictReader(file)]
    for name in names:
        count = len(open_clip(next((folder / "data" / "test").glob(f"{name.partition('-')[0]}*"))))
        for path in (f"out/{name}.mp4", f"out/png/{name}", f"made/train/{name}"):
            _check_frames(folder / path, count)


def _check_reconstruction(folder: Path) -> None:
    for clip in list_clips(folder / "data" / "test"):
        _check_frames(folder / "rec" / "png" / clip_name(clip), len(open_clip(clip)))
    assert 0 <= json.loads((folder / "rec" / "l1.json").read_text())["l1"] <= 1


def _check_training(folder: Path) -> None:
    from checkpoint import not_finite, read_checkpoint

    data = read_checkpoint(last_checkpoint(folder))
    assert not any(not_finite(data[name]) for name in ("generator", "kp_detector"))


def _check_evaluation(folder: Path) -> None:
    content = json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["pairs"] and all(row["status"] != "failed" for row in content["pairs"])
    assert (folder / "evaluation" / "report.html").stat().st_size > 1000


def _check_comparison(folder: Path) -> None:
    assert (folder / "comparison" / "index.html").stat().st_size > 1000
    for path in (folder / "comparison").glob("*.gif"):
        _check_frames(path)


def _check_demo(folder: Path) -> None:
    _check_frames(folder / "demo" / "clip-photo.mp4")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of the newest run folder there, if any."""
    found = sorted(folder.glob("log/*/*-checkpoint.pth.tar"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return found[-1] if found else None


_MODEL = ("tiny.yaml", "model.pth.tar")
_DATA = ("data/test/*/*", "data/clips.csv", "pairs.csv", "keypoints/*.pt", "keypoints/tracks/*.pt",
         "keypoints/manifest.json")  # fmt: skip
_RUN = ("run.py", "--device", "cpu", "--config", "tiny.yaml")
_INFER = (*_RUN, "--checkpoint", "model.pth.tar", "--mode")
COMMANDS = {
    "key points": Command(
        ("kpmaker.py", "--root", "data", "--out", "keypoints", "--detector", "dlib", "--track"),
        ("data/*/*/*", "keypoints/*.pt", "keypoints/tracks/*.pt", "keypoints/manifest.json"), ("keypoints",),
        _check_key_points, ("manifest.json",),
    ),
    "prepare folder": Command(
        ("prepare.py", "folder", "--raw", "raw", "--out", "prepared", "--workers", "1", "--size", "64", "--crop",
         "whole"), ("raw/*",), ("prepared",), _check_data_set("prepared"), ("*.json", "report.*"),
    ),
    "prepare casme2": Command(
        ("prepare.py", "casme2", "--raw", "casme2", "--out", "casme2_out", "--workers", "1", "--size", "64", "--split",
         "train"), ("casme2/*",), ("casme2_out",), _check_data_set("casme2_out"), ("*.json", "report.*"),
    ),
    "check": Command(
        ("prepare.py", "check", "--root", "data", "--keypoints", "keypoints", "--workers", "1"),
        ("data/*/*/*", "data/clips.csv", "keypoints/*.pt", "keypoints/manifest.json"), (), lambda folder: None,
    ),
    "train": Command(_RUN, ("tiny.yaml", "data/train/*/*", "keypoints/*.pt", "keypoints/tracks/*.pt",
        "keypoints/manifest.json"), ("log",), _check_training),
    "train on": Command((*_RUN, "--init-from", "model.pth.tar"), (*_MODEL, "data/train/*/*"), ("log",),
        _check_training),
    "animate": Command(
        (*_INFER, "animate", "--out", "out", "--set", "animate_params.dataset_out=made"), (*_MODEL, *_DATA),
        ("out", "made"), _check_animation, (".made_from/*",),
    ),
    "reconstruction": Command((*_INFER, "reconstruction", "--out", "rec"), (*_MODEL, *_DATA), ("rec",),
        _check_reconstruction),
    "evaluate": Command(
        ("run.py", "--mode", "evaluate", "--driving", "data/test", "--generated", "results", "--pairs", "pairs.csv",
         "--out", "evaluation", "--workers", "1"),
        ("data/test/*/*", "data/clips.csv", "pairs.csv", "results/*.mp4", "results/png/*"), ("evaluation",),
        _check_evaluation,
    ),
    "compare": Command(
        ("run.py", "--device", "cpu", "--mode", "compare", "--config", "compare.yaml", "--out", "comparison"),
        ("compare.yaml", *_MODEL, *_DATA), ("comparison",), _check_comparison, (".made_from/*",),
    ),
    "demo": Command(
        ("demo.py", "--cpu", "--source", "photo.png", "--driving", "clip.mp4", "--checkpoint", "model.pth.tar",
         "--crop", "whole", "--no-paste"), ("photo.png", "clip.mp4", "model.pth.tar"), ("demo",), _check_demo,
    ),
    "slim": Command(("checkpoint.py", "model.pth.tar", "slim.pth.tar"), ("model.pth.tar",), ("slim.pth.tar",),
        lambda folder: torch.load(folder / "slim.pth.tar", weights_only=True)),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ processes
class Run:
    """A command that runs in a process of its own, in ``folder``; what it says goes to files."""

    def __init__(self, arguments: tuple[str, ...], folder: Path):
        self.folder, self.began = folder, time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._work(arguments))

    def _work(self, arguments: tuple[str, ...]) -> int:
        os.setsid()
        os.chdir(self.folder)
        for number in (1, 2):
            os.dup2(os.open(f"../said.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        script, *options = arguments
        sys.argv = list(arguments)
        try:
            module = __import__(script.removesuffix(".py"))
            code = module.main(options)
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
            code = 1
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        return code if isinstance(code, int) else int(code is not None)

    def wait(self, seconds: float) -> int | None:
        """The exit code, None where it ran longer than that and was killed."""
        while time.monotonic() - self.began < seconds:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._end_group()
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        self.kill()
        return None

    def kill(self) -> None:
        """End it and all that it has started."""
        self._end_group()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def said(self) -> str:
        """What came to standard error."""
        return (self.folder.parent / "said.2").read_text(encoding="utf-8", errors="replace")


def files_below(folder: Path, *left_out: str) -> Iterator[Path]:
    """All regular files, but those below ``left_out``."""
    for current, names, files in os.walk(folder):
        here = Path(current)
        names[:] = [name for name in names if (here / name).relative_to(folder).as_posix() not in left_out]
        yield from (here / name for name in files if (here / name).relative_to(folder).as_posix() not in left_out)
