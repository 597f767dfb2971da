"""face-alignment (Bulat & Tzimiropoulos 2017): S3FD face detector and 2D-FAN-4 landmarks, on CPU or GPU.

The library downloads two weight files (about 90 and 95 MB) on first use into torch's hub cache; where that is
not possible, they can be put there, or anywhere else and named with ``model_path``.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from faces.detector import Detector, DetectorUnavailable, Face, check_image, ranked
from faces.versions import file_digest, package_version

LANDMARK_WEIGHTS = "2DFAN4-11f355bf06.pth.tar"
FACE_WEIGHTS = "s3fd-619a316812.pth"
ORIGIN = "https://www.adrianbulat.com/downloads/python-fan/"
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer
SURE_SCORE = 0.9  # of S3FD, which drops what it gives less than 0.5; not measured here, for want of its weights
MAX_BATCH = 16  # images, and faces, that go through a network together


def resolve_device(device: str) -> str:
    """``auto`` → the best device there is; any other name is checked.

    Raises:
        ValueError: this machine has no such device.
    """
    have_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if have_mps else "cpu"
    kind = device.split(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": have_mps}
    if not present.get(kind, False):
        legal = ", ".join(["auto", *(name for name, there in present.items() if there)])
        raise ValueError(f"there is no device {device!r} here; legal on this machine are {legal}")
    return device


class FaceAlignmentDetector(Detector):
    """S3FD faces and 2D-FAN landmarks.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        model_path: the 2D-FAN-4 weights, or the folder of both weight files; default: torch's hub cache, or
            the library's own download.  The face detector's file is looked for beside the landmarks' first.

    Raises:
        DetectorUnavailable: the package or its weights cannot be had, or cannot be read.
    """

    name = "face-alignment"
    batch_size = MAX_BATCH

    def __init__(self, device: str = "auto", model_path: str | Path | None = None):
        self.device = resolve_device(device)
        try:
            import face_alignment as library
        except ImportError as error:
            raise DetectorUnavailable(
                f"face-alignment cannot be imported ({error}): pip install face-alignment, or use --detector dlib"
            ) from error
        landmarks, finder = _local_weights(model_path)
        try:
            with _network_timeout(DOWNLOAD_TIMEOUT):
                self._aligner = _build(library, self.device, landmarks, finder)
        except (OSError, RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError) as error:
            raise DetectorUnavailable(_explain(error, landmarks, finder)) from error
        files = ((landmarks, LANDMARK_WEIGHTS), (finder, FACE_WEIGHTS))
        origins = [name if path is None else f"{path.name} ({file_digest(path)})" for path, name in files]
        self.version = ", ".join([f"face-alignment {package_version('face-alignment')}", *origins])

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a uint8 RGB image (H, W, 3), largest first."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of several images; those of one size go through the face detector together."""
        images = [check_image(image) for image in images]
        found: list[list[Face]] = [[] for _ in images]
        for indices in _same_size_batches(images):
            batch = np.stack([images[index] for index in indices])  # (n, H, W, 3)
            boxes = self._aligner.face_detector.detect_from_batch(torch.from_numpy(batch).permute(0, 3, 1, 2))
            for index, rows in zip(indices, boxes, strict=True):
                found[index] = self._faces(images[index], [np.asarray(row, dtype=np.float64) for row in rows])
        return found

    def _faces(self, image: np.ndarray, rows: list[np.ndarray]) -> list[Face]:
        """Faces of one image from its boxes (x0, y0, x1, y1, score)."""
        rows = [row for row in rows if row[2] - row[0] >= 1.0 and row[3] - row[1] >= 1.0]
        if not rows:
            return []
        landmarks = self._aligner.get_landmarks_from_image(image, detected_faces=rows)
        faces = []
        for row, points in zip(rows, landmarks, strict=True):
            box = (math.floor(row[0]), math.floor(row[1]), math.ceil(row[2]), math.ceil(row[3]))
            doubt = "" if row[4] >= SURE_SCORE else f"score {row[4]:.2f}"
            faces.append(Face(box, np.asarray(points, dtype=np.float32), float(row[4]), doubt=doubt))
        return ranked(faces)


def _same_size_batches(images: Sequence[np.ndarray]) -> list[list[int]]:
    """Indices of images of one size, at most MAX_BATCH together."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(index)
    return [
        indices[start : start + MAX_BATCH]
        for indices in by_size.values()
        for start in range(0, len(indices), MAX_BATCH)
    ]


@contextlib.contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """New connections give up after this time; the library's downloads would wait for minutes otherwise."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _local_weights(model_path: str | Path | None) -> tuple[Path | None, Path | None]:
    """Landmark and face detector weights named by the user; None: the library's own."""
    if model_path is None:
        return None, None
    path = Path(model_path)
    landmarks = path / LANDMARK_WEIGHTS if path.is_dir() else path
    if not landmarks.is_file():
        raise DetectorUnavailable(
            f"no such landmark model: {landmarks}. Expected the 2D-FAN-4 weights, {ORIGIN}{LANDMARK_WEIGHTS}"
        )
    finder = landmarks.parent / FACE_WEIGHTS
    return landmarks, finder if finder.is_file() else None


def _build(library: ModuleType, device: str, landmarks: Path | None, finder: Path | None) -> object:
    """A ``face_alignment.FaceAlignment``, with its landmark weights from the file ``landmarks`` if given."""
    cls = library.FaceAlignment
    if landmarks is not None:

        class LocalFaceAlignment(library.FaceAlignment):
            """The library's class with its weights from a file: it has no argument for that."""

            def _load_native(
                self, network_name: str, network_size: int, device: str, dtype: torch.dtype
            ) -> torch.nn.Module:
                network = library.models.FAN(network_size)
                network.load_state_dict(torch.load(landmarks, map_location=device, weights_only=True))
                return network.to(device, dtype=dtype).eval()

        cls = LocalFaceAlignment
    return cls(
        library.LandmarksType.TWO_D,
        device=device,
        face_detector="sfd",
        face_detector_kwargs=None if finder is None else {"path_to_detector": str(finder)},
        compile=False,  # would take longer than it saves: one frame per clip
        max_batch_size=MAX_BATCH,
    )


def _explain(error: Exception, landmarks: Path | None, finder: Path | None) -> str:
    """Which weights are missing or broken, where they belong, and the alternative."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"  # where the library keeps what it downloads
    landmarks, finder = landmarks or cache / LANDMARK_WEIGHTS, finder or cache / FACE_WEIGHTS
    missing = [path.name for path in (landmarks, finder) if not path.is_file()]
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if missing:
        return (
            f"the weights of face-alignment are not here and cannot be downloaded ({reason}). Put "
            f"{' and '.join(missing)} (from {ORIGIN}) into {cache} (or, for kpmaker.py and "
            "prepare.py, into a folder that --landmark-model names), or use --detector dlib, which needs no download"
        )
    files = " or ".join(sorted({str(landmarks), str(finder)}))
    return (
        f"the weights of face-alignment cannot be loaded ({reason}): {files} is broken or another model. "
        "Replace the file, or use --detector dlib"
    )
