"""Training: a resumed run equals an uninterrupted one, and nothing is lost on the way (see also `test_families`)."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import signal

import pytest
import torch

import train as engine
from checkpoint import CheckpointError, load_for_inference, read_checkpoint, warm_start
from faces.keypoint_files import KeypointError
from frames_dataset import DataError
from logger import checkpoints, read_lines
from modules import FAMILIES
from modules.training_layers import DoublingBlock2d, FourPixelConv2d, SampleNorm2d
from tests.conftest import make_data, training_config
from training.schedule import learning_rate, parse_freeze

CPU = torch.device("cpu")


def losses(folder) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_lines(folder / "metrics.jsonl")]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_run_folder(family, data, tmp_path):
    folder = tmp_path / "run"
    engine.train(training_config(family, data), folder, CPU)
    lines = (folder / "log.txt").read_text().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"00000001\) (\w+ - -?\d+\.\d{5}(; )?)+", lines[1])
    for name in ("train-vis/00000001-rec.png", "curves.png", "tensorboard", "00000000-checkpoint.pth.tar"):
        assert (folder / name).exists(), name
    checkpoint = read_checkpoint(folder / "00000001-checkpoint.pth.tar")
    assert set(FAMILIES[family].networks) - set(FAMILIES[family].later_networks) <= set(checkpoint)
    assert not set(FAMILIES[family].later_networks) & set(checkpoint), "nothing untrained goes into a checkpoint"
    assert checkpoint[FAMILIES[family].epoch_keys["train"]] == 1
    assert any(key.startswith("optimizer_") for key in checkpoint)
    rebuilt = load_for_inference(folder / "00000001-checkpoint.pth.tar", None, CPU)
    assert rebuilt.family == family


@pytest.mark.parametrize("family", list(FAMILIES))
def test_resume_is_bit_for_bit(family, data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    engine.train(training_config(family, data, num_epochs=3, epoch_milestones=[1]), whole, CPU)
    engine.train(training_config(family, data, num_epochs=2, epoch_milestones=[1]), parts, CPU)
    config = training_config(family, data, num_epochs=3, epoch_milestones=[1])
    engine.train(config, parts, CPU, checkpoint=parts / "00000001-checkpoint.pth.tar")
    assert losses(whole) == losses(parts)
    one, other = (read_checkpoint(folder / "00000002-checkpoint.pth.tar") for folder in (whole, parts))
    names = [name for name in FAMILIES[family].networks if name in one]
    assert len(names) >= 3
    for network in names:
        for key, value in one[network].items():
            assert torch.equal(value, other[network][key]), f"{network}.{key}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_in_mid_epoch(number, data, tmp_path, monkeypatch):
    """A signal after step 4 of 6: the run stops there, and goes on to the very same losses."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = training_config("fpb_fomm", data, num_epochs=2)
    engine.train(config, whole, CPU)
    step = engine.Trainer.train_step

    def step_and_signal(self, batch):
        out = step(self, batch)
        if self.step == 4:
            os.kill(os.getpid(), number)
        return out

    monkeypatch.setattr(engine.Trainer, "train_step", step_and_signal)
    with pytest.raises(engine.Interrupted, match="--checkpoint"):
        engine.train(config, parts, CPU)
    monkeypatch.undo()
    interrupted = parts / engine.INTERRUPTED
    assert interrupted.is_file()
    engine.train(config, parts, CPU, checkpoint=interrupted)
    assert losses(whole) == losses(parts)
    assert (whole / "log.txt").read_text() == (parts / "log.txt").read_text()
    assert not interrupted.exists()


def _noted(method):
    """A method that gets SIGTERM before it works."""

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return method(*arguments)

    return signalled


@pytest.mark.parametrize("phase", ["begin", "log_pictures", "write_checkpoint"])
def test_interruption_in_other_phases(phase, data, tmp_path, monkeypatch):
    """While it begins, draws and writes a checkpoint: the run stops with one, and goes on to the very same losses."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = training_config("fpb_fomm", data, num_epochs=2, checkpoint_freq=1)
    engine.train(config, whole, CPU)
    request, place = engine.StopRequest(), engine.Logger if phase == "log_pictures" else engine
    monkeypatch.setattr(place, phase, _noted(getattr(place, phase)))
    with request.on(signal.SIGTERM), pytest.raises(engine.Interrupted, match="SIGTERM: stopped after step") as stop:
        engine.train(config, parts, CPU, request=request)
    monkeypatch.undo()
    left = re.search("--checkpoint '(.*)'", str(stop.value))[1]
    assert read_checkpoint(left)["step"] == (0 if phase == "begin" else 3)
    engine.train(config, parts, CPU, checkpoint=left)
    assert losses(whole) == losses(parts)
    assert (whole / "log.txt").read_text() == (parts / "log.txt").read_text()


def test_a_signal_to_all_processes_of_a_run(data, tmp_path, monkeypatch):
    """As queues send it: the loader's workers get it too, and go on until the run has stopped."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = training_config("fpb_fomm", data, num_epochs=2, dataloader_workers=2)
    engine.train(config, whole, CPU)
    step = engine.Trainer.train_step

    def step_and_signal(self, batch):
        out = step(self, batch)
        if self.step == 2:
            for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
                os.kill(process.pid, signal.SIGTERM)
        return out

    monkeypatch.setattr(engine.Trainer, "train_step", step_and_signal)
    with pytest.raises(engine.Interrupted):
        engine.train(config, parts, CPU)
    monkeypatch.undo()
    engine.train(config, parts, CPU, checkpoint=parts / engine.INTERRUPTED)
    assert losses(whole) == losses(parts)


