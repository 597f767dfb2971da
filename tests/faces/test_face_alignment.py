"""The face-alignment back end against a small stand-in of the library, whose weights cannot be had here.

Nothing here shows that the real networks find faces: it shows what is asked of them, and how failures end.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import socket
import sys
import types
import urllib.error
import warnings

import numpy as np
import pytest
import torch

from faces import DetectorUnavailable, make_detector
from faces.face_alignment_backend import FACE_WEIGHTS, LANDMARK_WEIGHTS, MAX_BATCH, resolve_device


class StandInFinder:
    """One box per bright corner pixel: the top left one means a small face, the bottom right a large one."""

    def __init__(self):
        self.batches: list[tuple[int, ...]] = []

    def detect_from_batch(self, images: torch.Tensor) -> list[list[np.ndarray]]:
        assert images.shape[1] == 3 and images.dtype == torch.uint8
        self.batches.append(tuple(images.shape))
        found = []
        for image in images:
            boxes = []
            if image[0, 0, 0] == 255:
                boxes.append(np.array([2.3, 3.7, 10.2, 12.9, 0.8]))
            if image[0, -1, -1] == 255:
                boxes.append(np.array([-4.5, 5.0, 40.2, 50.0, 0.9]))
            found.append(boxes)
        return found


class StandInAlignment:
    """Keeps what it was made with; a face's landmarks are all at the middle of its box."""

    def __init__(self, landmarks_type, **options):
        self.landmarks_type, self.options = landmarks_type, options
        self.face_detector = StandInFinder()
        self.network = self._load_native("2DFAN-4", 4, options["device"], torch.float32)

    def _load_native(self, name, size, device, dtype):
        return "downloaded"

    def get_landmarks_from_image(self, image, detected_faces):
        assert image.dtype == np.uint8 and detected_faces
        return [np.tile([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2], (68, 1)) for b in detected_faces]


class StandInNetwork(torch.nn.Linear):
    """In place of the 2D-FAN network: any module with a state dict."""

    def __init__(self, size: int):
        super().__init__(size, 1)


@pytest.fixture
def library(monkeypatch):
    """The stand-in, importable as ``face_alignment``."""
    module = types.ModuleType("face_alignment")
    module.FaceAlignment = StandInAlignment
    module.LandmarksType = enum.IntEnum("LandmarksType", {"TWO_D": 1, "TWO_HALF_D": 2, "THREE_D": 3})
    module.models = types.SimpleNamespace(FAN=StandInNetwork)
    monkeypatch.setitem(sys.modules, "face_alignment", module)
    return module


def picture(small: bool = False, large: bool = False, height: int = 64) -> np.ndarray:
    image = np.zeros((height, 64, 3), np.uint8)
    image[0, 0], image[-1, -1] = 255 * small, 255 * large
    return image


def failing(error: Exception):
    """A library whose constructor fails as ``error``."""

    class Failing(StandInAlignment):
        def __init__(self, landmarks_type, **options):
            assert socket.getdefaulttimeout() is not None  # an unreachable server must not hang the command
            raise error

    return Failing


def test_what_is_asked_of_the_library(library):
    detector = make_detector("face-alignment", device="cpu")
    aligner = detector._aligner
    assert aligner.landmarks_type is library.LandmarksType.TWO_D
    assert aligner.options["device"] == "cpu" and aligner.options["face_detector"] == "sfd"
    assert aligner.options["compile"] is False
    assert (detector.name, detector.device) == ("face-alignment", "cpu")
    assert LANDMARK_WEIGHTS in detector.version and FACE_WEIGHTS in detector.version
    assert socket.getdefaulttimeout() is None


def test_faces_boxes_and_landmarks(library):
    faces = make_detector("face-alignment", device="cpu").detect(picture(small=True, large=True))
    assert [face.box for face in faces] == [
        (-5, 5, 41, 50),
        (2, 3, 11, 13),
    ]  # outwards to whole pixels, largest first
    assert [face.score for face in faces] == [0.9, 0.8]
    assert faces[0].landmarks.shape == (68, 2) and faces[0].landmarks.dtype == np.float32
    assert np.allclose(faces[1].landmarks, [6.25, 8.3])


def test_no_face(library):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_detector("face-alignment", device="cpu").detect(picture()) == []


def test_batches_hold_pictures_of_one_size(library):
    detector = make_detector("face-alignment", device="cpu")
    images = [picture(small=i % 2 == 0, large=i % 3 == 0, height=64 + 16 * (i == 4)) for i in range(MAX_BATCH + 3)]
    found = detector.detect_batch(images)
    assert [len(faces) for faces in found] == [(i % 2 == 0) + (i % 3 == 0) for i in range(MAX_BATCH + 3)]
    sizes = [shape[0] for shape in detector._aligner.face_detector.batches]
    assert sizes == [MAX_BATCH, 2, 1]


