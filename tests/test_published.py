"""Every published YAML file, unchanged but for widths: loads, builds, trains a step, and its checkpoint animates.

Widths alone are made small (names and shapes of the full ones are checked in ``tests/modules``): every switch of the
published files, such as spectral norm, key points in the discriminator, regressed axes or no camera, is as it was.
"""

from __future__ import annotations

import copy
import json

import pytest
import torch
import yaml

from checkpoint import load_for_inference, write_checkpoint
from modules import build_networks, get_family
from settings import load_config
from tests.conftest import GOLDEN, random_keypoints

PUBLISHED = json.loads((GOLDEN / "published_configs.json").read_text())
CASES = [(family, name) for family, configs in PUBLISHED.items() for name in configs]
SIZE = 64


def narrow(section: dict) -> dict:
    """A copy with at most 16 channels everywhere, and everything else as it was."""
    out = {}
    for key, value in section.items():
        if isinstance(value, dict):
            value = narrow(value)
        elif key in ("block_expansion", "max_features"):
            value = 4 if key == "block_expansion" else 16
        out[key] = value
    return out


def tiny(family: str, name: str, path) -> dict:
    """Checked settings of a published file with narrow networks and, as VGG is not at hand, plain L1 for its loss."""
    config = copy.deepcopy(PUBLISHED[family][name])
    config["model_params"] = narrow(config["model_params"])
    if "train_params" in config:
        config["train_params"]["loss_weights"]["perceptual"] = [0, 0, 0, 0, 0]
        config["train_params"]["loss_weights"]["reconstruction"] = 10
    path.write_text(yaml.safe_dump(config))
    return load_config(path, [] if family == "fpb_fomm" else [f"model={family}"])


def batch(count: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    frames = torch.rand(2, count, 3, SIZE, SIZE)
    points = torch.stack([random_keypoints(index, SIZE) for index in range(count)])
    return {"source": frames[0], "driving": frames[1], "keypoint": points}


@pytest.mark.parametrize(("family", "name"), CASES)
def test_published_file_trains_a_step(family, name, tmp_path):
    config = tiny(family, name, tmp_path / "a.yaml")
    networks = build_networks(config)
    for mode in get_family(config).training_sections:
        generated: dict = {}
        for phase in get_family(config).phases(networks, config, None, mode):
            losses, generated = phase.model(batch(2), generated)
            assert losses
            torch.stack(list(losses.values())).sum().backward()
            assert all(torch.isfinite(loss) for loss in losses.values()), losses
            for names, rate in phase.optimizers.values():
                section = get_family(config).training_sections[mode]
                assert config[section][rate] >= 0
                for network in names:
                    gradients = [p.grad for p in networks[network].parameters() if p.grad is not None]
                    assert gradients or not list(networks[network].parameters()), network
                    assert all(torch.isfinite(gradient).all() for gradient in gradients), network


@pytest.mark.parametrize(("family", "name"), CASES)
def test_published_file_and_checkpoint_animate(family, name, tmp_path):
    """The checkpoint holds networks alone, as published ones do, under DataParallel's names."""
    config = tiny(family, name, tmp_path / "a.yaml")
    states = {
        network: {f"module.{key}": value for key, value in module.state_dict().items()}
        for network, module in build_networks(config).items()
    }
    write_checkpoint(tmp_path / "a.pth.tar", states)
    model = load_for_inference(tmp_path / "a.pth.tar", config, torch.device("cpu"))
    pair = batch(3)
    points = (pair["keypoint"][:1], pair["keypoint"][1:2]) if get_family(config).uses_prior else (None, None)
    for reconstruction in (False, True):
        animator = model.animator(reconstruction)
        animator.start(pair["source"][:1], pair["driving"][:1], *points)
        prediction = animator.animate(pair["driving"])["prediction"]
        assert prediction.shape == (3, 3, SIZE, SIZE)
        assert torch.isfinite(prediction).all()
        assert prediction.min() >= 0
        assert prediction.max() <= 1


@pytest.mark.parametrize("name", ["vox-adv-256", "taichi-adv-256"])
def test_published_discriminator_sees_the_key_points(name, tmp_path):
    """``use_kp``: other key points, other verdict on the same picture."""
    networks = build_networks(tiny("fomm", name, tmp_path / "a.yaml"))
    discriminator = networks["discriminator"].eval()
    picture = {"prediction_1": torch.rand(1, 3, SIZE, SIZE)}
    verdicts = [
        discriminator(picture, kp={"value": torch.full((1, 10, 2), place)})["prediction_map_1"]
        for place in (-0.5, 0.5)
    ]
    assert not torch.allclose(*verdicts)
