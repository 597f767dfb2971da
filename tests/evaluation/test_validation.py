"""Validation during training: scores as `--mode evaluate` gives them, the best kept, and nothing disturbed."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
import torch

import train as engine
from animate import animate
from animation.clip_animator import ClipAnimator
from animation.pairs import Pair
from benchmarks.sample_clips import sample_clip
from checkpoint import load_for_inference, read_checkpoint
from evaluate import evaluate
from evaluation.validation import BestCheckpoint, Validation, Validator, evenly
from faces.keypoint_files import save_keypoints
from faces.tracking import save_track, track_keypoints
from frames_dataset import DataError
from logger import read_lines
from media import write_frame_folder
from modules import FAMILIES
from modules.animator import KeyPointAnimator
from modules.facial_prior import select_keypoints
from settings import ConfigError, check_config
from tests.conftest import FRAME_SIZE, random_keypoints, training_config

CPU = torch.device("cpu")
CLIPS = {"smile": ("happiness", "collins"), "surprise": ("surprise", "hopper")}

pytestmark = pytest.mark.usefixtures("landmark_model")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Two moving faces, to train on and to hold out."""
    root = tmp_path_factory.mktemp("faces")
    for name, (movement, identity) in CLIPS.items():
        options = {"amplitude_px": 4.0, "frames": 8, "size": FRAME_SIZE, "noise": 0.3}
        clip = sample_clip(seed=1, movement=movement, identity=identity, **options)
        points = select_keypoints(torch.from_numpy(clip.landmarks))
        for split in ("train", "test"):
            write_frame_folder(root / split / name, clip.frames)
        save_keypoints(root / "keypoints", name, points)
        save_track(root / "keypoints", name, track_keypoints(clip.frames, points))
    return root


def settings(family: str, root, **train_params) -> dict:
    return training_config(family, root, **{"batch_size": 2, "num_repeats": 1, **train_params})


def losses(folder) -> list[dict]:
    """The logged steps, without those that hold held-out figures."""
    rows = [row for row in read_lines(folder / "metrics.jsonl") if not any(n.startswith("val_") for n in row)]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def copied_motion(self, driving):
    """In place of a trained network's motion: what changes in the driving clip …"""
    self.first = driving[:1] if getattr(self, "seen", None) is not self.source else self.first
    self.seen = self.source
    return {"change": driving - self.first}


def rendered_motion(self, motion):
    """… laid over the source."""
    return {"prediction": (self.source + 0.7 * motion["change"]).clamp(0, 1)}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_validation_changes_nothing_in_training(family, faces, tmp_path):
    plain, validated = tmp_path / "plain", tmp_path / "validated"
    options = {"num_epochs": 2, "freeze_bn_after": "2 steps", "num_repeats": 2}
    engine.train(settings(family, faces, **options), plain, CPU)
    engine.train(settings(family, faces, **options, validate_every=1), validated, CPU)
    assert len(losses(plain)) == 4
    assert losses(plain) == losses(validated)
    one, other = (read_checkpoint(folder / "00000001-checkpoint.pth.tar") for folder in (plain, validated))
    for network in set(FAMILIES[family].networks) & set(one):
        for key, value in one[network].items():
            assert torch.equal(value, other[network][key]), f"{network}.{key}"
    assert [row["epoch"] for row in read_lines(validated / "validation.jsonl")] == [0, 1]
    assert not (plain / "validation.jsonl").exists()


