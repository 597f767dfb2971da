"""MRAA's networks: closed-form geometry, every variant and frame size, exact identities, precision."""

from __future__ import annotations

import pytest
import torch

from modules import build_networks
from modules.coords import make_coordinate_grid
from modules.mraa.bg_predictor import BGMotionPredictor
from modules.mraa.flow_predictor import background_motion, region_motions
from modules.mraa.regions import (
    region_gaussians,
    relative_affine,
    revert_swap,
    weighted_covariance,
    weighted_mean,
)
from tests.modules.mraa.tiny import images, tiny_config, tiny_networks


def forward(networks: dict, source: torch.Tensor, driving: torch.Tensor) -> dict:
    regions = [networks["region_predictor"](image) for image in (driving, source)]
    return networks["generator"](source, *regions, networks["bg_predictor"](source, driving))


def test_moments_of_a_heat_map():
    """Two cells of weight ½: the mean lies between them, the covariance is that of a coin."""
    heatmap = torch.zeros(1, 1, 5, 5)
    heatmap[0, 0, 1, 3] = heatmap[0, 0, 3, 3] = 0.5  # (x, y) = (0.5, −0.5) and (0.5, 0.5)
    shift = weighted_mean(heatmap)
    assert torch.allclose(shift, torch.tensor([[[0.5, 0.0]]]))
    assert torch.allclose(weighted_covariance(heatmap, shift), torch.tensor([[[[0.0, 0.0], [0.0, 0.25]]]]))


def test_region_gaussians_closed_form():
    covar = torch.tensor([[[[0.02, 0.01], [0.01, 0.03]]]])
    regions = {"shift": torch.tensor([[[0.25, -0.5]]]), "covar": covar}
    heat = region_gaussians(regions, (9, 9), None)
    offset = make_coordinate_grid(9, 9) - regions["shift"][0, 0]
    expected = torch.exp(-0.5 * torch.einsum("hwi,ij,hwj->hw", offset, torch.linalg.inv(covar[0, 0]), offset))
    assert torch.allclose(heat[0, 0], expected, atol=1e-5)
    round_ones = region_gaussians({**regions, "covar": 0.01 * torch.eye(2).expand(1, 1, 2, 2)}, (9, 9), None)
    assert torch.allclose(round_ones, region_gaussians(regions, (9, 9), 0.01), atol=1e-5)


def test_a_region_of_one_cell_is_a_point():
    covar = torch.zeros(1, 1, 2, 2, requires_grad=True)
    heat = region_gaussians({"shift": torch.zeros(1, 1, 2), "covar": covar}, (5, 5), None)
    expected = torch.zeros(5, 5)
    expected[2, 2] = 1
    assert torch.equal(heat[0, 0], expected)
    heat.sum().backward()
    assert torch.isfinite(covar.grad).all()


@pytest.mark.parametrize("bg_type", ["zero", "shift", "affine", "perspective"])
def test_background_starts_at_the_identity(bg_type):
    sizes = {"block_expansion": 4, "max_features": 8, "num_blocks": 2, "num_channels": 3}
    predictor = BGMotionPredictor(**sizes, bg_type=bg_type).eval()
    matrix = predictor(images(2), images(2, seed=1))
    assert torch.equal(matrix, torch.eye(3).expand(2, 3, 3))
    if bg_type == "zero":
        assert list(predictor.parameters()) == []
        return
    predictor.fc.bias.data += 0.5
    moved = predictor(images(2), images(2, seed=1)) - torch.eye(3)
    free = {
        "shift": [[0, 0, 1], [0, 0, 1], [0, 0, 0]],
        "affine": [[1, 1, 1], [1, 1, 1], [0, 0, 0]],
        "perspective": [[1, 1, 1], [1, 1, 1], [1, 1, 0]],
    }[bg_type]
    assert torch.allclose(moved, 0.5 * torch.tensor(free, dtype=torch.float32).expand(2, 3, 3))


def test_unknown_background_is_named():
    with pytest.raises(ValueError, match="'afine'.*perspective"):
        tiny_networks(bg_predictor_params={"bg_type": "afine"})


