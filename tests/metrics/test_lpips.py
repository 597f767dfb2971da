"""LPIPS agrees with its authors' package (0.1.4), which was run once on the same weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import lpips_weights
from metrics.canonical import MetricError
from metrics.lpips import Lpips

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def wave(shape: tuple[int, ...], phase: int, scale: float) -> torch.Tensor:
    numbers = torch.arange(math.prod(shape), dtype=torch.float64)
    return (torch.sin(0.7311 * numbers + phase) * scale).float().view(shape)


@pytest.fixture(scope="module")
def weights() -> tuple[dict, dict]:
    alexnet = {}
    for i, (number, shape) in enumerate(SHAPES.items()):
        alexnet[f"features.{number}.weight"] = wave(shape, i, 2 / math.sqrt(math.prod(shape[1:])))
        alexnet[f"features.{number}.bias"] = wave(shape[:1], i, 0.1)
    linear = {f"lin{i}.model.1.weight": wave((1, s[0], 1, 1), i, 1).abs() for i, s in enumerate(SHAPES.values())}
    return alexnet, linear


def test_agrees_with_the_authors_package(weights):
    rng = np.random.default_rng(0)
    first, second = (torch.from_numpy(rng.uniform(-1, 1, (3, 3, 64, 80))).float() for _ in range(2))
    found = Lpips(*weights).pictures(first, second)
    assert found.tolist() == pytest.approx([1.6216, 1.9164, 1.8595], abs=1e-4)


def test_clips_are_compared_without_frame_0_and_in_grey(weights):
    rng = np.random.default_rng(0)
    rng.uniform(-1, 1, (2, 3, 3, 64, 80))
    first, second = (rng.integers(0, 256, (4, 64, 64, 3), np.uint8) for _ in range(2))
    model = Lpips(*weights)
    value = model(first, second)
    assert value == pytest.approx(1.2140812, abs=1e-4)
    spoilt = first.copy()
    spoilt[0] = 0
    assert model(spoilt, second) == value
    assert model(first, first) == 0.0
    with pytest.raises(MetricError, match="one size"):
        model(first[:, :32], second)


def test_other_weights_are_refused(weights):
    with pytest.raises(MetricError, match="no LPIPS weights"):
        Lpips(weights[1], weights[0])


def test_torchs_cache_is_where_torch_says(tmp_path, monkeypatch):
    assert lpips_weights.torch_cache() / "hub" == Path(torch.hub.get_dir())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert lpips_weights.torch_cache() / "hub" == Path(torch.hub.get_dir())


def test_weights_are_found_or_the_reason_is_given(weights, tmp_path, monkeypatch):
    files = tmp_path / "alexnet.pth", tmp_path / "linear.pth"
    monkeypatch.setattr(lpips_weights, "lpips_files", lambda: files)
    lpips_weights.load_lpips.cache_clear()
    assert lpips_weights.load_lpips() is None
    reasons = lpips_weights.absent([])
    assert "AlexNet" in reasons["lpips"] and "pip install" in reasons["lpips"] and "Inception" in reasons["fid"]
    for path, state in zip(files, weights, strict=True):
        torch.save(state, path)
    lpips_weights.load_lpips.cache_clear()
    picture = torch.zeros(1, 3, 64, 64)
    assert float(lpips_weights.load_lpips().pictures(picture, picture)) == 0.0
    assert "--truth" in lpips_weights.absent([])["lpips"]
    assert set(lpips_weights.absent(["lpips"])) == {"fid"}
    assert len(lpips_weights.lpips_version()) == 2
    lpips_weights.load_lpips.cache_clear()
