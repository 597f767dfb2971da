"""Animation with MRAA: the identity case, the modes, what is encoded once, and settings that make no sense."""

from __future__ import annotations

import pytest
import torch

from modules import get_family
from modules.animator import movement_scale
from modules.motion_control import MotionControl
from modules.mraa.animator import RegionAnimator
from modules.mraa.avd import flatten_regions, unflatten_regions
from modules.mraa.regions import align_swap
from tests.modules.mraa.tiny import images, tiny_config, tiny_networks


@pytest.fixture(scope="module")
def networks() -> dict:
    return tiny_networks()


def animate(networks: dict, source: torch.Tensor, driving: torch.Tensor, **options) -> dict:
    animator = RegionAnimator(networks, **options)
    animator.start(source, driving[:1])
    return animator.animate(driving)


@pytest.mark.parametrize("mode", ["standard", "relative", "avd"])
def test_modes(networks, mode):
    out = animate(networks, images(1, (64, 96)), images(3, (64, 96), seed=1), mode=mode)
    assert out["prediction"].shape == (3, 3, 64, 96)
    assert torch.isfinite(out["prediction"]).all()
    assert out["kp_driving"]["value"].shape == (3, 10, 2)
    assert out["kp_driving"]["jacobian"].shape == (3, 10, 2, 2)


@pytest.mark.parametrize("mode", ["standard", "relative", "avd"])
def test_batches_do_not_matter(networks, mode):
    source, driving = images(1), images(4, seed=1)
    animator = RegionAnimator(networks, mode=mode)
    animator.start(source, driving[:1])
    parts = torch.cat([animator.animate(part)["prediction"] for part in (driving[:1], driving[1:])])
    assert torch.allclose(parts, animate(networks, source, driving, mode=mode)["prediction"], atol=1e-5)


def test_the_source_is_encoded_once(networks, monkeypatch):
    calls = []
    encode = networks["generator"].encode
    monkeypatch.setattr(networks["generator"], "encode", lambda image: calls.append(1) or encode(image))
    animator = RegionAnimator(networks, mode="standard")
    animator.start(images(1), images(1))
    for _ in range(3):
        animator.animate(images(2, seed=1))
    assert len(calls) == 1


@pytest.mark.parametrize("mode", ["standard", "relative"])
def test_identity(networks, mode):
    """A driving frame that is its own initial frame (and, in mode standard, the source) changes nothing."""
    source = images(1)
    driving = source if mode == "standard" else images(1, seed=1)
    out = animate(networks, source, driving, mode=mode)
    with torch.no_grad():
        regions = networks["region_predictor"](source)
        still = networks["generator"](source, regions, regions)
    assert torch.allclose(out["kp_driving"]["value"], regions["shift"], atol=1e-6)
    assert torch.allclose(out["prediction"], still["prediction"], atol=1e-5)


def test_relative_movement_closed_form(networks):
    """shift = source + s·(driving − initial); affine = driving·initial⁻¹·source."""
    source, driving = images(1), images(3, seed=1)
    with torch.no_grad():
        at_source, at_driving = networks["region_predictor"](source), networks["region_predictor"](driving)
    movement = at_driving["shift"] - at_driving["shift"][:1]
    scale = movement_scale(at_source["shift"], at_driving["shift"][:1])
    assert abs(scale.item() - 1) > 0.01
    for adapt, factor in ((True, scale), (False, 1.0)):
        out = animate(networks, source, driving, mode="relative", adapt_movement_scale=adapt)
        assert torch.allclose(out["kp_driving"]["value"], at_source["shift"] + factor * movement, atol=1e-6)
    ratio = at_driving["affine"] @ torch.linalg.inv(at_driving["affine"][:1])
    assert torch.allclose(out["kp_driving"]["jacobian"], ratio @ at_source["affine"], atol=1e-4)


def test_avd_takes_the_identity_from_the_source(networks):
    source, driving = images(1), images(2, seed=1)
    with torch.no_grad():
        at_source, at_driving = networks["region_predictor"](source), networks["region_predictor"](driving)
        pair = {name: at_source[name].expand(2, *at_source[name].shape[1:]) for name in ("shift", "affine")}
        expected = networks["avd_network"](x_id=pair, x_pose=at_driving)
        swapped = networks["avd_network"](x_id=at_driving, x_pose=pair)
    out = animate(networks, source, driving, mode="avd")
    assert torch.allclose(out["kp_driving"]["value"], expected["shift"], atol=1e-6)
    assert not torch.allclose(out["kp_driving"]["value"], swapped["shift"], atol=1e-6)
    assert torch.allclose(expected["covar"], expected["affine"] @ expected["affine"].mT, atol=1e-6)


