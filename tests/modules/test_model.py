"""The training step's equivariance under a prior that stays where it is, and under one that goes along."""

from __future__ import annotations

import pytest
import torch

from modules import build_networks
from modules.coords import normalize_keypoints
from modules.facial_prior import template_keypoints
from modules.model import GeneratorFullModel
from modules.transform import Transform
from tests.conftest import tiny_config


@pytest.mark.parametrize("prior", ["unmoved", "warped"])
def test_equivariance_of_the_prior(prior):
    """The values are the prior's own: moved with the frame they are equivariant, unmoved they miss by T(p) − p."""
    torch.manual_seed(0)
    height, width = 32, 64
    networks = build_networks(tiny_config("fpb_fomm"))
    train_params = {"scales": [1], "equivariance_prior": prior, "loss_weights": {"equivariance_value": 10}}
    model = GeneratorFullModel(networks["kp_detector"], networks["generator"], None, train_params)
    points, transform = template_keypoints(height, width).expand(2, -1, -1), Transform(2, 0.05, 0.005, 5)
    frames = {name: torch.rand(2, 3, height, width) for name in ("source", "driving")}
    values, _ = model({**frames, "keypoint": points}, transform=transform)
    at = normalize_keypoints(points, height, width)
    missed = (transform.warp_coordinates(at) - at).abs().mean()
    expected = 10 * missed if prior == "unmoved" else torch.tensor(0.0)
    assert missed > 0.01 and torch.allclose(values["equivariance_value"], expected, atol=1e-5)
