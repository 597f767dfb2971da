"""ONNX files compute what the networks compute, for any batch."""

from __future__ import annotations

import pytest
import torch

from animation.export import export, graphs
from checkpoint import CheckpointError, LoadedModel
from tests.conftest import tiny_config
from tests.modules.test_inference import golden_networks

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (requirements-dev.txt)")


def loaded(family: str) -> LoadedModel:
    config = tiny_config(family)
    config["dataset_params"] = {"frame_shape": [64, 64, 3]}
    return LoadedModel(golden_networks(family, config), config, family)


@pytest.mark.parametrize("family", ["fpb_fomm", "fomm"])
def test_onnxruntime_agrees(family, tmp_path):
    model = loaded(family)
    paths = export(model, tmp_path)
    assert [path.name for path in paths] == ["kp_detector.onnx", "generator.onnx"]
    torch.manual_seed(1)
    for path, (module, inputs, _) in zip(paths, graphs(model).values(), strict=True):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            given = {name: torch.cat([value, value])[:batch] for name, value in inputs.items()}
            given = {n: v + 0.05 * torch.randn_like(v) if n != "keypoint" else v for n, v in given.items()}
            with torch.no_grad():
                expected = module(*given.values())
            expected = expected if isinstance(expected, tuple) else (expected,)
            found = session.run(None, {name: value.numpy() for name, value in given.items()})
            for one, other in zip(found, expected, strict=True):
                assert one.shape == tuple(other.shape)
                assert abs(torch.from_numpy(one) - other).max() < 1e-3


def test_other_families_are_refused():
    with pytest.raises(CheckpointError, match="fpb_fomm and fomm"):
        graphs(LoadedModel({}, {"model": "mraa"}, "mraa"))


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install onnx onnxscript"):
        export(loaded("fomm"), tmp_path)