def test_flattening_round_trip():
    regions = {"shift": torch.rand(2, 3, 2), "affine": torch.rand(2, 3, 2, 2)}
    numbers = flatten_regions(regions)
    assert numbers.shape == (2, 18)
    back = unflatten_regions(numbers)
    for name, value in regions.items():
        assert torch.equal(back[name], value)


def test_the_background_moves_in_reconstruction_only(networks):
    """A background predictor that pans by half a frame changes reconstruction, and not animation."""
    source, driving = images(1), images(2, seed=1)
    before = {r: animate(networks, source, driving, mode="standard", reconstruction=r) for r in (True, False)}
    bias = networks["bg_predictor"].fc.bias.data
    original = bias.clone()
    bias[2] += 1.0
    after = {r: animate(networks, source, driving, mode="standard", reconstruction=r) for r in (True, False)}
    bias.copy_(original)
    assert torch.equal(before[False]["prediction"], after[False]["prediction"])
    assert (before[True]["optical_flow"] - after[True]["optical_flow"]).abs().max() > 0.01


def test_family_reads_mode_and_scale(networks):
    family, config = get_family({"model": "mraa"}), tiny_config()
    assert family.animator(networks, config).mode == "avd"
    config["animate_params"] = {"mode": "relative", "normalization_params": {"adapt_movement_scale": False}}
    animator = family.animator(networks, config)
    assert (animator.mode, animator.adapt_movement_scale) == ("relative", False)
    assert family.animator(networks, config, reconstruction=True).mode == "standard"


def test_settings_that_make_no_sense(networks):
    family, config = get_family({"model": "mraa"}), tiny_config()
    config["animate_params"] = {"mode": "relativ"}
    with pytest.raises(ValueError, match="'relativ'.*avd, relative, standard"):
        family.animator(networks, config)
    config["animate_params"] = {"mode": "relative", "normalization_params": {"use_relative_movement": True}}
    with pytest.raises(ValueError, match="use_relative_movement.*animate_params.mode"):
        family.animator(networks, config)
    without = {name: network for name, network in networks.items() if name != "avd_network"}
    with pytest.raises(ValueError, match="--mode train_avd"):
        family.animator(without, tiny_config())


# ------------------------------------------------------------------------------------------ control
def test_amplify(networks):
    """Shifts are multiplied, affines taken to a power; 0 is still, 1 is as driven bit for bit."""
    source, driving = images(1), images(3, seed=1)
    plain = animate(networks, source, driving, mode="relative")
    assert torch.equal(
        animate(networks, source, driving, mode="relative", control=MotionControl(1))["prediction"],
        plain["prediction"],
    )
    still = animate(networks, source, driving, mode="relative", control=MotionControl(0))
    for name in ("value", "jacobian"):
        assert torch.equal(still["kp_driving"][name], still["kp_source"][name])
    double = animate(networks, source, driving, mode="relative", control=MotionControl(2))
    rest = plain["kp_source"]["value"]
    movement = plain["kp_driving"]["value"] - rest
    assert torch.allclose(double["kp_driving"]["value"] - rest, 2 * movement, atol=1e-5)
    assert (double["prediction"] - plain["prediction"]).abs().max() > 1e-3


def test_a_sign_is_no_movement():
    """An affine that comes with the other sign is neither amplified nor interpolated as half a turn."""
    rest = torch.eye(2).repeat(1, 4, 1, 1) * 0.1
    small = rest @ torch.tensor([[1.0, 0.02], [0.0, 1.0]])
    assert torch.allclose(align_swap(rest, -small), small)
    animator = object.__new__(RegionAnimator)
    regions = {"shift": torch.zeros(2, 4, 2), "affine": torch.cat([rest, -small]), "covar": torch.zeros(2, 4, 2, 2)}
    between = animator.interpolate(regions, torch.tensor([0.5]))
    assert torch.allclose(between["affine"], (rest + small) / 2)


@pytest.mark.parametrize("mode", ["standard", "avd"])
def test_amplify_needs_relative_mode(networks, mode):
    with pytest.raises(ValueError, match=rf"mode '{mode}' does not know: set animate_params.mode: relative"):
        RegionAnimator(networks, mode, control=MotionControl(2))


def test_regions_are_none_of_its_kind(networks):
    with pytest.raises(ValueError, match="needs a model with the facial prior"):
        RegionAnimator(networks, "relative", control=MotionControl(regions="mouth"))
