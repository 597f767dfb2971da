"""Fixtures shared by the suite: golden files, tiny configurations."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GOLDEN = ROOT / "tests" / "golden"
torch.set_num_threads(2)

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


def tiny_config(family: str = "fpb_fomm") -> dict:
    """The golden files' configuration of a family."""
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
