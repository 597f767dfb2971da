"""Strength and place of a movement: closed forms, what stays exactly as it is, what cannot be asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.sample_clips import still_face
from metrics.canonical import REGIONS as PLACES_OF_FIGURES
from metrics.canonical import locate_face, region_centres
from modules.animator import KeyPointAnimator, interpolate, movement
from modules.coords import make_coordinate_grid, normalize_keypoints
from modules.facial_prior import FLIP_PERMUTATION, NUM_KEYPOINTS, select_keypoints, template_keypoints
from modules.motion_control import (
    REGIONS,
    MotionControl,
    parse_regions,
    partition,
    region_rows,
    scale_jacobian,
)
from tests.conftest import golden_images, golden_state, tiny_config


def keypoints(frames: int = 3, seed: int = 0) -> tuple[dict, dict]:
    """A source at rest, and moved key points with Jacobians and a field."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    rest = {
        "value": template_keypoints(2, 2)[None] - 1,
        "jacobian": torch.eye(2) + 0.3 * noise(1, NUM_KEYPOINTS, 2, 2),
    }
    moved = {
        "value": rest["value"] + 0.02 * noise(frames, NUM_KEYPOINTS, 2),
        "jacobian": (torch.eye(2) + 0.2 * noise(frames, NUM_KEYPOINTS, 2, 2)) @ rest["jacobian"],
        "field": 0.02 * noise(frames, 16, 16, 2),
    }
    return rest, moved


def relative(rest: dict, moved: dict) -> torch.Tensor:
    return moved["jacobian"] @ torch.linalg.inv(rest["jacobian"])


# ------------------------------------------------------------------------------------------ Jacobians
def test_powers_of_turns_and_stretches_are_those_of_the_matrix_logarithm():
    angle, stretches = 0.4, torch.tensor([1.5, 0.6])
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for amount in (0.0, 0.5, 2.0, 3.0, -1.0):
        a = amount * angle
        turned = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        assert torch.allclose(scale_jacobian(turn, amount), turned, atol=1e-6)
        stretch = turn @ torch.diag(stretches) @ turn.T
        expected = turn @ torch.diag(stretches**amount) @ turn.T
        assert torch.allclose(scale_jacobian(stretch, amount), expected, atol=1e-5)


def test_small_movements_scale_linearly():
    change = torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(1)) * 1e-4
    for amount in (0.5, 2.0, 3.0):
        scaled = scale_jacobian(torch.eye(2) + change, amount) - torch.eye(2)
        assert torch.allclose(scaled, amount * change, atol=2e-6)


def test_powers_stay_invertible_where_the_linear_rule_does_not():
    """A squeeze to 0.4: amplified linearly by 2 it would fold over."""
    squeeze = torch.diag(torch.tensor([0.4, 1.0]))
    assert torch.linalg.det(torch.eye(2) + 2 * (squeeze - torch.eye(2))) < 0
    matrices = torch.randn(2000, 2, 2, generator=torch.Generator().manual_seed(2)).double()
    matrices = matrices[torch.linalg.det(matrices).abs() > 0.3]
    determinant = torch.linalg.det(matrices)
    for amount in (0.25, 0.5, 1.0, 2.0, 3.0):
        powered = torch.linalg.det(scale_jacobian(matrices, amount).double())
        assert torch.equal(powered.sign(), determinant.sign())
        assert torch.allclose(powered.abs().log(), amount * determinant.abs().log(), atol=0.05)
    assert torch.allclose(scale_jacobian(matrices, 1.0), matrices.float(), atol=1e-5)


def test_powers_of_the_identity_and_of_singular_matrices_are_finite():
    for matrix in (torch.eye(2), -torch.eye(2), torch.zeros(2, 2), torch.ones(2, 2)):
        for amount in (0.0, 0.5, 1.0, 3.0):
            assert torch.isfinite(scale_jacobian(matrix, amount)).all()
    assert torch.allclose(scale_jacobian(torch.eye(2), 2.5), torch.eye(2), atol=1e-6)


