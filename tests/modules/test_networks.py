"""Networks: published names and shapes, every frame size, gradients everywhere, exact identities."""

from __future__ import annotations

import json
import math

import pytest
import torch

from modules import build_networks
from modules.coords import make_coordinate_grid, resize_grid, warp
from modules.dense_motion import DenseMotionNetwork, sparse_motions
from modules.discriminator import Discriminator
from modules.keypoint_detector import KPDetector
from modules.model import GeneratorFullModel
from modules.util import AntiAliasInterpolation2d, Hourglass, convolve_together, inverse_2x2, pooled_maps
from tests.conftest import GOLDEN, tiny_config

PUBLISHED = json.loads((GOLDEN / "published_configs.json").read_text())


def keypoints(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.2 + 0.6 * torch.rand(batch, 18, 2, generator=generator)) * torch.tensor([width, height])


@pytest.mark.parametrize(
    ("golden", "family", "config"),
    [
        ("fpb", "fpb_fomm", "your_dataset_train"),
        ("fomm-vox-256", "fomm", "vox-256"),
        ("fomm-vox-adv-256", "fomm", "vox-adv-256"),
    ],
)
def test_published_names_and_shapes(published_shapes, golden, family, config):
    with torch.device("meta"):
        networks = build_networks({**PUBLISHED[family][config], "model": family})
    expected = published_shapes(golden)
    assert set(networks) == set(expected)
    for name, network in networks.items():
        actual = {key: list(value.shape) for key, value in network.state_dict().items()}
        if "weight_orig" in str(list(expected[name])) and "weight_orig" not in str(list(actual)):
            pytest.fail("spectral norm does not have the published layout")
        assert actual == expected[name]


@pytest.mark.parametrize("family", ["fpb_fomm", "fomm"])
@pytest.mark.parametrize("size", [(64, 64), (128, 128), (256, 256), (512, 512), (96, 160), (200, 120)])
def test_every_frame_size(family, size):
    networks = build_networks(tiny_config(family))
    for network in networks.values():
        network.eval()
    image, points = torch.rand(1, 3, *size), keypoints(1, *size)
    with torch.no_grad():
        kp = networks["kp_detector"](image, points)
        out = networks["generator"](image, kp_source=kp, kp_driving=kp)
    assert out["prediction"].shape == image.shape
    assert out["deformed"].shape == image.shape
    assert torch.isfinite(out["prediction"]).all()


def test_full_depth_takes_small_frames():
    """Five blocks on a 16×16 map: the hourglass extends what it cannot halve."""
    hourglass = Hourglass(2, 3, 5, 8).eval()
    assert hourglass(torch.rand(1, 3, 16, 16)).shape == (1, 5, 16, 16)
    assert hourglass(torch.rand(1, 3, 30, 50)).shape == (1, 5, 30, 50)


def test_odd_sizes_are_named():
    networks = build_networks(tiny_config())
    with pytest.raises(ValueError, match="130×128.*multiples of 4"):
        networks["generator"].encode(torch.rand(1, 3, 128, 130))


DETECTOR = {"num_kp": 3, "num_channels": 3, "temperature": 0.1, "scale_factor": 0.5, "facial_prior": False}


@pytest.mark.parametrize(
    ("network", "blocks", "least"),
    [(lambda **sizes: KPDetector(**DETECTOR, **sizes), 1, 13), (Discriminator, 2, 13), (Discriminator, 4, 61)],
    ids=["detector", "discriminator of two", "discriminator of four"],
)
def test_too_small_frames_are_named(network, blocks, least):
    network = network(block_expansion=4, max_features=8, num_blocks=blocks)
    network(torch.zeros(1, 3, least, least))
    with pytest.raises(ValueError, match=rf"of {least}×{least - 1} pixels are too small.*dataset_params.frame_shape"):
        network(torch.zeros(1, 3, least - 1, least))


