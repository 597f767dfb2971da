"""Every family of the registry from the first step to an animated clip, and what must not be mixed up between them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import yaml

import train as engine
from animate import animate
from checkpoint import CheckpointError, load_for_inference, read_checkpoint, slim_checkpoint, write_checkpoint
from logger import read_lines
from media import open_clip
from modules import FAMILIES, build_networks
from reconstruction import reconstruction
from settings import ConfigError, check_config, load_config
from tests.conftest import FRAME_SIZE, tiny_config, training_config

CPU = torch.device("cpu")
EPOCHS = 6

# A bias before BatchNorm in train mode, or added to all inputs of a softmax, has no effect on anything.
IDLE = ("conv.bias", "conv1.bias", "kp.bias", "regions.bias")


def total(row: dict) -> float:
    return sum(row[name] for name in ("reconstruction", "deformed"))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_model_lives(family, data, tmp_path):
    """Trains so that its losses fall, goes on from a checkpoint, reconstructs and animates."""
    folder = tmp_path / "run"
    engine.train(training_config(family, data, num_epochs=EPOCHS, num_repeats=6), folder, CPU)
    config = training_config(family, data, num_epochs=EPOCHS + 1, num_repeats=6)
    last = engine.train(config, folder, CPU, checkpoint=folder / f"{EPOCHS - 1:08d}-checkpoint.pth.tar")
    rows = read_lines(folder / "epochs.jsonl")
    assert [row["epoch"] for row in rows] == list(range(EPOCHS + 1))
    assert total(rows[EPOCHS - 1]) < 0.9 * total(rows[0])
    assert total(rows[-1]) < 0.9 * total(rows[0]), "a resumed run goes on from where it was"

    model = load_for_inference(last, config, CPU)
    found = reconstruction(model, last, tmp_path / "reconstruction", CPU)
    assert found["mean"] < 0.25, "a trained model rebuilds a clip from its first frame"
    results = animate(load_for_inference(last, config, CPU), last, tmp_path / "animation", CPU)
    for result in results:
        frames = open_clip(result.lossless, (FRAME_SIZE, FRAME_SIZE)).read_all()
        assert frames.shape == (5, FRAME_SIZE, FRAME_SIZE, 3)
        assert frames.std() > 5, "a picture, not a grey field"
    assert len(results) == 2


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_parameter_that_should_learns(family, data):
    """One step through the engine: each network's parameters change, but those that nothing depends on."""
    trainer = engine.Trainer(training_config(family, data), "train", CPU)
    if "bg_predictor" in trainer.networks:  # its last layer starts at zero and passes nothing on
        trainer.networks["bg_predictor"].fc.weight.data.normal_(std=0.01)
    before = {name: copy.deepcopy(network.state_dict()) for name, network in trainer.networks.items()}
    trainer.begin_epoch()
    trainer.train_step({key: value for key, value in next(iter(trainer.loader)).items() if key != "name"})
    for name, network in trainer.networks.items():
        still = [
            key for key, parameter in network.named_parameters() if torch.equal(parameter, before[name][key])
        ]
        if name in FAMILIES[family].later_networks:
            assert len(still) == len(list(network.parameters())), "that network's mode comes later"
        else:
            assert [key for key in still if not key.endswith(IDLE)] == [], name


# ------------------------------------------------------------------------------------------ MRAA's second mode
@pytest.fixture
def regions(data, tmp_path):
    """A config of MRAA that animates in mode avd, and a checkpoint of its first mode."""
    config = training_config("mraa", data, num_epochs=1)
    config["animate_params"]["mode"] = "avd"
    config["train_avd_params"] = {"num_epochs": 2, "num_repeats": 2, "batch_size": 2, "lr": 1e-3, "checkpoint_freq": 1,
                                  "dataloader_workers": 0}  # fmt: skip
    config = check_config(config)
    return config, engine.train(config, tmp_path / "regions", CPU)