def test_weights_from_the_user(library, tmp_path):
    torch.save(StandInNetwork(4).state_dict(), tmp_path / LANDMARK_WEIGHTS)
    (tmp_path / FACE_WEIGHTS).write_bytes(b"stands for the face detector's weights")
    for path in (tmp_path, tmp_path / LANDMARK_WEIGHTS):
        detector = make_detector("face-alignment", device="cpu", model_path=path)
        saved = torch.load(tmp_path / LANDMARK_WEIGHTS, weights_only=True)
        assert torch.equal(detector._aligner.network.weight, saved["weight"])
        assert not detector._aligner.network.training
        assert detector._aligner.options["face_detector_kwargs"] == {"path_to_detector": str(tmp_path / FACE_WEIGHTS)}
        assert "sha256" in detector.version


def test_other_weights_are_another_version(library, tmp_path):
    versions = set()
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(StandInNetwork(4).state_dict(), tmp_path / LANDMARK_WEIGHTS)
        versions.add(make_detector("face-alignment", device="cpu", model_path=tmp_path).version)
    assert len(versions) == 2


def test_download_that_fails_names_files_folder_and_alternative(library, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    library.FaceAlignment = failing(urllib.error.URLError("no route to host"))
    with pytest.raises(DetectorUnavailable) as error:
        make_detector("face-alignment", device="cpu")
    message = str(error.value)
    for part in (
        LANDMARK_WEIGHTS,
        FACE_WEIGHTS,
        str(tmp_path / "checkpoints"),
        "--detector dlib",
        "no route to host",
    ):
        assert part in message
    assert socket.getdefaulttimeout() is None


def test_only_the_missing_file_is_named(library, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / FACE_WEIGHTS).write_bytes(b"there")
    library.FaceAlignment = failing(TimeoutError("timed out"))
    with pytest.raises(DetectorUnavailable) as error:
        make_detector("face-alignment", device="cpu")
    assert f"Put {LANDMARK_WEIGHTS} (from" in str(error.value)


def test_broken_weights(library, tmp_path):
    (tmp_path / LANDMARK_WEIGHTS).write_bytes(b"abc")
    (tmp_path / FACE_WEIGHTS).write_bytes(b"abc")
    with pytest.raises(DetectorUnavailable, match="broken or another model.*--detector dlib"):
        make_detector("face-alignment", device="cpu", model_path=tmp_path)
    torch.save({"other": torch.zeros(2)}, tmp_path / LANDMARK_WEIGHTS)
    with pytest.raises(DetectorUnavailable, match="broken or another model"):
        make_detector("face-alignment", device="cpu", model_path=tmp_path)


def test_no_such_weights(library, tmp_path):
    for path in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(DetectorUnavailable, match="no such landmark model"):
            make_detector("face-alignment", device="cpu", model_path=path)


def test_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(DetectorUnavailable, match="pip install face-alignment, or use --detector dlib"):
        make_detector("face-alignment", device="cpu")


def test_a_fault_in_our_own_call_is_not_mistaken_for_missing_weights(library):
    library.FaceAlignment = failing(TypeError("unexpected keyword"))
    with pytest.raises(TypeError):
        make_detector("face-alignment", device="cpu")


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    for name in ("cuda", "cuda:1", "mps", "tpu"):
        with pytest.raises(ValueError, match=f"no device '{name}' here; legal on this machine are auto, cpu"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:0") == "cuda:0"


def test_the_real_library_has_what_is_used_of_it():
    """The stand-in is worth something only while the library keeps these names."""
    library = pytest.importorskip("face_alignment")
    parameters = inspect.signature(library.FaceAlignment.__init__).parameters
    assert {
        "device",
        "face_detector",
        "face_detector_kwargs",
        "compile",
        "max_batch_size",
    } <= parameters.keys()
    assert library.LandmarksType.TWO_D == 1
    assert callable(library.FaceAlignment._load_native) and callable(library.models.FAN)
    api = importlib.import_module("face_alignment.api")
    assert api.models_urls["2DFAN-4"].endswith(LANDMARK_WEIGHTS)
    sfd = importlib.import_module("face_alignment.detection.sfd.sfd_detector")
    assert sfd.models_urls["s3fd"].endswith(FACE_WEIGHTS)
    assert callable(sfd.SFDDetector.detect_from_batch)