def test_identity_motion_is_exact_with_consistent_corners():
    """No motion means no change: to rounding with align_corners, and visibly not so in the released convention."""
    errors = {}
    for align_corners in (True, False):
        config = tiny_config()
        config["model_params"]["common_params"] = {**config["model_params"]["common_params"]}
        config["model_params"]["common_params"]["align_corners"] = align_corners
        generator = build_networks(config)["generator"].eval()
        image = torch.rand(2, 3, 64, 64)
        jacobian = torch.eye(2).expand(2, 18, 2, 2)
        kp = {"value": torch.rand(2, 18, 2) - 0.5, "jacobian": jacobian}
        with torch.no_grad():
            deformed = generator(image, kp_source=kp, kp_driving=kp)["deformed"]
        errors[align_corners] = float((deformed - image).abs().max())
    assert errors[True] < 1e-4
    assert errors[False] > 1e-2


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (33, 17)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_identity_grid(size, align_corners):
    """The identity grid samples pixel centres exactly under align_corners, and magnifies by n/(n−1) otherwise."""
    height, width = size
    ramp = torch.arange(width, dtype=torch.float32).expand(1, 1, height, width)
    sampled = warp(ramp, make_coordinate_grid(height, width)[None], align_corners)
    inner = sampled[0, 0, height // 2, 1:-1]
    x = torch.arange(width, dtype=torch.float32)[1:-1]
    expected = x if align_corners else x * width / (width - 1) - 0.5
    assert torch.allclose(inner, expected, atol=1e-4)


def test_grid_is_resized_exactly_with_consistent_corners():
    small = make_coordinate_grid(16, 24)[None]
    assert torch.allclose(resize_grid(small, (64, 96), True), make_coordinate_grid(64, 96)[None], atol=1e-6)


def test_sparse_motion_closed_form():
    """T(z) = J_s·J_d⁻¹·(z − p_d) + p_s, computed by hand at one cell."""
    kp_driving = {"value": torch.tensor([[[0.5, -0.5]]]), "jacobian": torch.tensor([[[[2.0, 0.0], [0.0, 1.0]]]])}
    kp_source = {"value": torch.tensor([[[0.1, 0.2]]]), "jacobian": torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]])}
    motion = sparse_motions(kp_driving, kp_source, (3, 3))
    # z = (1, 1) → J_d⁻¹(0.5, 1.5) = (0.25, 1.5) → J_s = (1.75, 1.5) → + p_s
    assert torch.allclose(motion[0, 1, 2, 2], torch.tensor([1.85, 1.7]))
    assert torch.equal(motion[0, 0], make_coordinate_grid(3, 3))


def test_motion_without_jacobian_is_a_translation():
    driving, source = {"value": torch.zeros(1, 2, 2)}, {"value": torch.full((1, 2, 2), 0.25)}
    motion = sparse_motions(driving, source, (5, 5))
    assert torch.allclose(motion[0, 1:], make_coordinate_grid(5, 5) + 0.25)


@pytest.mark.parametrize("background", [None, -1.0])
@pytest.mark.parametrize("field", [None, 0.5])
def test_masks_begin_by_nearness(background, field):
    """With ``locality`` they are at first the softmax of −½‖z − p‖²/locality and of the biases of the others."""
    network = DenseMotionNetwork(
        num_kp=2, num_channels=3, block_expansion=4, max_features=8, num_blocks=1,
        locality=0.1, background_bias=background, field_bias=field,
    ).eval()  # fmt: skip
    kp = {"value": torch.tensor([[[0.5, -0.5], [-0.25, 0.75]]]), "field": torch.zeros(1, 4, 6, 2)}
    near = -0.5 * (make_coordinate_grid(8, 12) - kp["value"][0][:, None, None]).square().sum(-1) / 0.1
    others = [torch.full((1, 8, 12), bias) for bias in (background or 0.0, field) if bias is not None]
    logits = torch.cat([others[0], near, *others[1:]])
    assert torch.allclose(network(torch.rand(1, 3, 8, 12), kp, kp)["mask"][0], logits.softmax(0), atol=1e-6)


def test_inverse_2x2():
    matrices = torch.randn(50, 2, 2, dtype=torch.float32) + 2 * torch.eye(2)
    assert torch.allclose(inverse_2x2(matrices), torch.linalg.inv(matrices), rtol=1e-3, atol=1e-4)
    singular = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    inverse = inverse_2x2(singular)
    inverse.sum().backward()
    assert torch.isfinite(inverse).all()
    assert torch.isfinite(singular.grad).all()
    for tiny in (1e-9, -1e-9):  # the determinant is kept away from 0 on its own side
        squeezed = inverse_2x2(torch.tensor([[1.0, 0.0], [0.0, tiny]]))
        assert torch.allclose(squeezed, torch.tensor([[abs(tiny), 0.0], [0.0, math.copysign(1.0, tiny)]]) / 1e-6)


def test_pooled_maps():
    heatmap = torch.zeros(1, 3, 4, 4)
    for k in range(3):
        heatmap[0, k, k, k] = 1
    maps = torch.randn(1, 12, 4, 4)
    pooled = pooled_maps(maps, heatmap)
    assert torch.allclose(pooled[0, 1].flatten(), maps[0, 4:8, 1, 1])
    shared = pooled_maps(maps[:, :4], heatmap)
    assert torch.allclose(shared[0, 2].flatten(), maps[0, :4, 2, 2])


def test_anti_alias_keeps_constants_inside_and_refuses_odd_scales():
    down = AntiAliasInterpolation2d(3, 0.25)
    out = down(torch.ones(1, 3, 64, 64))
    assert out.shape == (1, 3, 16, 16)
    assert torch.allclose(out[..., 3:-3, 3:-3], torch.ones(1), atol=1e-6)
    with pytest.raises(ValueError, match="0.75"):
        AntiAliasInterpolation2d(3, 0.75)


