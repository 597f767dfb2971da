"""ImageNet's VGG-19 for the perceptual loss: from a file, the cache or the network, or the remedy is said."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from checkpoint import CheckpointError
from training.perceptual_weights import VGG_FILE, load_vgg19


@pytest.fixture
def no_network(tmp_path, monkeypatch) -> Path:
    """An empty cache, and a download that fails."""

    def fail(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    return tmp_path / "hub" / "checkpoints" / VGG_FILE


def tiny_vgg(monkeypatch) -> dict[str, torch.Tensor]:
    """State dict of a VGG-19 of the real depth and two channels; torchvision's is replaced by it."""
    layers: list[nn.Module] = []
    channels = 3
    for convolutions in (2, 2, 4, 4, 4):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU(inplace=True)]
            channels = 2
        layers.append(nn.MaxPool2d(2))

    class Net(nn.Module):
        def __init__(self, weights=None):
            super().__init__()
            self.features = nn.Sequential(*layers)

    monkeypatch.setattr("torchvision.models.vgg19", Net)
    state = {f"features.{k}": torch.randn_like(v) for k, v in nn.Sequential(*layers).state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(1)}


def test_vgg_that_cannot_be_had(no_network):
    with pytest.raises(CheckpointError) as caught:
        load_vgg19()
    parts = (
        "Name or service",
        VGG_FILE,
        str(no_network),
        "vgg_weights",
        "perceptual: [0,",
        "reconstruction: 10",
    )
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("place", ["cache", "named"])
def test_vgg_from_a_file(place, no_network, tmp_path, monkeypatch):
    state = tiny_vgg(monkeypatch)
    path = no_network if place == "cache" else tmp_path / "vgg.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    vgg = load_vgg19(None if place == "cache" else str(path))
    features = vgg(torch.rand(1, 3, 32, 32))
    assert len(features) == 5
    assert any(torch.equal(p, state["features.0.weight"]) for p in (*vgg.parameters(), *vgg.buffers()))


@pytest.mark.parametrize("content", [None, b"", b"<html>", "other"])
def test_vgg_file_that_is_none(content, no_network, tmp_path, monkeypatch):
    path = tmp_path / "vgg.pth"
    if content == "other":
        torch.save({"features.0.weight": torch.zeros(3)}, path)
        tiny_vgg(monkeypatch)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"(?s)cannot be had: .*train_params\.vgg_weights"):
        load_vgg19(str(path))