def test_older_checkpoints_keep_the_networks(data, tmp_path, capsys):
    """All of the last two is there, of the others what animates; from these a run goes on, and says with what."""
    config = training_config("fpb_fomm", data, num_epochs=4, checkpoint_freq=1)
    engine.train(config, tmp_path / "run", CPU)
    kept = [read_checkpoint(path) for path in checkpoints(tmp_path / "run")]
    assert [any(key.startswith("optimizer_") for key in data) for data in kept] == [False, False, True, True]
    assert all(FAMILIES["fpb_fomm"].networks[0] in data and data["config"] == config for data in kept)
    dates = [path.stat().st_mtime_ns for path in checkpoints(tmp_path / "run")]
    assert dates == sorted(dates), "thinning leaves the newest one the newest"
    capsys.readouterr()
    trainer = engine.Trainer(config, "train", CPU)
    trainer.load(tmp_path / "run" / "00000001-checkpoint.pth.tar")
    assert trainer.epoch == 2 and "has no state of optimizer_generator" in capsys.readouterr().out


def test_the_plan_is_said_and_true(data, tmp_path, capsys):
    path = engine.train(training_config("fpb_fomm", data, num_epochs=1), tmp_path / "run", CPU)
    whole, thin = map(float, re.search(r"takes (\d+) MB, .* (\d+) MB", capsys.readouterr().out).groups())
    assert path.stat().st_size / 1e6 == pytest.approx(whole, abs=1)
    engine.thin_checkpoint(path)
    assert path.stat().st_size / 1e6 == pytest.approx(thin, abs=1)


def test_nan_names_step_losses_and_last_good(data, tmp_path, monkeypatch):
    config = training_config("fpb_fomm", data, num_epochs=3)
    step = engine.Trainer.train_step

    def poisoned(self, batch):
        values, generated = step(self, batch)
        if self.step == 6:
            values["reconstruction"] = torch.tensor(math.nan)
        return values, generated

    monkeypatch.setattr(engine.Trainer, "train_step", poisoned)
    with pytest.raises(engine.TrainingError, match=r"step 5: reconstruction = nan.*00000000-checkpoint"):
        engine.train(config, tmp_path / "run", CPU)


def test_workers_change_nothing(data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    engine.train(training_config("fpb_fomm", data, num_epochs=1), one, CPU)
    engine.train(training_config("fpb_fomm", data, num_epochs=1, dataloader_workers=2), two, CPU)
    assert losses(one) == losses(two)


def test_networks_are_prepared_on_the_processor(data):
    networks = engine.Trainer(training_config("fpb_fomm", data), "train", CPU).networks
    kinds = {type(module) for network in networks.values() for module in network.modules()}
    assert {DoublingBlock2d, FourPixelConv2d, SampleNorm2d} <= kinds


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, (math.inf, math.inf)), (3, (3, math.inf)), ("3 epochs", (3, math.inf)), ("200 steps", (math.inf, 200))],
)
def test_parse_freeze(value, expected):
    assert parse_freeze(value) == expected


@pytest.mark.parametrize("value", ["soon", "3 weeks", -1, "steps"])
def test_parse_freeze_refuses(value):
    with pytest.raises(ValueError, match="freeze_bn_after"):
        parse_freeze(value)