def test_background_motion_closed_form():
    matrix = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]]])
    grid = background_motion(matrix, (3, 3))
    assert torch.allclose(grid[0, 2, 2], torch.tensor([2.5 / 1.5, 1 / 1.5]))  # z = (1, 1)
    assert torch.allclose(grid[0, 1, 1], torch.tensor([0.5, 0.0]))  # z = (0, 0)
    assert torch.equal(background_motion(torch.eye(3)[None], (3, 4))[0], make_coordinate_grid(3, 4))


def test_region_motion_closed_form():
    driving = {"shift": torch.tensor([[[0.5, -0.5]]]), "affine": torch.tensor([[[[2.0, 0.0], [0.0, 1.0]]]])}
    source = {"shift": torch.tensor([[[0.1, 0.2]]]), "affine": torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]])}
    motion = region_motions(driving, source, (3, 3), revert_axis_swap=True)
    # z = (1, 1) → A_d⁻¹(0.5, 1.5) = (0.25, 1.5) → A_s = (1.75, 1.5) → + shift_s
    assert torch.allclose(motion[0, 0, 2, 2], torch.tensor([1.85, 1.7]))
    flipped = {**source, "affine": -source["affine"]}
    assert torch.equal(region_motions(driving, flipped, (3, 3), revert_axis_swap=True), motion)
    assert not torch.allclose(region_motions(driving, flipped, (3, 3), revert_axis_swap=False), motion)


def test_revert_swap_keeps_the_sign_of_zero_positive():
    matrices = torch.tensor([[[-1.0, 2.0], [3.0, 4.0]], [[0.0, 2.0], [3.0, 4.0]]])
    assert torch.equal(revert_swap(matrices), torch.stack([-matrices[0], matrices[1]]))


def test_column_signs_do_not_matter():
    """Any signs of the columns, with one determinant for all, give the same picture (spec §2)."""
    networks = tiny_networks()
    source, driving = images(1), images(1, seed=1)
    with torch.no_grad():
        regions = [networks["region_predictor"](image) for image in (driving, source)]
        expected = networks["generator"](source, *regions)
        mirror = torch.diag(torch.tensor([1.0, -1.0]))
        signs = torch.where(torch.arange(10) % 3 == 0, -1.0, 1.0).view(1, 10, 1, 1)
        other = [dict(r, affine=r["affine"] @ mirror) for r in regions]
        other[0]["affine"] = other[0]["affine"] * signs
        out = networks["generator"](source, *other)
        mixed = [regions[0], other[1]]
        wrong = networks["generator"](source, *mixed)
    assert torch.allclose(out["prediction"], expected["prediction"], atol=1e-5)
    assert torch.allclose(out["optical_flow"], expected["optical_flow"], atol=1e-5)
    assert not torch.allclose(wrong["optical_flow"], expected["optical_flow"], atol=1e-2)


