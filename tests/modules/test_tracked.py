"""The prior that moves: the measured field as one more motion, the source blended in, head and face apart."""

from __future__ import annotations

import copy

import pytest
import torch

from modules import build_networks, get_family
from modules.coords import make_coordinate_grid
from modules.facial_prior import template_keypoints
from modules.model import GeneratorFullModel
from modules.track import Track
from settings import ConfigError, check_config
from tests.conftest import tiny_config

SIZE = (64, 96)  # height, width
FACE = template_keypoints(*SIZE)


def config(**animate_params) -> dict:
    """Tiny networks of the shipped model's kind."""
    out = tiny_config("fpb_tracked")
    out["model_params"]["common_params"]["align_corners"] = True
    generator = out["model_params"]["generator_params"]
    generator["blend_source"] = True
    generator["dense_motion_params"] |= {"locality": 0.015, "field_bias": 8, "occlusion_bias": 4}
    out["animate_params"] = animate_params
    return out


@pytest.fixture(scope="module")
def networks() -> dict:
    torch.manual_seed(0)
    networks = build_networks(config())
    for network in networks.values():
        network.eval()
    return networks


def image(seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)


def track(move: tuple[float, float] = (0.0, 0.0), head: tuple[float, float] = (0.0, 0.0)) -> Track:
    """Two frames, onset first: the whole face, and the head, shifted by so many pixels."""
    field, heads = torch.zeros(2, 16, 24, 2), torch.zeros(2, 2, 3)
    field[1], heads[1, :, 2] = torch.tensor(move), torch.tensor(head)
    points = torch.stack([FACE, FACE + torch.tensor(move) + torch.tensor(head)])
    return Track(FACE, points, field, heads, SIZE)


def animated(networks: dict, motion: Track, **animate_params) -> dict[str, torch.Tensor]:
    settings = config(**animate_params)
    animator = get_family(settings).animator(networks, settings)
    driving = image(1)
    animator.start(image(), driving, FACE[None], motion[:1])
    return animator.animate(driving.expand(2, -1, -1, -1), motion)


def shift(out: dict[str, torch.Tensor]) -> torch.Tensor:
    """Displacement (T, 2) in pixels at the middle of the face."""
    deformation = out["deformation"]
    grid = make_coordinate_grid(*deformation.shape[1:3])
    row, column = deformation.shape[1] // 2, deformation.shape[2] // 2
    return ((grid - deformation) * torch.tensor([SIZE[1] - 1, SIZE[0] - 1]) / 2)[:, row, column]


# ------------------------------------------------------------------------------------------ animation
def test_no_motion_gives_the_source_back(networks):
    out = animated(networks, track())
    assert torch.allclose(out["deformed"], image().expand(2, -1, -1, -1), atol=1e-5)
    error = (out["prediction"] - image()).abs()
    assert error.max() <= (1 - out["occlusion_map"].min()) + 1e-5, "more than the decoder's share is painted anew"


def test_the_field_moves_the_face(networks):
    """Content moves by the field, as good as alone where its mask logit starts high."""
    out = animated(networks, track(move=(2.0, -1.0)))
    assert shift(out)[0].abs().max() < 1e-4
    assert torch.allclose(shift(out)[1], torch.tensor([2.0, -1.0]), atol=0.1)


def test_head_motion_alone_moves_nothing(networks):
    out = animated(networks, track(head=(3.0, 2.0)))
    assert torch.allclose(out["deformed"], image().expand(2, -1, -1, -1), atol=1e-5)
    assert torch.allclose(out["kp_driving"]["value"], out["kp_source"]["value"], atol=1e-5)


def test_head_motion_is_kept_if_asked(networks):
    out = animated(networks, track(move=(1.0, 0.0), head=(1.0, 2.0)), head="keep")
    assert torch.allclose(shift(out)[1], torch.tensor([2.0, 2.0]), atol=0.1)


def test_strength_and_regions_rule_the_field(networks):
    motion = track(move=(2.0, 0.0))
    assert torch.allclose(shift(animated(networks, motion, amplify=0.5))[1], torch.tensor([1.0, 0.0]), atol=0.1)
    assert shift(animated(networks, motion, regions=["brows"]))[1].norm() < 0.3