def test_figures_are_those_of_evaluate_and_are_logged(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(KeyPointAnimator, "motion", copied_motion)
    monkeypatch.setattr(KeyPointAnimator, "render", rendered_motion)
    folder = tmp_path / "run"
    config = settings("fomm", faces, num_epochs=3, validate_every=2)
    last = engine.train(config, folder, CPU)
    (second, third) = read_lines(folder / "validation.jsonl")
    assert [second["epoch"], third["epoch"]] == [1, 2]  # every second epoch, and the last
    animate(load_for_inference(last, config, CPU), last, tmp_path / "out", CPU)
    found = evaluate(faces / "test", tmp_path / "report", {"m": tmp_path / "out"}, yardsticks=())
    assert set(third["pairs"]) == {row.pair for row in found.rows} == {"smile-surprise", "surprise-smile"}
    for row in found.rows:
        for name, value in third["pairs"][row.pair].items():
            assert value == pytest.approx(row.figures[name], abs=1e-9), (row.pair, name)
    means = third["means"]
    assert means["val_rho"] == pytest.approx(np.mean([row.figures["rho"] for row in found.rows]))
    assert abs(means["val_skill"]) > 0.01
    epochs = read_lines(folder / "epochs.jsonl")
    assert "val_rho" not in epochs[0]
    assert epochs[2]["val_rho"] == means["val_rho"]
    assert f"val_skill - {means['val_skill']:.5f}" in (folder / "log.txt").read_text().splitlines()[2]
    logged = [row for row in read_lines(folder / "metrics.jsonl") if "val_skill" in row]
    assert [row["step"] for row in logged] == [1, 2]


def test_the_best_epoch_is_kept_and_a_resumed_run_has_to_beat_it(faces, tmp_path, monkeypatch):
    """Held-out skill of 0.1, 0.3, 0.2, then after a resume 0.25 and 0.4."""
    planned = iter([0.1, 0.3, 0.2, 0.25, 0.4])

    def planned_figures(self, networks):
        value = next(planned)
        return Validation({"val_skill": value, "val_rho": -value}, {}, {})

    monkeypatch.setattr(Validator, "__call__", planned_figures)
    folder = tmp_path / "run"
    best = folder / "best-checkpoint.pth.tar"

    def kept() -> tuple[int, float]:
        checkpoint = read_checkpoint(best)
        return checkpoint["epoch"], checkpoint["validation"]["val_skill"]

    last = engine.train(settings("fomm", faces, num_epochs=3, validate_every=1), folder, CPU)
    assert kept() == (1, 0.3)
    same = read_checkpoint(folder / "00000001-checkpoint.pth.tar")["generator"]
    assert all(torch.equal(value, same[key]) for key, value in read_checkpoint(best)["generator"].items())
    last = engine.train(settings("fomm", faces, num_epochs=4, validate_every=1), folder, CPU, checkpoint=last)
    assert kept() == (1, 0.3)
    engine.train(settings("fomm", faces, num_epochs=5, validate_every=1), folder, CPU, checkpoint=last)
    assert kept() == (4, 0.4)
    assert [row["best"] for row in read_lines(folder / "validation.jsonl")] == [True, True, False, False, True]
    assert load_for_inference(best, None, CPU).family == "fomm"


def test_another_figure_can_choose(tmp_path):
    best = BestCheckpoint(tmp_path, "rho", "train")
    assert best.offer(Validation({"val_skill": 0.9, "val_rho": 0.1}, {}, {}), lambda: {"epoch": 0})
    assert best.offer(Validation({"val_skill": 0.1, "val_rho": 0.2}, {}, {}), lambda: {"epoch": 1})
    assert not best.offer(Validation({"val_skill": 1.0, "val_rho": 0.2}, {}, {}), lambda: {"epoch": 2})
    assert not best.offer(Validation({"val_rho": 0.9, "val_failed": 1}, {}, {"a-b": "no face"}), dict)
    assert not best.offer(Validation({"val_rho": math.nan}, {}, {}), dict)
    assert BestCheckpoint(tmp_path, "rho", "train").value == 0.2
    assert BestCheckpoint(tmp_path, "skill", "train").value == 0.1
    assert BestCheckpoint(tmp_path, "rho", "train_avd").path.name == "best_train_avd-checkpoint.pth.tar"


def test_results_without_a_face_are_said_and_never_the_best(faces, tmp_path, capsys):
    """Networks that were never trained make no faces."""
    folder = tmp_path / "run"
    engine.train(settings("fomm", faces, num_epochs=1, validate_every=1, lr_generator=1e-9), folder, CPU)
    (row,) = read_lines(folder / "validation.jsonl")
    assert row["means"] == {"val_failed": 2.0}
    assert "no face" in row["failed"]["smile-surprise"]
    assert not row["best"] and not (folder / "best-checkpoint.pth.tar").exists()
    assert "2 of 2 results could not be scored" in capsys.readouterr().out


def test_a_run_stopped_in_validation_goes_on_with_it(faces, tmp_path, monkeypatch):
    config = settings("fomm", faces, num_epochs=2, validate_every=1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    engine.train(config, whole, CPU)
    score = Validator._score

    def signalled(self, animator, pair):
        os.kill(os.getpid(), signal.SIGTERM)
        return score(self, animator, pair)

    monkeypatch.setattr(Validator, "_score", signalled)
    with pytest.raises(engine.Interrupted):
        engine.train(config, parts, CPU)
    assert not (parts / "validation.jsonl").exists()
    monkeypatch.undo()
    engine.train(config, parts, CPU, checkpoint=parts / engine.INTERRUPTED)
    assert (whole / "log.txt").read_text() == (parts / "log.txt").read_text()
    assert read_lines(whole / "validation.jsonl") == read_lines(parts / "validation.jsonl")
    assert losses(whole) == losses(parts)


def test_a_failing_validation_does_not_cost_the_epoch(faces, tmp_path, monkeypatch):
    def out_of_memory(self, pair):
        raise torch.OutOfMemoryError("out of memory")

    config = settings("fomm", faces, num_epochs=1, validate_every=1)
    monkeypatch.setattr(ClipAnimator, "take", out_of_memory)
    with pytest.raises(engine.TrainingError, match="animate_params.batch_size.*interrupted-checkpoint"):
        engine.train(config, tmp_path / "run", CPU)
    monkeypatch.undo()
    engine.train(config, tmp_path / "run", CPU, checkpoint=tmp_path / "run" / engine.INTERRUPTED)
    assert len(losses(tmp_path / "run")) == 1


def test_layers_get_their_own_mode_back(faces):
    trainer = engine.Trainer(settings("fomm", faces, freeze_bn_after="0 steps"), "train", CPU)
    trainer.train_mode()
    before = [module.training for module in trainer.networks["generator"].modules()]
    assert len(set(before)) == 2
    Validator(trainer.config, "train", CPU)(trainer.networks)
    assert [module.training for module in trainer.networks["generator"].modules()] == before
    assert all(p.requires_grad for p in trainer.networks["generator"].parameters())


def test_mraa_is_animated_in_a_mode_whose_networks_are_trained(faces, capsys):
    config = settings("mraa", faces)
    config["animate_params"]["mode"] = "avd"
    assert Validator(config, "train", CPU).config["animate_params"]["mode"] == "relative"
    assert "--mode train does not train" in capsys.readouterr().out
    config["animate_params"]["mode"] = "standard"
    assert Validator(config, "train", CPU).config is config


def test_clips_that_cannot_be_scored_are_left_out_or_refused(faces, tmp_path, capsys):
    """A still clip, one without a face, and a later reference frame; before anything is written."""
    root = tmp_path / "data"
    face = sample_clip(seed=1, movement="happiness", identity="collins", frames=8, size=FRAME_SIZE, amplitude_px=4.0)
    for split in ("train", "test"):
        write_frame_folder(root / split / "smile", face.frames)
        write_frame_folder(root / split / "still", np.repeat(face.frames[:1], 4, axis=0))
        write_frame_folder(root / split / "noise", np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8))
    for index, name in enumerate(("smile", "still", "noise")):
        save_keypoints(root / "keypoints", name, random_keypoints(index))
    config = settings("fpb_fomm", root, validate_every=1)
    (tmp_path / "pairs.csv").write_text(
        "source,driving,frame\nstill,smile,0\nsmile,still,0\nsmile,noise,0\nstill,smile,3\n"
    )
    config["dataset_params"]["pairs_list"] = str(tmp_path / "pairs.csv")
    config["animate_params"]["num_pairs"] = 10
    assert Validator(config, "train", CPU).pairs == [Pair("smile", "still")]
    said = capsys.readouterr().out
    for words in ("still-smile: driving clip: it holds one", "noise-smile: driving clip: no face", "reference frame 3"):
        assert words in said
    (tmp_path / "pairs.csv").write_text("source,driving\nsmile,still\nsmile,noise\n")
    with pytest.raises(DataError, match="(?s)none of the held-out pairs.*still-smile.*noise-smile"):
        engine.train(config, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_pairs_are_taken_evenly():
    pairs = [Pair(driving, source) for driving in "abcd" for source in "xyz"]
    assert {pair.driving for pair in evenly(pairs, 4)} == set("abcd")
    assert evenly(pairs, 100) == pairs
    assert evenly(pairs[:1], 3) == pairs[:1]


def test_only_some_figures_choose(faces):
    config = settings("fomm", faces)
    config["train_params"]["validate_figure"] = "gain"
    with pytest.raises(ConfigError, match="validate_figure.*skill, rho, vcor"):
        check_config(config)