def test_mode_avd_needs_train_avd(regions, tmp_path):
    config, checkpoint = regions
    assert "avd_network" not in read_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="mode: avd needs the network avd_network.*--mode train_avd"):
        animate(load_for_inference(checkpoint, config, CPU), checkpoint, tmp_path / "out", CPU)
    last = engine.train(config, tmp_path / "avd", CPU, "train_avd", checkpoint)
    data, first = read_checkpoint(last), read_checkpoint(checkpoint)
    assert {"avd_network", "optimizer_avd", "epoch_avd"} <= set(data)
    assert {"epoch_reconstruction", "optimizer_reconstruction"} <= set(data), "kept from the first mode"
    assert (data["epoch_avd"], data["epoch_reconstruction"]) == (1, 0)
    for name in ("generator", "region_predictor", "bg_predictor"):
        assert all(torch.equal(value, data[name][key]) for key, value in first[name].items()), name
    assert len(animate(load_for_inference(last, config, CPU), last, tmp_path / "out", CPU)) == 2


def test_an_untrained_avd_network_in_a_checkpoint_is_not_used(regions, tmp_path):
    """Checkpoints of this project's first version carry one, as it was initialised."""
    config, checkpoint = regions
    torch.manual_seed(0)
    state = engine.Trainer(config, "train_avd", CPU).networks["avd_network"].state_dict()
    data = {**read_checkpoint(checkpoint), "avd_network": state}
    write_checkpoint(tmp_path / "old.pth.tar", data)
    with pytest.raises(ValueError, match="--mode train_avd"):
        animate(load_for_inference(tmp_path / "old.pth.tar", config, CPU), checkpoint, tmp_path / "out", CPU)
    assert "avd_network" not in slim_checkpoint(data)
    foreign = {key: value for key, value in data.items() if key != "config"}  # a published file has only networks
    write_checkpoint(tmp_path / "foreign.pth.tar", foreign)
    assert "avd_network" in load_for_inference(tmp_path / "foreign.pth.tar", config, CPU).networks


def test_train_avd_resumes_bit_for_bit_and_its_slim_copy_animates(regions, tmp_path):
    config, checkpoint = regions
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    engine.train(config, whole, CPU, "train_avd", checkpoint)
    config["train_avd_params"]["num_epochs"] = 1
    half = engine.train(config, parts, CPU, "train_avd", checkpoint)
    config["train_avd_params"]["num_epochs"] = 2
    last = engine.train(config, parts, CPU, "train_avd", half)
    one, other = read_checkpoint(whole / last.name), read_checkpoint(last)
    for key, value in one["avd_network"].items():
        assert torch.equal(value, other["avd_network"][key]), key
    slim = slim_checkpoint(other)
    write_checkpoint(tmp_path / "slim.pth.tar", slim)
    assert not any(key.startswith("optimizer") for key in slim)
    model = load_for_inference(tmp_path / "slim.pth.tar", config, CPU)
    assert len(animate(model, tmp_path / "slim.pth.tar", tmp_path / "out", CPU)) == 2


def test_train_avd_refuses_what_it_cannot_build_upon(regions, tmp_path):
    config, checkpoint = regions
    with pytest.raises(CheckpointError, match="--mode train has made: give its checkpoint"):
        engine.train(config, tmp_path / "none", CPU, "train_avd")
    data = read_checkpoint(checkpoint)
    del data["region_predictor"]
    write_checkpoint(tmp_path / "part.pth.tar", data)
    with pytest.raises(CheckpointError, match="trains upon what .* does not have: region_predictor"):
        engine.train(config, tmp_path / "none", CPU, "train_avd", init_from=tmp_path / "part.pth.tar")
    with pytest.raises(CheckpointError, match="missing: region_predictor"):
        engine.train(config, tmp_path / "none", CPU, "train_avd", tmp_path / "part.pth.tar")
    assert not (tmp_path / "none").exists()


def test_going_on_with_the_first_mode_drops_the_second(regions, tmp_path, capsys):
    """The regions change, so an AVD network of before would be wrong; that is said."""
    config, checkpoint = regions
    last = engine.train(config, tmp_path / "avd", CPU, "train_avd", checkpoint)
    config["train_params"]["num_epochs"] = 2
    again = read_checkpoint(engine.train(config, tmp_path / "again", CPU, "train", last))
    assert again["epoch_reconstruction"] == 1
    assert not {"avd_network", "epoch_avd", "optimizer_avd"} & set(again)
    assert "has a trained avd_network" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ FOMM's second stage