def test_key_points_and_jacobians_turn_with_the_face(networks):
    """Displacements and Jacobians are turned in pixels, in which a turn is one even where frames are not square."""
    networks = copy.deepcopy(networks)
    networks["kp_detector"].jacobian.weight.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    turn, settings, motion = torch.tensor([[0.6, -0.3], [0.3, 0.6]]), config(), track(move=(2.0, -1.0))
    face, driving = (FACE - FACE.mean(0)) @ turn.T + FACE.mean(0), torch.cat([image(1), image(2)])
    animator = get_family(settings).animator(networks, settings)
    animator.start(image(), driving[:1], face[None], motion[:1])
    out = animator.motion(driving, motion)
    moved = (out["value"] - animator.kp_source["value"]) * torch.tensor([SIZE[1], SIZE[0]]) / 2
    assert torch.allclose(moved[1], (turn @ torch.tensor([2.0, -1.0])).expand(18, 2), atol=1e-4)
    with torch.no_grad():
        detected = networks["kp_detector"](driving, motion.points)["jacobian"]
    pixels = torch.diag(torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0]) / 2)
    change = turn @ pixels @ detected[1] @ torch.linalg.inv(turn @ pixels @ detected[0])
    expected = torch.linalg.inv(pixels) @ change @ pixels @ animator.kp_source["jacobian"][0]
    assert (detected[1] - detected[0]).norm(dim=(-2, -1)).min() > 1e-3
    assert torch.allclose(out["jacobian"][1], expected, atol=1e-4)


def test_reconstruction_takes_all_of_the_motion(networks):
    """Source and driving are one clip: head and face move as they do."""
    settings, motion = config(), track(move=(1.0, 0.0), head=(0.0, 2.0))
    animator = get_family(settings).animator(networks, settings, reconstruction=True)
    animator.start(image(), image(), FACE[None], motion[:1])
    out = animator.animate(image().expand(2, -1, -1, -1), motion)
    assert torch.allclose(shift(out)[1], torch.tensor([1.0, 2.0]), atol=0.1)


def test_frames_may_come_in_any_batches(networks):
    settings, motion = config(), track(move=(2.0, -1.0))
    animator = get_family(settings).animator(networks, settings)
    animator.start(image(), image(1), FACE[None], motion[:1])
    parts = [animator.animate(image(1), motion[[index]])["prediction"] for index in (0, 1)]
    assert torch.allclose(torch.cat(parts), animated(networks, motion)["prediction"], atol=1e-5)


# ------------------------------------------------------------------------------------------ training
def test_every_parameter_learns():
    torch.manual_seed(0)
    settings = config()
    networks = build_networks(settings)
    networks["kp_detector"].jacobian.weight.data.normal_(0, 0.1)
    networks["generator"].dense_motion_network.mask.weight.data.normal_(0, 0.1)
    model = GeneratorFullModel(
        networks["kp_detector"], networks["generator"], None,
        {"scales": [1], "loss_weights": {"reconstruction": 10, "deformed": 10}},
    )  # fmt: skip
    motion = track(move=(2.0, -1.0), head=(1.0, 0.0))
    fields = motion.displacement()
    batch = {
        "source": image(), "driving": image(1),
        "keypoint_source": motion.points[:1], "keypoint_driving": motion.points[1:],
        "field_source": fields[:1], "field_driving": fields[1:],
    }  # fmt: skip
    values, _ = model(batch)
    sum(values.values()).backward()
    # FOMM's heat map convolution bias shifts all cells alike, which the softmax over space undoes.
    silent = [
        f"{network}.{name}"
        for network in ("generator", "kp_detector")
        for name, parameter in networks[network].named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert set(silent) <= {"kp_detector.kp.bias"}


def test_the_field_needs_a_track(networks):
    kp = {"value": torch.zeros(1, 18, 2)}
    with pytest.raises(ValueError, match="field_bias the motion network needs the measured field"):
        networks["generator"](image(), kp_source=kp, kp_driving=kp)


# ------------------------------------------------------------------------------------------ settings
def test_the_field_is_not_for_a_prior_that_stands_still():
    settings = tiny_config("fpb_fomm")
    settings["model_params"]["generator_params"]["dense_motion_params"]["field_bias"] = 4
    with pytest.raises(ConfigError, match="field_bias is a key of model: fpb_tracked"):
        check_config(settings)


def test_head_is_checked():
    settings = config(head="keep")
    assert check_config(copy.deepcopy(settings))["animate_params"]["head"] == "keep"
    settings["animate_params"]["head"] = "some"
    with pytest.raises(ConfigError, match=r"animate_params.head is 'some'; legal: remove, keep"):
        check_config(settings)


def test_absolute_movement_is_refused(networks):
    settings = config(normalization_params={"use_relative_movement": False})
    with pytest.raises(ValueError, match="use_relative_movement is False"):
        get_family(settings).animator(networks, settings)


def test_blending_needs_an_occlusion_map():
    settings = config()
    settings["model_params"]["generator_params"]["estimate_occlusion_map"] = False
    with pytest.raises(ValueError, match="blend_source: True needs estimate_occlusion_map"):
        build_networks(settings)
