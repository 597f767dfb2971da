"""Reconstruction: the L1 that is printed and saved is the L1 of the frames that are saved."""

from __future__ import annotations

import csv
import json
import math
import re
import threading

import numpy as np
import pytest
import torch

from animation.clip_animator import ClipAnimator
from checkpoint import LoadedModel, write_checkpoint
from faces.keypoint_files import KeypointError
from frames_dataset import ClipFolder, DataError
from media import open_clip, write_frame_folder
from modules import FAMILIES, build_networks
from reconstruction import L1Meter, reconstruct_clip, reconstruction
from tests.conftest import moving_frames, training_config
from tests.pictures import leftovers, noise

CPU = torch.device("cpu")


@pytest.fixture
def run(data, tmp_path):
    """``run(family, overwrite, reconstruction_params…)`` with seeded tiny networks."""
    models: dict[str, LoadedModel] = {}

    def reconstructed(family: str = "fomm", overwrite: bool = False, **params) -> dict[str, float]:
        if family not in models:
            config = training_config(family, data)
            torch.manual_seed(0)
            networks = build_networks(config)
            for network in networks.values():
                network.eval().requires_grad_(False)
            write_checkpoint(tmp_path / "model.pth", {n: net.state_dict() for n, net in networks.items()})
            models[family] = LoadedModel(networks, config, family)
        models[family].config["reconstruction_params"].update(params)
        return reconstruction(models[family], tmp_path / "model.pth", tmp_path / "out", CPU, overwrite)

    return reconstructed


# ------------------------------------------------------------------------------------------ the number
def test_meter_leaves_the_first_frame_out():
    """Frame 0 is its own source (released: counted, pitfall 88)."""
    real = np.full((4, 2, 2, 3), 100, np.uint8)
    generated = real.copy()
    generated[0] += 100
    generated[1] -= 51
    generated[3] += 102
    meter = L1Meter()
    assert np.array_equal(list(meter.watch(iter(generated), iter(real))), generated)
    assert meter.value == pytest.approx((51 + 0 + 102) / 3 / 255)


def test_meter_of_one_frame_and_of_other_lengths():
    meter = L1Meter()
    list(meter.watch(iter(noise(1)), iter(noise(1))))
    assert math.isnan(meter.value)
    with pytest.raises(ValueError, match="shorter|longer"):
        list(L1Meter().watch(iter(noise(3)), iter(noise(2))))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_values_are_those_of_the_saved_frames(family, run, data, tmp_path, capsys):
    errors = run(family)
    out = tmp_path / "out"
    expected = {}
    for name in ("test_0", "test_1"):
        real = open_clip(data / "test" / name).read_all().astype(float)
        made = open_clip(out / "png" / name).read_all().astype(float)
        assert len(open_clip(out / f"{name}.mp4")) == len(real) == 5
        expected[name] = np.abs(real - made)[1:].mean() / 255
    mean = sum(expected.values()) / 2
    assert errors == pytest.approx({**expected, "mean": mean}, rel=1e-4)
    assert mean > 0.01, "a random network reconstructs nothing"
    rows = list(csv.DictReader((out / "l1.csv").open()))
    assert {row["clip"]: float(row["l1"]) for row in rows} == pytest.approx(expected, abs=1e-6)
    saved = json.loads((out / "l1.json").read_text())
    assert saved["l1"] == pytest.approx(mean)
    assert (saved["clips"], saved["model"]) == (2, family)
    printed = re.search(r"Reconstruction loss .*: (\d+\.\d{6}) over 2 clips", capsys.readouterr().out)
    assert float(printed.group(1)) == pytest.approx(mean, abs=1e-6)


def test_reading_and_writing_meanwhile_changes_nothing(data, tmp_path):
    config = training_config("fomm", data)
    torch.manual_seed(0)
    networks = {name: network.eval() for name, network in build_networks(config).items()}
    clips, found = ClipFolder(config["dataset_params"], "test", with_keypoints=False), []
    for overlap in (False, True):
        model, out = LoadedModel(networks, config, "fomm"), tmp_path / str(overlap)
        animator = ClipAnimator(model, clips, CPU, 2, reconstruction=True, overlap=overlap)
        value = reconstruct_clip(animator, "test_0", out, ".mp4", 100)
        found.append((value, (out / "test_0.mp4").read_bytes(), open_clip(out / "png" / "test_0").read_all().tobytes()))
    assert found[0] == found[1]


def test_errors_of_the_networks_end_the_threads(data, tmp_path, monkeypatch):
    """While Python shows a traceback, all that it reaches lives on: a thread among it would keep the process alive."""
    config = training_config("fomm", data)
    clips = ClipFolder(config["dataset_params"], "test", with_keypoints=False)
    model = LoadedModel({name: network.eval() for name, network in build_networks(config).items()}, config, "fomm")
    animator = ClipAnimator(model, clips, CPU, 2, reconstruction=True, overlap=True)
    frame, threads = clips.open("test_0").read([0])[0], threading.active_count()

    def fails(pair):
        yield frame
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(animator, "take", fails)
    with pytest.raises(RuntimeError, match="CUDA error") as shown:
        reconstruct_clip(animator, "test_0", tmp_path, ".mp4", 100)
    assert threading.active_count() == threads and shown.traceback


def test_number_of_clips(run, tmp_path):
    """Released: one clip too many (pitfall 86)."""
    assert set(run(num_videos=1)) == {"test_0", "mean"}
    assert "test_1.mp4" not in leftovers(tmp_path / "out")


# ------------------------------------------------------------------------------------------ bad data
def test_one_bad_clip_does_not_cost_the_others(run, data, tmp_path):
    (data / "test" / "test_0" / "0000003.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 2 clips failed:\s+test_0: cannot read .*0000003\.png"):
        run()
    saved = json.loads((tmp_path / "out" / "l1.json").read_text())
    assert saved["clips"] == 1
    assert leftovers(tmp_path / "out" / "png") == ["test_1"]


def test_clips_of_one_frame_measure_nothing(run, data, tmp_path):
    write_frame_folder(data / "test" / "test_0", moving_frames(0, 1))
    errors = run()
    assert math.isnan(errors["test_0"])
    assert errors["mean"] == errors["test_1"]
    write_frame_folder(data / "test" / "test_1", moving_frames(1, 1))
    with pytest.raises(DataError, match="every clip has one frame"):
        run()
    assert json.loads((tmp_path / "out" / "l1.json").read_text())["l1"] is None


def test_missing_key_points_are_found_before_anything_is_made(run, data, tmp_path):
    (data / "keypoints" / "test_1.pt").unlink()
    with pytest.raises(KeypointError, match=r"'test_1'.*kpmaker\.py"):
        run("fpb_fomm")
    assert not (tmp_path / "out").exists()
    assert set(run("fpb_fomm", num_videos=1)) == {"test_0", "mean"}


def test_other_settings_are_not_mixed(run):
    run()
    with pytest.raises(DataError, match=r"other settings \(format differ.*--overwrite"):
        run(format=".gif")
    run(format=".gif", overwrite=True)
