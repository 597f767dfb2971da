"""Which numbers a device calculates with: ``precision: auto``."""

from __future__ import annotations

import pytest
import torch

from checkpoint import load_for_inference
from settings.devices import has_bf16, settle_precision
from tests.conftest import ROOT, training_config
from training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with bf16", "without bf16"])
def processor(request, monkeypatch) -> bool:
    """A processor that has instructions for bf16, or none."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return request.param


def test_auto_takes_what_the_processor_has(processor, capsys):
    config = {"train_params": {"precision": "auto", "seed": 3}, "animate_params": {"precision": "auto"}}
    taken = "bf16" if processor else "float32"
    settled = settle_precision(config, "train_params", CPU)
    assert settled["train_params"] == {"precision": taken, "seed": 3}
    assert settled["animate_params"] == config["animate_params"] == {"precision": "auto"}
    assert f"train_params.precision: auto takes {taken}" in capsys.readouterr().out


def test_a_slow_bf16_is_said(processor, capsys):
    config = {"animate_params": {"precision": "bf16"}}
    assert settle_precision(config, "animate_params", CPU) is config
    assert ("many times slower" in capsys.readouterr().out) is not processor


@pytest.mark.parametrize("given", ["float32", "fp16", None])
def test_other_choices_are_left_in_silence(given, processor, capsys):
    config = {"train_params": {"precision": given}}
    assert settle_precision(config, "train_params", CPU) is config
    assert settle_precision({}, "train_params", CPU) == {}
    assert capsys.readouterr().out == ""


def test_a_trainer_and_a_loaded_model_are_settled(processor, data):
    config = training_config("fpb_fomm", data, precision="auto")
    trainer = Trainer(config, "train", CPU)
    assert trainer.config["train_params"]["precision"] == ("bf16" if processor else "float32")
    assert trainer.state()["config"] == trainer.config
    assert config["train_params"]["precision"] == "auto"
    shipped = ROOT / "sup-mat" / "sample_model.pth.tar"
    stored = load_for_inference(shipped, None, CPU).config
    stored["animate_params"]["precision"] = "auto"
    assert load_for_inference(shipped, stored, CPU).precision == ("bf16" if processor else "float32")


def test_metal_takes_float32():
    assert not has_bf16(torch.device("mps"))
