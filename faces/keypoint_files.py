"""``keypoint_folder/<clip>.pt`` and the ``manifest.json`` beside them.

A key point file holds one float32 tensor (18, 2), (x, y) in pixels of the clip's frames, at the clip's onset.
The manifest says for each clip how its points were found.  Whatever else is known about a clip's points goes
into files of its own beside these, so that every ``<clip>.pt`` stays what it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shlex
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from media import CLIP_SUFFIXES, atomic_path
from media.fingerprint import has_flipped_bytes
from media.names import composed

if TYPE_CHECKING:
    from torch import Tensor  # PyTorch takes a second to import, in which kpmaker's workers are busy already

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
KEYPOINT_FOLDER = "keypoint_folder"  # beside a data set's train/ and test/
SPLITS = ("train", "test")
TRACKS = "tracks"  # folder of the key points and fields of all frames


class KeypointError(ValueError):
    """A key point file that cannot be used; the message names it, what is wrong, and the remedy."""


class MissingKeypoints(KeypointError, FileNotFoundError):
    """There is no key point file for a clip; the message says which command makes it."""


def default_folder(root: str | Path) -> Path:
    """Where the key points of a data set are, unless somebody says otherwise: beside its ``train/`` and ``test/``."""
    return Path(root) / KEYPOINT_FOLDER


def making_command(folder: str | Path, options: str = "") -> str:
    """The command that makes the key points in ``folder``: with the detector of those there are, else offline."""
    folder, detector = Path(folder), "dlib"
    with contextlib.suppress(KeypointError):
        detector = next((entry["detector"] for entry in read_manifest(folder).values() if "detector" in entry), "dlib")
    root, out = "<your data folder>", f" --out {shlex.quote(str(folder))}"
    if folder.name == KEYPOINT_FOLDER and any((folder.parent / split).is_dir() for split in SPLITS):
        root, out = shlex.quote(str(folder.parent)), ""
    return f"python kpmaker.py --root {root}{out} --detector {detector}{options}"


def keypoint_path(folder: str | Path, name: str) -> Path:
    """Where the key points of the clip ``name`` are kept: ``folder/<name>.pt``."""
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise KeypointError(f"{name!r} is no name of a clip; expected a bare name, without folders")
    return Path(folder) / f"{name}.pt"


def read_tensors(folder: str | Path, name: str, checked: bool = True) -> object:
    """What ``torch.load`` finds in a clip's file, nothing but tensors unpickled; raises as :func:`load_keypoints`.

    ``checked``: by the checksums in it, for which all of it is read.
    """
    import torch

    path = find_file(folder, name)
    if checked and has_flipped_bytes(path):
        raise KeypointError(f"{path} is damaged: its checksums do not fit. Delete it and run kpmaker.py again")
    try:
        as_utf8 = os.fsencode(path) == str(path).encode(errors="replace")  # as PyTorch names a file that it maps
        mapped = as_utf8 and zipfile.is_zipfile(path)  # PyTorch's format since 1.6
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise KeypointError(
            f"{path} was refused: it holds more than tensors, and loading it could run code, or it is broken. "
            "Delete it and make it anew with kpmaker.py"
        ) from error
    except Exception as error:  # torch.load raises a different type for every way a file can be broken
        raise KeypointError(f"cannot read {path} ({_first_line(error)}). Delete it and run kpmaker.py again") from error


def load_keypoints(folder: str | Path, name: str) -> Tensor:
    """Key points of a clip: float32 (18, 2), (x, y) in pixels of its frames, detached, on the CPU.

    The file is found by the clip's exact name, or that without its media suffix (``a.mp4`` → ``a.pt``), never
    by a part of it.  Files of the released code, which carry ``requires_grad``, are read as well; nothing but
    tensors is unpickled.

    Raises:
        MissingKeypoints: there is no such file (also a ``FileNotFoundError``).
        KeypointError: the file is broken, holds something else, or was refused because it tries to run code.
    """
    return _checked(read_tensors(folder, name), str(find_file(folder, name)))


def save_keypoints(folder: str | Path, name: str, points: Tensor) -> Path:
    """Write the key points of a clip, float32 (18, 2) in pixels, atomically; returns the file's path."""
    return write_tensors(folder, name, _checked(points, f"the key points of {name}").clone())


