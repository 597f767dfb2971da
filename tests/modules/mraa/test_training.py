"""MRAA's two training phases: every parameter learns, losses fall, the frozen stays frozen, closed-form losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modules import get_family
from modules.mraa.model import AVDModel, ReconstructionModel, random_scale
from modules.transform import Transform
from tests.modules.mraa.tiny import AVD_PARAMS, TRAIN_PARAMS, images, tiny_config, tiny_networks

# A bias before BatchNorm, or added to all of a softmax's inputs, has no effect and no gradient beyond rounding.
IDLE = ("conv.bias", "conv1.bias", "regions.bias", ".0.bias", ".3.bias", ".6.bias")


def batch(count: int = 2) -> dict[str, Tensor]:
    return {"source": images(count), "driving": images(count, seed=1)}


def phase(networks: dict[str, nn.Module], mode: str, **sections: dict):
    (only,) = get_family({"model": "mraa"}).phases(networks, tiny_config(**sections), None, mode)
    return only


def without_gradient(network: nn.Module) -> list[str]:
    return [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"region_predictor_params": {"pca_based": False}},
        {"bg_predictor_params": {"bg_type": "perspective"}},
    ],
    ids=["pca", "regression", "perspective"],
)
def test_every_parameter_learns(sections):
    networks = tiny_networks(train=True, **sections)
    losses, generated = phase(networks, "train", **sections).model(batch(), {})
    assert set(losses) == {"reconstruction", "deformed", "equivariance_shift", "equivariance_affine"}
    assert {"mask", "kp_source", "kp_driving", "transformed_frame", "transformed_kp"} <= set(generated)
    # at the start the last layer of the background predictor is 0 and passes nothing on
    networks["bg_predictor"].fc.weight.data.normal_(std=0.01)
    losses, _ = phase(networks, "train", **sections).model(batch(), {})
    torch.stack(list(losses.values())).sum().backward()
    for name in ("generator", "region_predictor", "bg_predictor"):
        assert [key for key in without_gradient(networks[name]) if not key.endswith(IDLE)] == []
    assert all(p.grad is None for p in networks["avd_network"].parameters())


def test_every_parameter_of_avd_learns_and_the_rest_is_frozen():
    networks = tiny_networks(train=True)
    before = {k: v.clone() for k, v in networks["region_predictor"].state_dict().items()}
    losses, _ = phase(networks, "train_avd").model(batch(4), {})
    assert set(losses) == {"rec_shift", "rec_affine"}
    torch.stack(list(losses.values())).sum().backward()
    assert [key for key in without_gradient(networks["avd_network"]) if not key.endswith(IDLE)] == []
    assert all(p.grad is None for p in networks["region_predictor"].parameters())
    for key, value in networks["region_predictor"].state_dict().items():  # BatchNorm's statistics among them
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(("mode", "rate", "steps"), [("train", 5e-3, 12), ("train_avd", 1e-3, 40)])
def test_losses_fall(mode, rate, steps):
    networks = tiny_networks(train=True)
    part = phase(networks, mode)
    ((names, key),) = part.optimizers.values()
    assert key == "lr"
    adam = torch.optim.Adam([p for name in names for p in networks[name].parameters()], lr=rate)
    data, totals = batch(4), []
    for _ in range(steps):
        losses, _ = part.model(data, {})
        total = torch.stack([v for k, v in losses.items() if not k.startswith("equivariance")]).sum()
        adam.zero_grad()
        total.backward()
        adam.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


def test_optimizers_and_checkpoint_keys():
    family, networks = get_family({"model": "mraa"}), tiny_networks()
    trained = ("generator", "region_predictor", "bg_predictor")
    assert phase(networks, "train").optimizers == {"reconstruction": (trained, "lr")}
    assert phase(networks, "train_avd").optimizers == {"avd": (("avd_network",), "lr")}
    assert family.epoch_keys == {"train": "epoch_reconstruction", "train_avd": "epoch_avd"}
    assert not family.needs_perceptual_network(tiny_config())
    config = tiny_config()
    config["train_params"] = {**TRAIN_PARAMS, "loss_weights": {"perceptual": [10] * 5}}
    assert family.needs_perceptual_network(config)
    assert not family.needs_perceptual_network(config, "train_avd")
    with pytest.raises(ValueError, match="pass network"):
        family.phases(networks, config)


class Scripted(nn.Module):
    """A region predictor that returns what it was given, in turn."""

    def __init__(self, *outputs: dict[str, Tensor]):
        super().__init__()
        self.outputs = list(outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.outputs.pop(0)


def equivariance(revert_axis_swap: bool, signs: Tensor, shift_error: float = 0.0) -> dict[str, Tensor]:
    """The two losses of regions that follow a known transform, but for the signs of the affines."""
    torch.manual_seed(0)
    networks = tiny_networks(top={"revert_axis_swap": revert_axis_swap})
    transform = Transform(2, 0.1, 0.01, 5)
    shift, affine = torch.rand(2, 10, 2) - 0.5, 0.1 * torch.randn(2, 10, 2, 2) + 0.3 * torch.eye(2)
    moved = {"shift": shift, "affine": affine, "covar": affine @ affine.mT}
    jacobian = transform.jacobian(shift)
    driving_affine = jacobian @ affine * signs
    driving = {
        "shift": transform.warp_coordinates(shift) + shift_error,
        "affine": driving_affine,
        "covar": driving_affine @ driving_affine.mT,
    }
    predictor = Scripted(driving, driving, moved)
    weights = {"equivariance_shift": 10, "equivariance_affine": 10}
    params = {"scales": [1], "loss_weights": weights}
    model = ReconstructionModel(networks["generator"], predictor, networks["bg_predictor"], params)
    return model(batch(), transform=transform)[0]


def test_equivariance_closed_form():
    """Regions that follow the transform cost nothing, whatever their signs; an offset costs its size."""
    signs = torch.where(torch.arange(10) % 2 == 0, 1.0, -1.0).view(1, 10, 1, 1)
    exact = equivariance(True, signs)
    assert exact["equivariance_shift"] < 1e-5
    assert exact["equivariance_affine"] < 1e-3
    # without the sign rule five of ten ratios are −I: |I − (−I)| averages 1 over the four entries
    assert equivariance(False, signs)["equivariance_affine"].item() == pytest.approx(10 * 0.5, abs=1e-2)
    assert equivariance(True, signs, 0.25)["equivariance_shift"].item() == pytest.approx(2.5, abs=1e-4)


def test_random_scale():
    """Each axis has its factor; shifts and affines are stretched alike."""
    torch.manual_seed(0)
    regions = {"shift": torch.rand(500, 3, 2) + 0.5, "affine": torch.rand(500, 3, 2, 2) + 0.5}
    scaled = random_scale(regions, 0.25)
    factors = scaled["shift"] / regions["shift"]
    assert torch.allclose(factors, factors[:, :1].expand_as(factors))
    assert torch.allclose(scaled["affine"] / regions["affine"], factors[..., None].expand(-1, -1, -1, 2))
    assert factors.min() >= 0.75
    assert factors.max() <= 1.25
    assert factors[:, 0].std(0).min() > 0.1
    assert (factors[:, 0, 0] - factors[:, 0, 1]).abs().max() > 0.3


def test_avd_target_is_the_unscaled_pose():
    """A network that undoes nothing pays for the stretch; one that returns the pose's regions pays nothing."""
    networks = tiny_networks()
    pose = networks["region_predictor"](images(4, seed=1))

    class Oracle(nn.Module):
        def forward(self, x_id: dict, x_pose: dict) -> dict:
            return pose if self.knows else x_pose

    oracle = Oracle()
    model = AVDModel(networks["region_predictor"], oracle, AVD_PARAMS)
    oracle.knows = True
    losses, _ = model(batch(4))
    assert losses["rec_shift"] == 0
    assert losses["rec_affine"] == 0
    oracle.knows = False
    losses, _ = model(batch(4))
    assert losses["rec_affine"] > 1e-3


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="train_avd_params.batch_size is 1"):
        phase(tiny_networks(train=True), "train_avd").model(batch(1), {})


def test_avd_needs_affines():
    sections = {"top": {"estimate_affine": False}}
    with pytest.raises(ValueError, match="estimate_affine: True"):
        phase(tiny_networks(**sections), "train_avd", **sections)