def test_single_jacobian_map_and_no_jacobian():
    config = tiny_config("fomm")
    config["model_params"]["kp_detector_params"]["single_jacobian_map"] = True
    detector = build_networks(config)["kp_detector"]
    assert detector.jacobian.out_channels == 4
    assert detector(torch.rand(1, 3, 64, 64))["jacobian"].shape == (1, 10, 2, 2)
    config["model_params"]["common_params"] = {"num_kp": 10, "num_channels": 3, "estimate_jacobian": False}
    networks = build_networks(config)
    kp = networks["kp_detector"](torch.rand(1, 3, 64, 64))
    assert set(kp) == {"value"}
    out = networks["generator"](torch.rand(1, 3, 64, 64), kp_source=kp, kp_driving=kp)
    assert out["prediction"].shape == (1, 3, 64, 64)


def test_prior_needs_18_points():
    config = tiny_config()
    config["model_params"]["common_params"] = {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True}
    with pytest.raises(ValueError, match="num_kp is 10.*18"):
        build_networks(config)


def test_keypoint_values_are_the_prior():
    detector = build_networks(tiny_config())["kp_detector"].eval()
    points = keypoints(2, 128, 64)
    value = detector(torch.rand(2, 3, 128, 64), points)["value"]
    assert torch.allclose(value, 2 * points / torch.tensor([64.0, 128.0]) - 1)
    with pytest.raises(ValueError, match="facial prior"):
        detector(torch.rand(2, 3, 128, 64))
    with pytest.raises(ValueError, match="keypoint should have shape"):
        detector(torch.rand(2, 3, 128, 64), points[:1])


@pytest.mark.parametrize("family", ["fpb_fomm", "fomm"])
def test_every_parameter_learns(family):
    """All parameters get a gradient, but those that the prior makes idle: the value comes from a file."""
    torch.manual_seed(0)
    networks = build_networks(tiny_config(family))
    for network in networks.values():
        network.train()
    weights = {"generator_gan": 1, "feature_matching": [10] * 4, "reconstruction": 10, "equivariance_jacobian": 10}
    params = {
        "scales": [1, 0.5],
        "loss_weights": {**weights, "equivariance_value": 10, "deformed": 1},
        "transform_params": {"sigma_affine": 0.05, "sigma_tps": 0.005, "points_tps": 5},
    }
    model = GeneratorFullModel(networks["kp_detector"], networks["generator"], networks["discriminator"], params)
    batch = {"source": torch.rand(2, 3, 64, 64), "driving": torch.rand(2, 3, 64, 64)}
    if family == "fpb_fomm":
        batch["keypoint"] = keypoints(2, 64, 64)
    losses, _ = model(batch)
    torch.stack(list(losses.values())).sum().backward()
    for name in ("generator", "kp_detector"):
        idle = [key for key, p in networks[name].named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # a bias before BatchNorm in train mode has no effect, and so no gradient beyond rounding
        assert [key for key in idle if not key.endswith("conv.bias")] == []


def test_published_spectral_norm_state_loads():
    config = {**PUBLISHED["fomm"]["vox-256"], "model": "fomm"}
    config["model_params"] = json.loads(json.dumps(config["model_params"]))
    config["model_params"]["discriminator_params"].update(block_expansion=4, max_features=8)
    networks = build_networks(config)
    state = {key: value.clone() for key, value in networks["discriminator"].state_dict().items()}
    assert any(key.endswith("weight_orig") for key in state)
    networks["discriminator"].load_state_dict(state)
    out = networks["discriminator"]({"prediction_1": torch.rand(1, 3, 64, 64)})
    assert torch.isfinite(out["prediction_map_1"]).all()


@pytest.mark.parametrize("family", ["fpb_fomm", "fomm"])
def test_half_precision_does_not_round_the_motion(family):
    """Under bf16 autocast, no motion still means no change: grids and Jacobians stay in float32."""
    config = tiny_config(family)
    config["model_params"]["common_params"] = {**config["model_params"]["common_params"], "align_corners": True}
    networks = build_networks(config)
    for network in networks.values():
        network.eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        kp = networks["kp_detector"](image, keypoints(2, 64, 64))
        out = networks["generator"](image, kp_source=kp, kp_driving=kp)
    assert kp["jacobian"].dtype == out["deformation"].dtype == torch.float32
    assert float((out["deformed"] - image).abs().max()) < 1e-3


@pytest.mark.parametrize("padding", [0, 3])
def test_convolutions_together_are_convolutions_apart(padding):
    layers = [torch.nn.Conv2d(5, out, 7, padding=padding) for out in (4, 1, 3)]
    x = torch.randn(2, 5, 9, 11)
    apart = convolve_together(x, *layers)
    assert all(out.requires_grad and torch.equal(out, layer(x)) for out, layer in zip(apart, layers, strict=True))
    with torch.no_grad():
        torch.testing.assert_close(convolve_together(x, *layers), apart)
        rounded = convolve_together(x.bfloat16(), *layers)
        torch.testing.assert_close(rounded, convolve_together(x.bfloat16().float(), *layers))
