"""Networks rebuilt for inference give what the original ones give, and bfloat16 keeps the motion."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules import FAMILIES, build_networks, get_family, inference
from modules.inference import four_pixel_convolution, prepare_for_inference, upsampling_convolution
from modules.util import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d
from tests.conftest import (
    golden_images,
    golden_state,
    load_golden,
    random_keypoints,
    random_track,
    relative_error,
    tiny_config,
)

GOLDEN_OF = {"fpb_fomm": "fpb_fomm", "fpb_tracked": "fpb_fomm", "fomm": "fomm", "mraa": "mraa"}


def with_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    """``module`` in eval mode with BatchNorm statistics and weights that are not neutral."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.3, generator=generator)
    return module.eval()


@pytest.mark.parametrize("size", [(6, 10), (5, 5), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_upsampling_convolution(size, bias):
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=bias)
    x = torch.randn(2, 5, *size)
    with torch.no_grad():
        expected = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        assert torch.allclose(upsampling_convolution(conv)(x), expected, atol=1e-6)


@pytest.mark.parametrize("conv", [nn.Conv2d(2, 2, 5, padding=2), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, stride=2)])
def test_upsampling_convolution_refuses(conv):
    with pytest.raises(ValueError, match="3×3"):
        upsampling_convolution(conv)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_four_pixel_convolution(kernel):
    conv = nn.Conv2d(5, 3, kernel, padding=kernel // 2)
    x = torch.randn(2, 5, 6, 10)
    with torch.no_grad():
        assert torch.allclose(four_pixel_convolution(conv)(x), conv(x), atol=1e-6)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3),
        nn.Conv2d(2, 2, 4, padding=1),
        nn.Conv2d(2, 2, (3, 5), padding=1),
        nn.Conv2d(2, 2, 3, padding=1, stride=2),
        nn.Conv2d(2, 2, 3, padding=1, bias=False),
    ],
)
def test_four_pixel_convolution_refuses(conv):
    with pytest.raises(ValueError, match="four pixels"):
        four_pixel_convolution(conv)


def test_many_weights_are_not_transposed(monkeypatch):
    block = with_statistics(UpBlock2d(6, 8))
    x = torch.randn(2, 6, 4, 6)
    with torch.no_grad():
        expected = block(x)
        monkeypatch.setattr(inference, "LARGEST_TRANSPOSED", 6 * 8 * 9 - 1)
        rebuilt = prepare_for_inference(nn.Sequential(block).eval())
        assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in rebuilt.modules())
        assert relative_error(rebuilt(x), expected) < 1e-6


@pytest.mark.parametrize("kind", [SameBlock2d, DownBlock2d, UpBlock2d, ResBlock2d])
def test_blocks(kind):
    torch.manual_seed(0)
    holder = nn.ModuleDict({"block": kind(6) if kind is ResBlock2d else kind(6, 8)})
    with_statistics(holder)
    x = torch.randn(2, 6, 8, 12)
    with torch.no_grad():
        expected, given = holder["block"](x), x.clone()
        prepare_for_inference(holder)
        assert not isinstance(holder["block"], kind)
        assert relative_error(holder["block"](x), expected) < 1e-6
    assert torch.equal(x, given), "a block may not change what it is given"


def animated(family: str, networks: dict[str, nn.Module], config: dict) -> dict[str, torch.Tensor]:
    golden = load_golden(GOLDEN_OF[family])
    source, driving = golden_images(golden, "source")[:1], golden_images(golden, "driving")
    size = source.shape[-1]
    points = random_keypoints(0, size)[None]
    animator = get_family(config).animator(networks, config)
    if FAMILIES[family].uses_tracks:
        track = random_track(points[0], size, len(driving))
        animator.start(source, driving[:1], points, track[:1])
        return animator.animate(driving, track)
    animator.start(source, driving[:1], points, points)
    return animator.animate(driving)


def golden_networks(family: str, config: dict) -> dict[str, nn.Module]:
    golden = load_golden(GOLDEN_OF[family])
    networks = build_networks(config)
    networks = {name: networks[name] for name in FAMILIES[family].inference_networks if name in networks}
    for name, network in networks.items():
        if state := golden_state(golden, name):
            network.load_state_dict(state)
        network.eval()
    return networks


def animation_config(family: str) -> dict:
    config = tiny_config(family)
    relative = {"normalization_params": {"use_relative_movement": True, "use_relative_jacobian": True}}
    config["animate_params"] = {"mode": "relative"} if family == "mraa" else relative
    return config


@pytest.mark.parametrize("family", list(FAMILIES))
def test_float32_equals_the_original(family):
    config = animation_config(family)
    networks = golden_networks(family, config)
    expected = animated(family, networks, config)["prediction"]
    assert expected.std() > 0.02
    rebuilt = {name: prepare_for_inference(copy.deepcopy(network)) for name, network in networks.items()}
    assert not any(isinstance(m, UpBlock2d) for network in rebuilt.values() for m in network.modules())
    assert (animated(family, rebuilt, config)["prediction"] - expected).abs().max() < 1e-4


@pytest.mark.parametrize("family", list(FAMILIES))
def test_bf16_is_close(family):
    """At least 45 dB, and the motion within a hundredth of a pixel of 256."""
    config = animation_config(family)
    networks = golden_networks(family, config)
    expected = animated(family, networks, config)
    low = {name: prepare_for_inference(copy.deepcopy(n), torch.bfloat16) for name, n in networks.items()}
    found = animated(family, low, config)
    assert found["prediction"].dtype == torch.float32
    error = (found["prediction"] - expected["prediction"]).square().mean()
    assert 0 < error < 10 ** (-45 / 10)


def test_heads_stay_in_float32():
    config = tiny_config("fpb_fomm")
    networks = golden_networks("fpb_fomm", config)
    for network in networks.values():
        prepare_for_inference(network, torch.bfloat16)
    assert networks["kp_detector"].jacobian.weight.dtype == torch.float32
    assert networks["generator"].dense_motion_network.mask.weight.dtype == torch.float32
    assert networks["generator"].final[0].weight.dtype == torch.bfloat16


def test_train_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        prepare_for_inference(build_networks(tiny_config())["generator"].train())
