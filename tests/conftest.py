"""Fixtures shared by the suite: golden files, tiny configurations."""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from media.ownership import MARKER  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
# A thread a process: tiny networks gain nothing by more, and with others on the machine lose much by waiting for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # what tests start inherits it
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and what it starts, ignores it

COMMON = {"num_kp": 18, "num_channels": 3, "estimate_jacobian": True}
TINY = {
    "model": "fpb_fomm",
    "model_params": {
        "common_params": COMMON,
        "kp_detector_params": {
            "block_expansion": 4, "max_features": 16, "num_blocks": 3, "temperature": 0.1, "scale_factor": 0.25,
        },
        "generator_params": {
            "block_expansion": 4, "max_features": 16, "num_down_blocks": 2, "num_bottleneck_blocks": 2,
            "estimate_occlusion_map": True,
            "dense_motion_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 3, "scale_factor": 0.25},
        },
        "discriminator_params": {"scales": [1], "block_expansion": 4, "max_features": 16, "num_blocks": 4},
    },
}  # fmt: skip
LOSS_WEIGHTS = {
    "generator_gan": 1,
    "discriminator_gan": 1,
    "feature_matching": [10, 10, 10, 10],
    "perceptual": [10, 10, 10, 10, 10],
    "equivariance_value": 10,
    "equivariance_jacobian": 10,
}


@pytest.fixture(scope="session", autouse=True)
def tests_own_what_they_make(tmp_path_factory) -> None:
    """pytest's temporary folder is marked as the program's: tests write their inputs with the program's writers, and
    change them.  Those of :mod:`media.ownership` use :func:`users_folder`."""
    (tmp_path_factory.getbasetemp() / MARKER).touch()


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """A temporary folder in which nothing is the program's that does not say so."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


def tiny_config(family: str = "fpb_fomm") -> dict:
    """The golden files' configuration of a family."""
    if family == "mraa":
        from tests.modules.mraa.tiny import TINY as TINY_MRAA

        return copy.deepcopy(TINY_MRAA)
    config = copy.deepcopy(TINY)
    config["model"] = family
    if family == "fomm":
        config["model_params"]["common_params"]["num_kp"] = 10
    return config


def load_golden(name: str) -> dict[str, torch.Tensor | np.ndarray]:
    """A golden file; numbers as tensors, names as arrays."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    return {k: torch.from_numpy(arrays[k]) if arrays[k].dtype.kind in "fiu" else arrays[k] for k in arrays.files}


def golden_state(golden: dict, network: str) -> dict[str, torch.Tensor]:
    """State dict of one network of a golden file."""
    prefix = network + "/"
    return {key[len(prefix) :]: value for key, value in golden.items() if key.startswith(prefix)}


def golden_images(golden: dict, name: str) -> torch.Tensor:
    """Golden input images as floats in [0, 1]."""
    return golden[f"in/{name}"].float() / 255


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """max |actual − expected| / max |expected|."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    actual = torch.as_tensor(actual, dtype=torch.float64).detach()
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} against {tuple(expected.shape)}"
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@pytest.fixture(scope="session")
def fpb_golden() -> dict:
    return load_golden("fpb_fomm")


@pytest.fixture(scope="session")
def fomm_golden() -> dict:
    return load_golden("fomm")


@pytest.fixture(scope="session")
def published_shapes():
    def load(name: str) -> dict[str, dict[str, list[int]]]:
        return json.loads((GOLDEN / f"state_dict_{name}.json").read_text())

    return load


# ------------------------------------------------------------------------------------------------ tiny data sets
FRAME_SIZE = 64


