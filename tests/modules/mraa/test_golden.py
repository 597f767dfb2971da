"""MRAA against numbers computed once by an independent implementation, and the published layouts (spec §5)."""

from __future__ import annotations

import json

import pytest
import torch

from modules import build_networks
from settings import check_config
from tests.conftest import GOLDEN, golden_images, golden_state, load_golden, relative_error
from tests.modules.mraa.tiny import tiny_networks

TOLERANCE, SVD_TOLERANCE = 2e-4, 1e-3
PUBLISHED = json.loads((GOLDEN / "published_configs.json").read_text())["mraa"]
VOX = json.loads((GOLDEN / "state_dict_mraa-vox256.json").read_text())


@pytest.fixture(scope="module")
def golden() -> dict:
    return load_golden("mraa")


@pytest.fixture(scope="module")
def networks(golden) -> dict[str, torch.nn.Module]:
    networks = tiny_networks()
    for name in ("generator", "region_predictor", "bg_predictor"):
        networks[name].load_state_dict(golden_state(golden, name))
    for index, parameter in enumerate(networks["avd_network"].parameters()):
        count = torch.arange(parameter.numel(), dtype=torch.float64)
        wave = torch.sin(0.7311 * count + index).view_as(parameter)
        parameter.data = (wave / parameter.shape[1] ** 0.5 if parameter.dim() == 2 else 0.1 * wave).float()
    return networks


@pytest.fixture(scope="module")
def forward(golden, networks) -> dict:
    source, driving = golden_images(golden, "source"), golden_images(golden, "driving")
    with torch.no_grad():
        predictor = networks["region_predictor"]
        regions = {"source": predictor(source), "driving": predictor(driving)}
        bg = networks["bg_predictor"](source, driving)
        out = networks["generator"](source, regions["driving"], regions["source"], bg)
        avd = networks["avd_network"](x_id=regions["source"], x_pose=regions["driving"])
    return {"region": regions, "bg": bg, "gen": out, "avd": avd}


@pytest.mark.parametrize("image", ["source", "driving"])
def test_region_predictor(golden, forward, image):
    regions = forward["region"][image]
    assert relative_error(regions["heatmap"][..., ::4, ::4], golden[f"region/{image}/heatmap"]) <= TOLERANCE
    for part in ("shift", "covar"):
        assert relative_error(regions[part], golden[f"region/{image}/{part}"]) <= TOLERANCE
    # the columns' signs too: ours are LAPACK's
    assert relative_error(regions["affine"], golden[f"region/{image}/affine"]) <= SVD_TOLERANCE
    assert torch.allclose(regions["u"] @ regions["d"], regions["affine"])


def test_bg_predictor(golden, forward):
    assert relative_error(forward["bg"], golden["bg"]) <= TOLERANCE


@pytest.mark.parametrize(("name", "step"), [("prediction", 4), ("deformed", 4), ("occlusion_map", 1)])
def test_generator(golden, forward, name, step):
    assert relative_error(forward["gen"][name][..., ::step, ::step], golden[f"gen/{name}"]) <= SVD_TOLERANCE


def test_avd_network(golden, networks, forward):
    assert list(networks["avd_network"].state_dict()) == list(golden["avd/state_names"])
    for part in ("shift", "affine", "covar"):
        assert relative_error(forward["avd"][part], golden[f"avd/{part}"]) <= SVD_TOLERANCE


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_layouts(name):
    """Names, shapes and order (optimiser states go by it) are vox256's, but for what the YAML says."""
    with torch.device("meta"):
        networks = build_networks({**PUBLISHED[name], "model": "mraa"})
    layout = {key: {k: list(v.shape) for k, v in n.state_dict().items()} for key, n in networks.items()}
    if PUBLISHED[name]["model_params"]["bg_predictor_params"]["bg_type"] == "zero":
        assert layout.pop("bg_predictor") == {}
    if PUBLISHED[name]["model_params"]["num_regions"] == 10:
        for key, entries in layout.items():
            assert list(entries.items()) == list(VOX[key].items())
    else:
        assert layout["region_predictor"]["regions.weight"] == [20, 35, 7, 7]
        assert layout["generator"]["pixelwise_flow_predictor.mask.weight"] == [21, 148, 7, 7]
        assert layout["avd_network"]["decoder.9.weight"] == [120, 256]
    assert set(networks) == set(VOX)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_keys_are_all_known(name):
    config = check_config({**PUBLISHED[name], "model": "mraa"})
    assert config["animate_params"]["mode"] == "avd"
    assert config["train_avd_params"]["lambda_affine"] == 1


def test_unknown_keys_are_refused():
    config = json.loads(json.dumps({**PUBLISHED["vox256"], "model": "mraa"}))
    config["model_params"]["region_predictor_params"]["temprature"] = 0.1
    with pytest.raises(ValueError, match="temprature.*temperature"):
        check_config(config)