# ------------------------------------------------------------------------------------------ strength
def test_one_changes_nothing_and_nought_stills():
    rest, moved = keypoints()
    assert MotionControl(1.0)(rest, moved) is moved
    still = MotionControl(0.0)(rest, moved)
    for name in ("value", "jacobian"):
        assert torch.equal(still[name], rest[name].expand_as(moved[name]))
    assert not still["field"].any()


@pytest.mark.parametrize("amount", [0.5, 1.7, 3.0])
def test_displacements_are_multiplied(amount):
    rest, moved = keypoints()
    out = MotionControl(amount)(rest, moved)
    assert torch.allclose(out["value"] - rest["value"], amount * (moved["value"] - rest["value"]), atol=1e-6)
    assert torch.allclose(out["field"], amount * moved["field"])
    assert torch.allclose(relative(rest, out), scale_jacobian(relative(rest, moved), amount), atol=1e-3)


# ------------------------------------------------------------------------------------------ regions
def test_every_key_point_belongs_to_a_region():
    """Only the skin beside the nose wings belongs to two."""
    rows = [row for parts in REGIONS.values() for part in parts for row in part]
    assert sorted(rows) == sorted([*range(NUM_KEYPOINTS), 12, 13])


def test_sides_are_the_pictures_and_mirror_each_other():
    template = template_keypoints(256, 256)
    centre = template[2, 0]  # the bridge of the nose
    for region, (left, right, middle) in REGIONS.items():
        assert all(template[row, 0] < centre for row in left), region
        assert all(template[row, 0] > centre for row in right), region
        assert {FLIP_PERMUTATION[row] for row in left} == set(right)
        assert {FLIP_PERMUTATION[row] for row in middle} == set(middle)


def test_only_the_named_regions_move():
    rest, moved = keypoints()
    for regions in ("mouth", "brows,cheeks", "eyes:left", ["nose:right", "brows:left"]):
        control = MotionControl(regions=regions)
        out, rows = control(rest, moved), region_rows(control.regions)
        others = [row for row in range(NUM_KEYPOINTS) if row not in rows]
        for name in ("value", "jacobian"):
            assert torch.equal(out[name][:, rows], moved[name][:, rows])
            assert torch.equal(out[name][:, others], rest[name].expand_as(moved[name])[:, others])


def test_regions_and_strength_work_together():
    rest, moved = keypoints()
    both, whole = MotionControl(2.0, "mouth")(rest, moved), MotionControl(2.0)(rest, moved)
    rows = region_rows(("mouth",))
    assert torch.equal(both["value"][:, rows], whole["value"][:, rows])
    assert torch.equal(both["value"][:, 0], rest["value"][:, 0].expand(3, 2))


def test_a_field_is_shared_out_by_nearness():
    rest, moved = keypoints()
    size = (32, 32)
    shares = {region: partition(rest["value"], (region,), size) for region in REGIONS}
    assert torch.allclose(sum(shares.values()), torch.ones(1, *size), atol=1e-5)
    grid = make_coordinate_grid(*size)
    for region, share in shares.items():
        for row in set(region_rows((region,))) - ({12, 13} if region == "nose" else set()):
            nearest = (grid - rest["value"][0, row]).square().sum(-1).flatten().argmin()
            assert share.flatten()[nearest] > 0.5, f"{region}, key point {row}"
    assert shares["mouth"][0, -1].min() > 0.99 and shares["brows"][0, 0].mean() > 0.9
    out = MotionControl(regions="mouth")(rest, moved)["field"]
    assert torch.equal(out, moved["field"] * partition(rest["value"], ("mouth",), (16, 16))[..., None])
    halves = partition(rest["value"], ("brows:left", "brows:right"), size)
    assert (halves <= shares["brows"] + 1e-6).all() and (shares["brows"] - halves).max() > 0.5


