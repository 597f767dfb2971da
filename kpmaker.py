"""Landmarks of every clip's onset frame → keypoint_folder/<clip>.pt in the data set, the facial prior's 18 key points.

    python kpmaker.py --root data/your_dataset                     # its train/ and test/, with face-alignment
    python kpmaker.py --root data/your_dataset --detector dlib     # offline, nothing to download
    python kpmaker.py --root my_clips --out my_points --detector dlib --workers 4
    python kpmaker.py --root data/your_dataset --detector dlib --on-missing error
    python kpmaker.py --root data/your_dataset --device cuda --overwrite
    python kpmaker.py --root data/your_dataset --detector dlib --track   # for model: fpb_tracked
    python kpmaker.py --root data/your_dataset --detector dlib --accept clip7   # a doubtful face is right after all
    torchrun --nproc_per_node 4 kpmaker.py --root data/your_dataset      # or the same command on many machines

A second run does only what is missing or has changed.  Beside the .pt files it writes manifest.json (how each
clip's points were found) and preview.png (the points drawn on the faces: look at it before you train).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import sys
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from faces import DETECTORS, DetectorUnavailable, Face, choose_face, face_choice, make_detector, several_faces
from faces.keypoint_files import (
    MANIFEST,
    SPLITS,
    TRACKS,
    KeypointError,
    average_faces,
    default_folder,
    doubtful_faces,
    keypoint_path,
    load_keypoints,
    read_manifest,
    update_manifest,
)
from faces.onset import Onset, OnsetDetector, read_onset
from faces.preview import MAX_TILES, Tile, contact_sheet, draw_tile, spread
from faces.records import Plan, Recorder, make_entry, make_plan
from media import MediaError, clear_leftovers, clip_name, list_clips, open_clip, open_output_folder, write_image
from media.names import describe_error, is_passed_over, warn_in_one_line
from parallel.work_sharing import Claims
from parallel.workers import global_rank, global_size, speak_any_alphabet

if TYPE_CHECKING:
    from torch import Tensor  # PyTorch is imported where it is needed: the workers search meanwhile

PREVIEW = "preview.png"
MOST_WORKERS = 512
BLOCK = 32  # clips for each of its workers that a run claims at a time
FINISHED, FAILED, INTERRUPTED = 0, 2, 130  # exit codes
LABELS = {"found": "found", "doubtful": "doubtful", "template": "average face", "skipped": "skipped"}  # of statuses
WITHOUT_FACE = {"template": "template", "skip": "skipped", "error": None}  # --on-missing → status; None: an error


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says why and what can."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line's options; see ``python kpmaker.py --help``."""
    parser = argparse.ArgumentParser(
        prog="kpmaker.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    # fmt: off
    add("--root", type=Path, default=Path("data/your_dataset"),
        help="data set with train/ and test/, or any folder of clips (default: %(default)s)")
    add("--out", type=Path,
        help="where the .pt files go (default: keypoint_folder in the data set; a plain folder of clips needs it)")
    add("--detector", choices=DETECTORS, default="face-alignment",
        help="face-alignment downloads its weights once, dlib is offline; never one in place of the other "
        "(default: %(default)s)")
    add("--device", default="auto", metavar="auto|cpu|cuda|mps",
        help="where face-alignment runs; dlib uses the CPU (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="N",
        help="processes that find faces with dlib; threads that read clips for face-alignment, and that follow points "
        "for --track (default: %(default)s)")
    add("--overwrite", action="store_true", help="make all files anew; those of other programs always stay")
    add("--on-missing", choices=("error", "skip", "template"), default="template",
        help="a clip without a face gets an average face (template), no file (skip), or is an error; always "
        "reported, and marked in the manifest (default: %(default)s)")
    add("--face", type=face_choice, default="largest", metavar="N|left|right|largest",
        help="which face of a frame that shows several; N counts from the left (default: largest)")
    add("--accept", nargs="*", metavar="CLIP",
        help="the doubtful faces of these clips (of all, where none is named) are right: you have looked at them")
    add("--landmark-model", type=Path, metavar="PATH",
        help="dlib: a 68-landmark .dat file; face-alignment: its landmark weights, or a folder with both of "
        "its weight files")
    add("--track", action="store_true",
        help="also follow the points through each clip by optical flow (tracks/<clip>.pt), for model: fpb_tracked")
    add("--upsample", type=int, metavar="N",
        help="dlib: doublings of the frame before the search (default: 1)")
    add("--frame-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="of one frame of the image strips (default: square frames)")
    # fmt: on
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= MOST_WORKERS:
        parser.error(f"--workers {arguments.workers}: legal are 1 to {MOST_WORKERS}")
    if arguments.out is None:
        if arguments.root.is_dir() and not any((arguments.root / split).is_dir() for split in SPLITS):
            parser.error(f"--out is needed: {arguments.root} has no train/ or test/ to put the key points beside")
        arguments.out = default_folder(arguments.root)
    if arguments.frame_size is not None and min(arguments.frame_size) < 1:
        parser.error(f"--frame-size {arguments.frame_size}: height and width must be at least 1")
    return arguments


def collect_clips(root: Path, frame_size: tuple[int, int] | None = None) -> dict[str, Path]:
    """Clips of a data set (its ``train`` and ``test``) or of a plain folder, by name, in natural order.

    Raises:
        UsageError: one name stands for different clips in train and test.  All share one key point folder.
        MediaError: no such folder, or no clips in it.
    """
    folders = [root / split for split in SPLITS if (root / split).is_dir()] or [root]
    clips: dict[str, Path] = {}
    for path in (path for folder in folders for path in list_clips(folder)):
        other = clips.setdefault(clip_name(path), path)
        if other is not path and not _same_clip(other, path, frame_size):
            raise UsageError(
                f"two different clips are called {clip_name(path)!r}: {other} and {path}. The key points of "
                "train and test share one folder, by clip name: rename one of them"
            )
    return clips


def _same_clip(first: Path, second: Path, frame_size: tuple[int, int] | None) -> bool:
    pairs = zip_longest(open_clip(first, frame_size), open_clip(second, frame_size))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


class KeypointMaker:
    """One run of the command.

    Raises:
        UsageError: two clips of one name, or a detector without an option that is given.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.out = arguments, arguments.out
        self.clips = collect_clips(arguments.root, arguments.frame_size)
        try:
            self.detector = make_detector(
                arguments.detector, arguments.device, arguments.landmark_model, arguments.upsample, load=False
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.plan = self._plan(list(self.clips))
        self.shown = spread(list(self.clips), MAX_TILES)  # in the preview
        self.names: dict[str, list[str]] = {status: [] for status in LABELS}  # this run's clips, by status
        self.several: list[str] = []  # of those with several faces, what was taken
        self.errors: list[str] = []
        self.tiles: dict[str, Tile] = {}  # pictures for the preview, by name

    def _plan(self, names: list[str]) -> Plan:
        skipped_by = self.detector.version if self.arguments.on_missing == "skip" else None
        chosen = {name: self.clips[name] for name in names}
        return make_plan(chosen, self.out, self.arguments.overwrite, skipped_by, self.arguments.frame_size)

    def run(self) -> int:
        """Everything the command does; returns its exit code."""
        inputs = {"--root": self.arguments.root}
        open_output_folder(self.out, "--out", "key points", inputs, ours=_holds_keypoints(self.out))
        clear_leftovers(self.out, self.out / TRACKS)
        claims = Claims(self.out)
        with claims.exclusive("manifest"):
            update_manifest(self.out, self.plan.moved)  # also shows, before the work, that the folder can be written
        if self.plan.todo:
            self.detect_blocks()
        accepted = [] if self.arguments.accept is None else self.accept(self.arguments.accept)
        if self.plan.todo or accepted or not (self.out / PREVIEW).exists():
            self.write_preview()
        self.report()
        if self.arguments.track:
            from faces.data_set_tracks import track_clips

            self.errors += track_clips(self.clips, self.arguments)
        claims.tidy()
        clear_leftovers(self.out, self.out / TRACKS)
        for error in self.errors:
            print(f"kpmaker.py: error: {error}", file=sys.stderr)
        if not self.errors:
            return FINISHED
        remedy = " (without a face: try --on-missing template or skip)" if self.arguments.on_missing == "error" else ""
        count = f"{len(self.errors)} of {len(self.clips)} clips"
        what = "no key points or track" if self.arguments.track else "no key points"
        print(f"kpmaker.py: {what} for {count}{remedy}", file=sys.stderr)
        return FAILED

    def accept(self, names: list[str]) -> list[str]:
        """Let the doubtful faces of these clips, or of all, count as found; returns the clips' names.

        Raises:
            UsageError: a named clip has no doubtful face.
        """
        with Claims(self.out).exclusive("manifest"):
            doubtful, entries = doubtful_faces(self.out, self.clips), read_manifest(self.out)
            if strange := next((name for name in names if name not in doubtful), None):
                raise UsageError(
                    f"--accept {strange}: no clip of a doubtful face; there are: {', '.join(doubtful) or 'none'}"
                )
            names = names or list(doubtful)
            update_manifest(self.out, {name: {**entries[name], "status": "found"} for name in names})
        print(f"{self.out}: {len(names)} doubtful faces accepted{': ' * bool(names)}{_some(names)}")
        self.tiles.clear()  # drawn as doubtful
        return names

    def detect_blocks(self) -> None:
        """Key points of the clips to be done, block by block, each by one of the processes that share the folder."""
        todo, names, size = set(self.plan.todo), list(self.clips), BLOCK * self.arguments.workers
        blocks = [names[first : first + size] for first in range(0, len(names), size)]
        blocks = [block for block in blocks if any(self.clips[name] in todo for name in block)]
        claims = Claims(self.out)

        def left(block: list[str]) -> list[Path]:
            return [path for path in self._plan(block).todo if path in todo]

        if self.arguments.overwrite:  # what is there says nothing: each process of a team does its share anew
            sweeps = [[(block, contextlib.ExitStack()) for block in blocks[global_rank() :: global_size()]]]
        else:
            sweeps = claims.sweeps(blocks, lambda block: f"key points {block[0]}", lambda block: not left(block))
        with (
            OnsetDetector(self.detector, self.arguments.workers, self.arguments.frame_size) as onsets,
            tqdm(total=len(todo), unit="clip", desc="key points") as bar,
        ):
            Thread(target=_import_pytorch, name="PyTorch").start()
            for sweep in sweeps:
                recorder = Recorder(self.out, lambda: claims.exclusive("manifest"))
                given_out = ((left(block), claim) for block, claim in sweep)
                self.detect_clips(given_out, onsets, recorder, bar)

    def detect_clips(
        self,
        blocks: Iterable[tuple[list[Path], contextlib.ExitStack]],
        onsets: OnsetDetector,
        recorder: Recorder,
        bar: tqdm,
    ) -> None:
        """Record and, for the clips that are to be shown, draw the key points of the clips to be done.

        Args:
            blocks: of clips, each with its claim, which ends when they are recorded: the next block is given out
                before.
        """
        ends: dict[Path, contextlib.ExitStack] = {}  # the claims of blocks that are given out, by their last clips

        def give_out() -> Iterator[Path]:
            for paths, claim in blocks:
                if paths:
                    ends[paths[-1]] = claims.enter_context(claim.pop_all())
                yield from paths

        with contextlib.ExitStack() as claims, recorder, contextlib.closing(onsets(give_out())) as found:
            for onset in found:
                bar.update()
                self._record(onset, recorder)
                if onset.path in ends:
                    recorder.flush()
                    ends.pop(onset.path).close()

    def _record(self, onset: Onset, recorder: Recorder) -> None:
        """Note, record and perhaps draw a clip; warn about one without a sure face."""
        name, status, face = clip_name(onset.path), WITHOUT_FACE[self.arguments.on_missing], None
        if onset.faces:
            try:
                face = choose_face(onset.faces, self.arguments.face)
            except ValueError as error:
                self.errors.append(f"{onset.path}: {error}")
                return
            status = "doubtful" if face.doubt else "found"
        if onset.frame is None or status is None:
            self.errors.append(onset.error or f"no face in the onset frame of {onset.path}")
            return
        self.names[status].append(name)
        if several := face and several_faces(face, onset.faces, self.arguments.face):
            self.several.append(f"{name}: {several}")
        if status == "doubtful":
            tqdm.write(
                f"warning: a doubtful face in the onset frame of {onset.path}, at {face.place}: {face.doubt}",
                file=sys.stderr,
            )
        elif status != "found":
            gets = "the average face" if status == "template" else "no key points"
            tqdm.write(f"warning: no face in the onset frame of {onset.path}: it gets {gets}", file=sys.stderr)
        landmarks, points = _points(onset, face, status)
        recorder.add(name, make_entry(onset, face, self.arguments.face, self.detector, status), points)
        if name in self.shown or (status != "found" and len(self.tiles) < 2 * MAX_TILES):
            self.tiles[name] = draw_tile(onset.frame, name, status, landmarks, points)

    def write_preview(self) -> None:
        """The contact sheet: doubtful faces first, clips without a face, then a sample spread evenly over all."""
        entries = read_manifest(self.out)
        missing = [name for name in self.clips if name in entries and entries[name].get("status") != "found"]
        problems = spread(missing, MAX_TILES // 2)
        problems.sort(key=lambda name: entries[name].get("status") != "doubtful")
        rest = [name for name in self.shown if name not in problems]
        names = problems + spread(rest, MAX_TILES - len(problems))
        drawn = [self.tiles.get(name) or self._draw_again(name, entries.get(name)) for name in names]
        tiles = [tile for tile in drawn if tile is not None]
        if tiles:
            title = f"{self.arguments.root}: {len(tiles)} of {len(self.clips)} clips"
            write_image(self.out / PREVIEW, contact_sheet(tiles, title))

    def _draw_again(self, name: str, entry: dict | None) -> Tile | None:
        """The tile of a clip that was done by an earlier run; None where there is nothing to draw."""
        onset = read_onset(self.clips[name], self.arguments.frame_size)
        exists = keypoint_path(self.out, name).exists()
        if onset.frame is None or (entry is None and not exists):
            return None
        points = load_keypoints(self.out, name).numpy() if exists else None
        entry = entry or {"status": "kept"}
        landmarks = np.array(entry["landmarks"], np.float32) if entry.get("landmarks") else None
        return draw_tile(onset.frame, name, entry["status"], landmarks, points)

    def report(self) -> None:
        """Print what was done, and what a person should know about it."""
        parts = [f"{len(names)} {LABELS[key]}" for key, names in self.names.items() if names or key == "found"]
        print(f"{self.out}: {', '.join(parts)}; {len(self.plan.done)} done before")
        entries, version = read_manifest(self.out), self.detector.version
        look = "doubtful faces; look at the first ones of the preview, then remove these clips or --accept them"
        alone = "no face found, an average face's key points stand in; look at the preview, or remove these clips"
        notes = {
            alone: average_faces(self.out, self.clips),
            look: [f"{name} at {where}" for name, where in doubtful_faces(self.out, self.clips).items()],
            "changed since the last run, and done again": self.plan.changed,
            "several faces": self.several,
            "files of another program, left as they are (move them away to have them made)": self.plan.kept,
            "done before with another detector or version (--overwrite makes them anew)": [
                name for name in self.plan.done if entries[name].get("detector_version") != version
            ],
            "several faces, done before with another --face (--overwrite makes them anew)": [
                name
                for name in self.plan.done
                if entries[name].get("faces", 0) > 1 and entries[name].get("choice", "largest") != self.arguments.face
            ],
        }
        for note, names in notes.items():
            if names:
                print(f"{note}: {len(names)} ({_some(names)})")
        print(f"{self.out / MANIFEST} says how; look at {self.out / PREVIEW}")


def _holds_keypoints(folder: Path) -> bool:
    """Whether it is a folder of key points, of whatever program: those without an entry in the manifest stay."""
    names = [path.name for path in folder.iterdir() if not is_passed_over(path.name)] if folder.is_dir() else []
    return MANIFEST in names and bool(read_manifest(folder)) or all(name.endswith(".pt") for name in names)


def _some(names: list[str]) -> str:
    return ("; " if any("," in name for name in names) else ", ").join(names[:8]) + (" …" if len(names) > 8 else "")


def _points(onset: Onset, face: Face | None, status: str) -> tuple[np.ndarray | None, Tensor | None]:
    """Landmarks (68, 2) in whole pixels and key points (18, 2), None where there are none."""
    import torch

    from modules.facial_prior import select_keypoints, template_keypoints

    if face is not None:
        landmarks = np.rint(face.landmarks)
        return landmarks, select_keypoints(torch.from_numpy(landmarks))
    return None, template_keypoints(*onset.frame.shape[:2]) if status == "template" else None


def _import_pytorch() -> None:
    """Import PyTorch while the workers begin.

    Its objects stay, so the garbage collector need not look through them: not while they are made (0.2 s), nor later,
    nor as the process ends (0.3 s).
    """
    if "torch" not in sys.modules:
        gc.disable()
        importlib.import_module("torch")
        gc.freeze()
        gc.enable()


def main(argv: list[str] | None = None) -> int:
    """Entry point; errors a user can mend are one line on stderr and exit code 2."""
    speak_any_alphabet()
    arguments = parse_arguments(argv)
    warn_in_one_line()
    try:
        return KeypointMaker(arguments).run()
    except (UsageError, MediaError, KeypointError, DetectorUnavailable, OSError, MemoryError) as error:
        print(f"kpmaker.py: error: {describe_error(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: finished clips are kept, and the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