def test_learning_rate_is_a_function_of_the_epoch():
    rates = [learning_rate(1.0, epoch, [60, 90]) for epoch in (0, 59, 60, 89, 90)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_freeze_bn(data):
    """Frozen layers keep their statistics; excepted ones go on learning them."""
    options = {"freeze_bn_after": "1 steps", "freeze_bn_except": ["generator.dense_motion_network"]}
    trainer = engine.Trainer(training_config("fpb_fomm", data, **options), "train", CPU)
    trainer.begin_epoch()
    batch = {k: v for k, v in next(iter(trainer.loader)).items() if k != "name"}
    trainer.train_step(batch)
    generator = trainer.networks["generator"]
    frozen = generator.first.norm
    free = generator.dense_motion_network.hourglass.encoder.down_blocks[0].norm
    before = frozen.running_mean.clone(), free.running_mean.clone()
    trainer.train_step(batch)
    assert torch.equal(frozen.running_mean, before[0])
    assert not torch.equal(free.running_mean, before[1])


@pytest.mark.parametrize("equivariance", [0, 1])
def test_appearance_steps_leave_the_motion_alone(equivariance, data):
    """The generator learns pictures; the detector only by equivariance, where that has a weight."""
    config = training_config("fpb_fomm", data, appearance_steps=1)
    config["train_params"]["loss_weights"]["equivariance_jacobian"] = equivariance
    trainer = engine.Trainer(config, "train", CPU)
    trainer.begin_epoch()
    batch = {k: v for k, v in next(iter(trainer.loader)).items() if k != "name"}
    motion = {k: v.clone() for k, v in trainer.networks["generator"].dense_motion_network.state_dict().items()}
    detector = {k: v.clone() for k, v in trainer.networks["kp_detector"].state_dict().items()}
    appearance = trainer.networks["generator"].final.weight.clone()
    values, _ = trainer.train_step(batch)
    assert set(values) == {"reconstruction"} | ({"equivariance_jacobian"} if equivariance else set())
    assert not torch.equal(appearance, trainer.networks["generator"].final.weight)
    for key, value in trainer.networks["generator"].dense_motion_network.state_dict().items():
        assert torch.equal(value, motion[key])
    after = trainer.networks["kp_detector"].state_dict()
    assert torch.equal(after["jacobian.weight"], detector["jacobian.weight"]) is not bool(equivariance)
    if not equivariance:
        assert all(torch.equal(value, detector[key]) for key, value in after.items())
    values, _ = trainer.train_step(batch)
    assert {"deformed", "disc_gan", "background_share"} <= set(values)
    assert not torch.equal(detector["kp.weight"], trainer.networks["kp_detector"].kp.weight)


def test_bf16_losses_are_close(data):
    values = {}
    for precision in ("float32", "bf16"):
        trainer = engine.Trainer(training_config("fpb_fomm", data, precision=precision), "train", CPU)
        trainer.begin_epoch()
        batch = {k: v for k, v in next(iter(trainer.loader)).items() if k != "name"}
        values[precision] = trainer.train_step(batch)[0]
    for name, value in values["float32"].items():
        assert float(values["bf16"][name]) == pytest.approx(float(value), rel=0.05, abs=0.05), name


def test_collapsed_masks_are_reported(data, tmp_path, capsys):
    config = training_config("fpb_fomm", data, num_epochs=1, lr_generator=1e-9)
    config["model_params"]["generator_params"]["dense_motion_params"]["background_bias"] = 30
    engine.train(config, tmp_path / "run", CPU)
    assert "have collapsed" in capsys.readouterr().err


def test_warm_start(data, tmp_path, capsys):
    """A fomm checkpoint into fpb_fomm: the detector's first convolution gains the region map's channel."""
    config = training_config("fomm", data, num_epochs=1)
    config["model_params"]["common_params"]["num_kp"] = 18
    last = engine.train(config, tmp_path / "fomm", CPU)
    engine.train(training_config("fpb_fomm", data, num_epochs=1), tmp_path / "fpb", CPU, init_from=last)
    out = capsys.readouterr().out
    assert re.search(r"took \d+ entries", out)
    trainer = engine.Trainer(training_config("fpb_fomm", data), "train", CPU)
    taken, left = warm_start(trainer.networks, read_checkpoint(last))
    key = "predictor.encoder.down_blocks.0.conv.weight"
    assert f"kp_detector.{key} (3 of 4 input channels)" in taken
    assert left == []
    own = trainer.networks["kp_detector"].state_dict()[key]
    assert torch.equal(own[:, :3], read_checkpoint(last)["kp_detector"][key])
    assert not own[:, 3].any()


def test_too_large_a_batch(data, tmp_path):
    with pytest.raises(DataError, match=r"batch_size is 7.*only 6 samples"):
        engine.train(training_config("fpb_fomm", data, batch_size=7), tmp_path / "run", CPU)


def test_missing_keypoints_are_found_before_training(data, tmp_path):
    (data / "keypoints" / "train_1.pt").unlink()
    with pytest.raises(KeypointError, match=r"train_1.*kpmaker.py"):
        engine.train(training_config("fpb_fomm", data), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_substring_names_do_not_match(tmp_path):
    data = make_data(tmp_path / "data", train=12)
    (data / "keypoints" / "train_1.pt").unlink()  # train_10.pt and train_11.pt are there
    with pytest.raises(KeypointError, match="train_1"):
        engine.Trainer(training_config("fpb_fomm", data), "train", CPU)


def test_checkpoint_and_init_from_exclude_each_other(data, tmp_path):
    with pytest.raises(CheckpointError, match="one of them"):
        engine.train(training_config("fpb_fomm", data), tmp_path / "run", CPU, checkpoint="a", init_from="b")


def test_finished_run_is_not_resumed(data, tmp_path):
    config = training_config("fpb_fomm", data, num_epochs=1)
    last = engine.train(config, tmp_path / "run", CPU)
    with pytest.raises(CheckpointError, match="raise num_epochs"):
        engine.train(config, tmp_path / "run", CPU, checkpoint=last)


def test_metrics_are_json(data, tmp_path):
    engine.train(training_config("fpb_fomm", data, num_epochs=1), tmp_path / "run", CPU)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert {"reconstruction", "gen_gan", "disc_gan", "feature_matching", "background_share"} <= set(rows[0])