def test_the_face_is_shared_out_as_the_motion_figures_measure_it():
    """Each place where motion is measured belongs to its own region."""
    template = landmarks_68()
    points = normalize_keypoints(select_keypoints(template)[None], 256, 256)
    shares = {region: partition(points, (region,), (64, 64))[0] for region in REGIONS}
    own = {"brow": "brows", "infra": "cheeks", "wing": "nose", "cheek": "cheeks", "mouth": "mouth", "lip": "mouth",
           "chin": "mouth", "lid": "eyes"}  # fmt: skip
    face = locate_face(template.numpy(), 256, 256)
    back = np.linalg.inv(face.matrix[:, :2])
    for name, centre in zip(PLACES_OF_FIGURES, region_centres(face.landmarks), strict=True):
        column, row = np.clip((back @ (centre - face.matrix[:, 2])) / 4, 0, 63).round().astype(int)
        region = own[name.split("_")[0]]
        assert shares[region][row, column] > 0.5, f"{name} belongs to {region}"


def landmarks_68() -> torch.Tensor:
    """A face of 256×256 pixels: Grace Hopper's, from the sample."""
    return torch.from_numpy(still_face("hopper")[1])


def test_names_in_any_form():
    assert parse_regions(" Mouth , brows:left ") == parse_regions(["brows:left", "mouth"]) == ("brows:left", "mouth")
    assert region_rows(parse_regions("mouth:left,mouth:right,mouth")) == region_rows(("mouth",))
    assert 10 not in region_rows(("mouth:left", "mouth:right")), "the middle of the lip belongs to the whole"


@pytest.mark.parametrize("regions", ["chin", "mouth:up", "mouth,,brows", "", [], ["brows", "ears:left"], "left"])
def test_unknown_regions_list_the_legal_ones(regions):
    with pytest.raises(ValueError, match=r"legal: brows, eyes, nose, cheeks, mouth.*brows:left"):
        MotionControl(regions=regions)


@pytest.mark.parametrize("amplify", [-0.1, float("inf"), float("nan")])
def test_illegal_strengths(amplify):
    with pytest.raises(ValueError, match=r"amplify is .*legal: a number from 0"):
        MotionControl(amplify)


def test_movement_leaves_the_common_shift_out():
    """RMS over key points and axes; of the Jacobians where the key points stand still."""
    apart = torch.tensor([[0.3, 0.4], [-0.3, -0.4]])
    places = torch.stack([torch.zeros(2, 2), 5 + apart, 2 * apart])
    for name in ("value", "shift"):
        assert torch.allclose(movement({name: places}), torch.tensor([0.0, 1, 2]) * 0.125**0.5)
        assert torch.allclose(movement({name: places}, 2), torch.tensor([2.0, 1, 0]) * 0.125**0.5)
    jacobian = torch.eye(2) * torch.tensor([1.0, 1.5, 3.0]).view(3, 1, 1, 1).expand(3, 2, 1, 1)
    assert torch.allclose(movement({"value": places, "jacobian": jacobian}), movement({"value": places}))
    still = {"value": 0 * places, "jacobian": jacobian}
    assert torch.allclose(movement(still), torch.tensor([0.0, 0.5, 2.0]) * 0.5**0.5)


def test_settings_without_controls_control_nothing():
    assert not MotionControl() and not MotionControl(1, None)
    assert MotionControl(0) and MotionControl(regions=["mouth"])


# ------------------------------------------------------------------------------------------ in the animator
RELATIVE = {"use_relative_movement": True, "use_relative_jacobian": True}


@pytest.fixture(scope="module")
def networks(fpb_golden) -> dict:
    from modules import build_networks

    networks = build_networks(tiny_config())
    for name in ("generator", "kp_detector"):
        networks[name].load_state_dict(golden_state(fpb_golden, name))
        networks[name].eval()
    networks["kp_detector"].jacobian.weight.data.mul_(20)  # Jacobians that move visibly
    return networks


