"""Networks prepared for training compute what the original ones do, and so do their gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modules import build_networks, training_layers
from modules.discriminator import MultiScaleDiscriminator
from modules.inference import prepare_for_inference
from modules.training_layers import DoublingBlock2d, FourPixelConv2d, SampleNorm2d, prepare_for_training
from modules.util import UpBlock2d
from tests.conftest import tiny_config


def outputs_and_gradients(network: nn.Module, call) -> list[torch.Tensor]:
    """All that ``call(network)`` returns, the gradients of all its parameters, and its buffers afterwards."""
    outputs = call(network)
    sum((o * torch.linspace(-1, 1, o.numel(), dtype=o.dtype).view_as(o)).sum() for o in outputs).backward()
    return [*outputs, *(p.grad for p in network.parameters()), *network.buffers()]


def check(network: nn.Module, call) -> nn.Module:
    """The prepared copy of a network in float64 equals it; returns the copy."""
    prepared = prepare_for_training(copy.deepcopy(network))
    assert list(prepared.state_dict()) == list(network.state_dict())
    pairs = zip(outputs_and_gradients(network, call), outputs_and_gradients(prepared, call), strict=True)
    for expected, actual in pairs:
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    return prepared


@pytest.mark.parametrize("largest", [training_layers.LARGEST_DOUBLING, 0])
def test_up_block(monkeypatch, largest):
    monkeypatch.setattr(training_layers, "LARGEST_DOUBLING", largest)
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    assert isinstance(check(UpBlock2d(5, 3).double(), lambda block: [block(x)]), DoublingBlock2d)


def test_discriminator():
    x = {"prediction_1": torch.rand(3, 3, 64, 64, dtype=torch.float64)}

    def call(network):
        out = network(x)
        return [*out["feature_maps_1"], out["prediction_map_1"]]

    prepared = check(MultiScaleDiscriminator(block_expansion=4, max_features=16, num_blocks=3).double(), call)
    assert sum(isinstance(module, SampleNorm2d) for module in prepared.modules()) == 2


@pytest.mark.parametrize("family", ["fpb_fomm", "mraa"])
def test_generator(family):
    """Its last layers, which all families have: up blocks and ``final``."""
    generator = build_networks(tiny_config(family))["generator"]
    last = nn.Sequential(*generator.up_blocks, generator.final)
    features = torch.randn(2, generator.up_blocks[0].conv.in_channels, 8, 12, dtype=torch.float64)
    prepare_for_training(generator)
    assert isinstance(generator.final, FourPixelConv2d)
    plain = build_networks(tiny_config(family))["generator"]
    plain = nn.Sequential(*plain.up_blocks, plain.final)
    plain.load_state_dict(last.state_dict())
    pair = [outputs_and_gradients(network.double(), lambda n: [n(features)]) for network in (plain, last)]
    torch.testing.assert_close(pair[1], pair[0], rtol=1e-9, atol=1e-9)


def test_inference_goes_on_from_there():
    network = nn.Sequential(UpBlock2d(4, 8)).eval()
    x = torch.randn(1, 4, 6, 6)
    expected = network(x)
    actual = prepare_for_inference(prepare_for_training(network))(x)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