def write_tensors(folder: str | Path, name: str, content: Tensor | dict[str, Tensor]) -> Path:
    """Write ``folder/<name>.pt``, atomically; returns its path."""
    import torch

    path = keypoint_path(folder, name)
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path


def read_manifest(folder: str | Path) -> dict[str, dict]:
    """Entries of ``folder/manifest.json`` by clip name; empty where there is none.

    Raises:
        KeypointError: the file is no manifest.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        return {}
    if not path.is_file():  # a named pipe would be waited for
        raise KeypointError(f"{path} is no file: remove it, and run kpmaker.py --overwrite")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        clips = content["clips"]
        if content["format"] != MANIFEST_FORMAT or not all(isinstance(entry, dict) for entry in clips.values()):
            raise KeyError("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeypointError(
            f"{path} is no manifest of kpmaker.py ({_first_line(error)}). Move it away and run kpmaker.py --overwrite"
        ) from error
    return {composed(name): entry for name, entry in clips.items()}


def update_manifest(folder: str | Path, entries: Mapping[str, dict]) -> dict[str, dict]:
    """Merge ``entries`` into ``folder/manifest.json``, atomically; returns all entries, sorted by name."""
    clips = dict(sorted({**read_manifest(folder), **entries}.items()))
    dump = partial(json.dumps, ensure_ascii=False)
    rows = ",\n".join(f"  {dump(name)}: {dump(entry)}" for name, entry in clips.items())  # a line a clip
    text = f'{{"format": {MANIFEST_FORMAT}, "clips": {{\n{rows}\n}}}}\n'
    with atomic_path(Path(folder) / MANIFEST) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return clips


def _of_status(folder: str | Path, names: Iterable[str], status: str) -> dict[str, dict]:
    entries = read_manifest(folder)
    found = {name: entries.get(name, entries.get(Path(name).stem, {})) for name in names}
    return {name: entry for name, entry in found.items() if entry.get("status") == status}


def doubtful_faces(folder: str | Path, names: Iterable[str]) -> dict[str, str]:
    """Those of the clips whose key points are of a doubtful face, by the manifest: the score and place of each.

    A clip whose faces a person has accepted (``kpmaker.py --accept``) is none of them.
    """
    return {name: describe_doubt(entry) for name, entry in _of_status(folder, names, "doubtful").items()}


def average_faces(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Those of the clips in which no face was found: their key points are an average face's."""
    return list(_of_status(folder, names, "template"))


def describe_doubt(entry: dict) -> str:
    """Score and place of a manifest entry's face: ``score 0.12, x 270 to 333, y 332 to 396``."""
    x0, y0, x1, y1 = entry["box"]
    return f"score {entry['score']:.2f}, x {x0} to {x1}, y {y0} to {y1}"


def find_file(folder: str | Path, name: str) -> Path:
    """The file of a clip, whose key points may be kept without the suffix that its name has.

    Raises:
        MissingKeypoints: there is none.
    """
    exact = keypoint_path(folder, name)
    candidates = [exact]
    if Path(name).suffix.lower() in CLIP_SUFFIXES:
        candidates.append(keypoint_path(folder, Path(name).stem))
    for path in (*candidates, keypoint_path(folder, unicodedata.normalize("NFD", name))):  # copied from a Mac
        if path.is_file():
            return path
    raise MissingKeypoints(
        f"no key points for the clip {name!r}: {candidates[-1]} does not exist. Make it with: {making_command(folder)}"
    )


def _checked(points: object, name: str) -> Tensor:
    """``points`` as a detached float32 tensor (18, 2), or a KeypointError that says what it is instead."""
    import torch

    from modules.facial_prior import NUM_KEYPOINTS

    if not isinstance(points, torch.Tensor):
        raise KeypointError(f"{name} holds a {type(points).__name__}; expected a tensor ({NUM_KEYPOINTS}, 2)")
    if points.shape != (NUM_KEYPOINTS, 2) or points.is_complex():
        got = f"{points.dtype} {tuple(points.shape)}"
        raise KeypointError(f"{name}: expected a real tensor of shape ({NUM_KEYPOINTS}, 2), got {got}")
    points = points.detach().to(device="cpu", dtype=torch.float32)
    if not torch.isfinite(points).all():
        raise KeypointError(f"{name} holds NaN or infinite values; make it anew with kpmaker.py --overwrite")
    return points


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