def animated(networks: dict, golden: dict, control: MotionControl | None) -> dict:
    animator = KeyPointAnimator(networks, RELATIVE, control)
    source, driving = golden_images(golden, "source"), golden_images(golden, "driving")
    animator.start(source[:1], source[1:2], golden["in/keypoint"][:1], golden["in/keypoint"][1:2])
    return animator.animate(driving)


def test_an_animation_as_driven_is_unchanged_bit_for_bit(networks, fpb_golden):
    plain, one = (animated(networks, fpb_golden, c) for c in (None, MotionControl(1.0)))
    assert torch.equal(plain["prediction"], one["prediction"])


def test_an_animation_at_nought_is_still(networks, fpb_golden):
    """All frames are the one that a source without movement gives."""
    plain, still = animated(networks, fpb_golden, None), animated(networks, fpb_golden, MotionControl(0.0))
    assert torch.equal(still["prediction"][:1].expand_as(still["prediction"]), still["prediction"])
    assert torch.equal(still["kp_driving"]["jacobian"], still["kp_source"]["jacobian"])
    assert (plain["prediction"] - still["prediction"]).abs().max() > 1e-3


def test_stronger_movements_deform_more(networks, fpb_golden):
    def deformed(amount: float) -> float:
        out = animated(networks, fpb_golden, MotionControl(amount))
        identity = make_coordinate_grid(*out["deformation"].shape[1:3])
        return float((out["deformation"] - identity).abs().mean())

    assert deformed(0.5) < deformed(1.0) < deformed(2.0)


def test_motion_and_rendering_are_the_animation(networks, fpb_golden):
    animator = KeyPointAnimator(networks, RELATIVE)
    source, driving = golden_images(fpb_golden, "source"), golden_images(fpb_golden, "driving")
    points = fpb_golden["in/keypoint"]
    animator.start(source[:1], source[1:2], points[:1], points[1:2])
    motion = animator.motion(driving)
    assert torch.equal(animator.render(motion)["prediction"], animator.animate(driving)["prediction"])
    halfway = animator.interpolate(motion, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(halfway["jacobian"][::2], motion["jacobian"])
    assert torch.allclose(halfway["jacobian"][1], motion["jacobian"].mean(0), atol=1e-6)


def test_interpolation_is_linear_and_exact_at_frames():
    motion = {"value": torch.rand(5, 18, 2), "jacobian": torch.rand(5, 18, 2, 2)}
    whole = interpolate(motion, torch.arange(5.0))
    assert all(torch.equal(whole[name], motion[name]) for name in motion)
    between = interpolate(motion, torch.tensor([3.25, 1.5, 4.0]))
    assert torch.allclose(between["value"][0], 0.75 * motion["value"][3] + 0.25 * motion["value"][4])
    assert torch.allclose(between["jacobian"][1], 0.5 * (motion["jacobian"][1] + motion["jacobian"][2]))
    assert torch.equal(between["value"][2], motion["value"][4])


@pytest.mark.parametrize(
    ("normalization", "missing"),
    [
        (None, "use_relative_movement"),
        ({}, "use_relative_movement"),
        ({"use_relative_movement": True}, "use_relative_jacobian"),
    ],
)
def test_control_needs_relative_movement(networks, normalization, missing):
    for control in (MotionControl(2.0), MotionControl(regions="mouth")):
        with pytest.raises(ValueError, match=rf"relative mode.*{missing}: True"):
            KeyPointAnimator(networks, normalization, control)


def test_learned_key_points_have_no_regions():
    from modules import build_networks, get_family

    config = tiny_config("fomm")
    config["animate_params"] = {"regions": "mouth", "normalization_params": RELATIVE}
    with pytest.raises(ValueError, match="needs a model with the facial prior.*no fixed place"):
        get_family(config).animator(build_networks(config), config)
    config["animate_params"].update(regions=None, amplify=2)
    assert get_family(config).animator(build_networks(config), config).control.amplify == 2
