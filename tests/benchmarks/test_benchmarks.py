"""Benchmarks run, here at a narrow size: both paths compute the same, and every path has a line."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import busy, data, train, turns
from benchmarks.__main__ import main

NARROW = [
    f"model_params.{section}.{key}={value}"
    for section in ("kp_detector_params", "generator_params", "generator_params.dense_motion_params")
    for key, value in (("block_expansion", 4), ("max_features", 16))
]
NARROW += ["model_params.discriminator_params.block_expansion=4", "model_params.discriminator_params.max_features=8"]
NARROW += ["dataset_params.frame_shape=[64,64,3]", "train_params.loss_weights.perceptual=null"]


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    """The device's peak from a small product: a large one in bf16 takes minutes on processors that do not know it."""
    monkeypatch.setattr(turns, "PEAK_SIZES", {"cpu": 64})
    monkeypatch.setattr(turns, "PEAK_SECONDS", 0.01)


def lines(capsys, *arguments: str) -> list[str]:
    overrides = [part for setting in NARROW for part in ("--set", setting)]
    assert main([*arguments, "--rounds", "1", "--clips", "2", "--batch-size", "2", *overrides]) == 0
    return capsys.readouterr().out.splitlines()


def figures(shown: list[str], beginning: str, pattern: str = r"[-+.e\d]+") -> list[list[float]]:
    """The numbers behind ``beginning`` in the lines that have it."""
    found = [line.split(beginning)[1] for line in shown if beginning in line]
    return [[float(figure) for figure in re.findall(pattern, line)] for line in found]


def test_animation(capsys):
    shown = lines(capsys, "animate", "--compare", "--frames", "6")
    (float32, *_), (_, psnr_bf16) = figures(shown, "against the reference, 8 bit:", r"\d[-.e\d]*(?=,| dB)")
    assert float32 < 1.01 / 255
    assert psnr_bf16 > 45
    assert sum("frames/s best" in line for line in shown) == 6, "three paths, networks alone and end to end"


def thread_for_process(count: int, _, **options) -> ThreadPoolExecutor:
    """In place of ``ProcessPoolExecutor``: its processes take longer to import PyTorch than this needs to train."""
    pickle.dumps(options)
    return ThreadPoolExecutor(count, **options)


def test_training(capsys, monkeypatch):
    monkeypatch.setattr(train, "ProcessPoolExecutor", thread_for_process)
    shown = lines(capsys, "train", "--compare", "--precisions", "float32")
    reference, project = figures(shown, "losses of the first step", r"\d+\.\d{5}")
    assert len(reference) > 4
    assert project == pytest.approx(reference, rel=1e-4)


def test_loader_and_region_map(capsys, monkeypatch):
    monkeypatch.setattr(data, "SAMPLES", 18)
    monkeypatch.setattr(data, "FRAMES", 8)
    shown = lines(capsys, "data", "region_map", "--compare", "--workers", "1")
    assert sum("samples/s best" in line for line in shown) == 5
    ((difference,),) = figures(shown, "largest difference from the reference:")
    assert difference < 1e-6


def test_busy(capsys, monkeypatch):
    monkeypatch.setattr(busy, "STEPS", 2)
    monkeypatch.setattr(busy, "FRAMES", 8)
    shown = lines(capsys, "busy", "--precisions", "float32", "--workers", "0")
    ((share,),) = figures(shown, "busy ", r"\d+(?=%)")
    assert share > 0
    assert any("2 steps of 2" in line for line in shown)