def test_fomm_in_two_stages(data, tmp_path):
    """Without, then with the discriminator, which then also sees the key points: a new network, the others go on."""
    config = training_config("fomm", data, num_epochs=1)
    config["train_params"]["loss_weights"]["generator_gan"] = 0
    first = engine.train(config, tmp_path / "first", CPU)
    assert "gen_gan" not in read_lines(tmp_path / "first" / "epochs.jsonl")[-1]
    config["train_params"]["loss_weights"]["generator_gan"] = 1
    config["model_params"]["discriminator_params"]["use_kp"] = True
    second = engine.train(check_config(config), tmp_path / "second", CPU, init_from=first)
    row = read_lines(tmp_path / "second" / "epochs.jsonl")[-1]
    assert {"gen_gan", "disc_gan", "feature_matching"} <= set(row)
    name = "down_blocks.0.conv.weight"
    widths = [key for key in read_checkpoint(second)["discriminator"] if key.endswith(name)]
    gained = [read_checkpoint(path)["discriminator"][widths[0]].shape[1] for path in (first, second)]
    assert gained == [3, 13]  # ten key points


# ------------------------------------------------------------------------------------------ mixed up
def published(family: str) -> dict:
    """An untrained model as a published file holds it: networks alone."""
    trainer_networks = build_networks(tiny_config(family))
    return {name: network.state_dict() for name, network in trainer_networks.items()}


@pytest.mark.parametrize(
    ("theirs", "ours"), [(a, b) for a in ("fpb_fomm", "fomm", "mraa") for b in FAMILIES if a != b]
)
def test_a_checkpoint_of_another_family_names_both(theirs, ours, tmp_path):
    write_checkpoint(tmp_path / "a.pth.tar", published(theirs))
    with pytest.raises(CheckpointError, match=f"is a checkpoint of model: {theirs}, but .* of model: {ours}"):
        load_for_inference(tmp_path / "a.pth.tar", tiny_config(ours), CPU)


@pytest.mark.parametrize(
    ("model", "file", "theirs"),
    [
        ("fpb_fomm", "mraa", "mraa"),
        ("fomm", "mraa", "mraa"),
        ("mraa", "fomm", "fpb_fomm and fpb_tracked and fomm"),
        ("mraa", "fpb_fomm", "fpb_fomm and fpb_tracked and fomm"),
    ],
)
def test_a_file_of_another_family_says_so(model, file, theirs, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**tiny_config(file), "dataset_params": {"root_dir": "data"}}))
    message = rf"model_params\.\w+ is a key of model: {theirs}, but this config is of model: {model}"
    with pytest.raises(ConfigError, match=message):
        load_config(path, [f"model={model}"])


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        ("fomm", "train_params.loss_weights.equivariance_shift", "of model: mraa, but this config is of model: fomm"),
        ("fomm", "train_params.loss_weights.facial_prior", "model: fpb_fomm and fpb_tracked, but .* model: fomm"),
        ("mraa", "train_params.lr_generator", "of model: fpb_fomm and fpb_tracked and fomm, but .* model: mraa"),
        ("mraa", "model_params.num_kp", r"num_kp is unknown; model_params\.common_params\.num_kp is a key of model"),
        ("fomm", "train_avd_params.lr", "train_avd_params is a key of model: mraa, but .* model: fomm"),
        ("mraa", "animate_params.normalization_params.use_relative_movement", "model: fpb_fomm and .* of model: mraa"),
    ],
)
def test_keys_of_another_family_say_so(model, path, message, data):
    config = training_config(model, data)
    *sections, key = path.split(".")
    place = config
    for section in sections:
        place[section] = place.get(section) or {}
        place = place[section]
    place[key] = 1 if key != "use_relative_movement" else True
    with pytest.raises(ConfigError, match=message):
        check_config(config)


def test_frames_of_different_families_differ(data, tmp_path):
    """The registry's names stand for different models: no two animate alike from the same seed."""
    clips = []
    for family in ("fpb_fomm", "fomm", "mraa"):
        config = training_config(family, data, num_epochs=1, num_repeats=1)
        last = engine.train(config, tmp_path / family, CPU)
        (result, *_) = animate(load_for_inference(last, config, CPU), last, tmp_path / family / "out", CPU)
        clips.append(open_clip(result.lossless, (FRAME_SIZE, FRAME_SIZE)).read_all())
    assert not np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[1], clips[2])