def test_relative_affine():
    a, b = torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2) + 2 * torch.eye(2)
    assert torch.allclose(relative_affine(a, b, False), a @ torch.linalg.inv(b), rtol=1e-3, atol=1e-4)
    assert (relative_affine(a, b, True)[..., 0, 0] >= 0).all()


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (512, 512), (96, 160), (200, 120)])
def test_every_frame_size(size):
    networks = tiny_networks()
    with torch.no_grad():
        out = forward(networks, images(1, size), images(1, size, seed=1))
    for name in ("prediction", "deformed"):
        assert out[name].shape == (1, 3, *size)
        assert torch.isfinite(out[name]).all()
    assert out["mask"].shape == (1, 11, size[0] // 4, size[1] // 4)


def test_odd_sizes_are_named():
    with pytest.raises(ValueError, match="130×128.*multiples of 4"):
        tiny_networks()["generator"].encode(torch.rand(1, 3, 128, 130))


@pytest.mark.parametrize("pad", [0, 3])
def test_pad_sets_the_heat_maps_size(pad):
    regions = tiny_networks(region_predictor_params={"pad": pad})["region_predictor"](images(2, (128, 128)))
    size = 26 + 2 * pad
    assert regions["heatmap"].shape == (2, 10, size, size)
    assert torch.allclose(regions["heatmap"].sum((2, 3)), torch.ones(2, 10), atol=1e-5)
    assert regions["shift"].abs().max() <= 1


def test_regressed_affines():
    """Without PCA the affines start as the identity, and the covariance is theirs."""
    predictor = tiny_networks(region_predictor_params={"pca_based": False})["region_predictor"]
    assert predictor.jacobian.out_channels == 4
    regions = predictor(images(2))
    assert torch.allclose(regions["affine"], torch.eye(2).expand(2, 10, 2, 2), atol=1e-5)
    predictor.jacobian.bias.data.copy_(torch.tensor([1.0, 2.0, 0.0, 1.0]))
    regions = predictor(images(2))
    assert torch.allclose(regions["covar"], regions["affine"] @ regions["affine"].mT, atol=1e-5)
    assert "u" not in regions


def test_without_affines_regions_only_move():
    networks = tiny_networks(top={"estimate_affine": False})
    assert "avd_network" not in networks
    regions = networks["region_predictor"](images(1))
    assert set(regions) == {"shift", "covar", "heatmap"}
    with torch.no_grad():
        assert forward(networks, images(1), images(1, seed=1))["prediction"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("flow", "generator"),
    [
        ({"use_deformed_source": False}, {}),
        ({"use_covar_heatmap": False, "region_var": 0.02}, {}),
        ({"scale_factor": 1}, {}),
        ({}, {"skips": False}),
        ({"estimate_occlusion_map": False}, {"skips": False}),
    ],
    ids=["heat maps alone", "round heat maps", "full size", "no skips", "no occlusion"],
)
def test_variants(flow, generator):
    networks = tiny_networks(flow=flow, generator_params=generator)
    predictor = networks["generator"].pixelwise_flow_predictor
    channels = 1 if flow.get("use_deformed_source") is False else 4
    assert predictor.hourglass.encoder.down_blocks[0].conv.in_channels == 11 * channels
    with torch.no_grad():
        out = forward(networks, images(1), images(1, seed=1))
    assert out["prediction"].shape == (1, 3, 64, 64)
    assert ("occlusion_map" in out) is flow.get("estimate_occlusion_map", True)


def test_skips_need_an_occlusion_map():
    with pytest.raises(ValueError, match="estimate_occlusion_map: True"):
        tiny_networks(flow={"estimate_occlusion_map": False})


def test_biases():
    predictor = tiny_networks(flow={"background_bias": -2.0, "occlusion_bias": 3.0})["generator"]
    predictor = predictor.pixelwise_flow_predictor
    assert predictor.mask.bias[0].item() == -2
    assert predictor.occlusion.bias.item() == 3


def test_no_motion_is_exact_with_consistent_corners():
    """Nothing moves, nothing is hidden: the prediction is the source itself with align_corners, and not without."""
    errors = {}
    for align_corners in (True, False):
        networks = tiny_networks(top={"align_corners": align_corners}, flow={"occlusion_bias": 50.0})
        assert networks["generator"].align_corners is align_corners
        source = images(1)
        with torch.no_grad():
            out = forward(networks, source, source)
        errors[align_corners] = {n: float((out[n] - source).abs().max()) for n in ("deformed", "prediction")}
    assert max(errors[True].values()) < 1e-4
    assert min(errors[False].values()) > 1e-2


def test_half_precision_does_not_round_the_motion():
    """Under bfloat16 autocast no motion is no motion to 1/100 pixel of 256; rounded, it would miss by ½ pixel."""
    networks = tiny_networks(top={"align_corners": True})
    source = images(1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = forward(networks, source, source)
    assert out["optical_flow"].dtype == torch.float32
    error = (out["optical_flow"][0] - make_coordinate_grid(16, 16)).abs().max()
    assert float(error) * 128 < 0.01


def test_missing_sections_are_named():
    config = tiny_config()
    del config["model_params"]["bg_predictor_params"]
    with pytest.raises(ValueError, match="model_params.bg_predictor_params"):
        build_networks(config)