def moving_frames(seed: int, count: int = 5, size: int = FRAME_SIZE) -> np.ndarray:
    """A smooth random picture that shifts by a pixel a frame: uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 8, 8), dtype=np.float32))
    picture = torch.nn.functional.interpolate(coarse, size=(size, size + count), mode="bicubic").clamp(0, 1)
    whole = (picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return np.stack([whole[:, i : i + size] for i in range(count)])


def random_keypoints(seed: int, size: int = FRAME_SIZE) -> torch.Tensor:
    """Plausible key points (18, 2) in pixels: the template, jittered."""
    from modules.facial_prior import template_keypoints

    return template_keypoints(size, size) + torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (18, 2))).float()


def random_track(onset: torch.Tensor, size: int = FRAME_SIZE, frames: int = 3, seed: int = 0):
    """A :class:`modules.track.Track` whose points and field move by about a pixel, and its head by less."""
    from modules.track import Track

    rng = torch.Generator().manual_seed(seed)
    move, field = (torch.randn(frames, *shape, 2, generator=rng) for shape in ((len(onset),), (size // 4, size // 4)))
    head = torch.randn(frames, 2, 3, generator=rng) * 1e-3
    move[0], field[0], head[0] = 0, 0, 0
    return Track(onset=onset, points=onset + move, field=field, head=head, size=(size, size))


def make_data(root: Path, train: int = 3, test: int = 2, frames: int = 5, size: int = FRAME_SIZE) -> Path:
    """A data set of frame folders with key points in ``root/keypoints``; returns its root."""
    made = _made_once(train, test, frames, size).name
    return shutil.copytree(made, root, copy_function=shutil.copyfile, dirs_exist_ok=True)


@functools.cache
def _made_once(train: int, test: int, frames: int, size: int) -> tempfile.TemporaryDirectory:
    """The data set that :func:`make_data` copies: a copy takes a hundredth of the time."""
    from faces.keypoint_files import save_keypoints
    from faces.tracking import save_track, track_keypoints
    from media import write_frame_folder

    folder = tempfile.TemporaryDirectory(prefix="fpb-fomm-tests-")
    root = Path(folder.name)
    for split, count in (("train", train), ("test", test)):
        for index in range(count):
            name, seed = f"{split}_{index}", index + 100 * (split == "test")
            clip, points = moving_frames(seed, frames, size), random_keypoints(seed, size)
            write_frame_folder(root / split / name, clip)
            save_keypoints(root / "keypoints", name, points)
            save_track(root / "keypoints", name, track_keypoints(clip, points))
    return folder


def training_config(family: str, root: Path, **train_params) -> dict:
    """Checked settings of a tiny training run of a family on ``make_data``'s clips, without VGG."""
    from modules import FAMILIES
    from settings import check_config

    config = tiny_config(family)
    weights = {"reconstruction": 10, "deformed": 10}
    if family == "mraa":
        weights |= {"equivariance_shift": 1, "equivariance_affine": 1}
    else:
        weights |= {"generator_gan": 1, "feature_matching": [1, 1, 1, 1], "equivariance_jacobian": 1}
    params = {
        "num_epochs": 2, "num_repeats": 2, "batch_size": 2, "scales": [1, 0.5], "checkpoint_freq": 1,
        "dataloader_workers": 0, "log_every": 1, "loss_weights": weights,
        "transform_params": {"sigma_affine": 0.05, "sigma_tps": 0.005, "points_tps": 5},
    }  # fmt: skip
    names = ("lr",) if family == "mraa" else ("lr_generator", "lr_discriminator", "lr_kp_detector")
    rates = dict.fromkeys(names, 1e-3)
    config["dataset_params"] = {
        "root_dir": str(root),
        "frame_shape": [FRAME_SIZE, FRAME_SIZE, 3],
        "keypoint_folder": str(root / "keypoints"),
        "augmentation_params": {"flip_param": {"horizontal_flip": True, "time_flip": True}},
    }
    config["train_params"] = {**params, **rates, **train_params}
    relative = {"normalization_params": {"use_relative_movement": True, "use_relative_jacobian": True}}
    config["animate_params"] = {"num_pairs": 2, **({"mode": "relative"} if family == "mraa" else relative)}
    assert family in FAMILIES
    return check_config(config)


@pytest.fixture
def data(tmp_path) -> Path:
    return make_data(tmp_path / "data")


@pytest.fixture
def drawn_curves() -> None:
    """For tests of a run's ``curves.png``: it is drawn."""


@pytest.fixture(autouse=True)
def undrawn_curves(request, monkeypatch) -> None:
    """A run's curves take several times longer to draw than a tiny epoch to train: other tests leave the file empty."""
    if "drawn_curves" not in request.fixturenames:
        monkeypatch.setattr("logger.plot_curves", lambda records, picture: picture.touch())


@pytest.fixture(scope="session")
def landmark_model() -> Path:
    """dlib's landmark model; tests that need it skip where it cannot be had."""
    from faces import DetectorUnavailable, dlib_model_file

    try:
        return dlib_model_file("shape_predictor_68_face_landmarks.dat")
    except DetectorUnavailable as error:
        pytest.skip(str(error))
