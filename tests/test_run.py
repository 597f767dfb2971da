"""The command line from end to end: train, go on, reconstruct, animate."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import run
import train as engine
from checkpoint import read_checkpoint, write_checkpoint
from corpora import ClipRecord, write_clips
from faces.keypoint_files import save_keypoints
from logger import read_lines
from media import open_clip, write_frame_folder
from media.ownership import MARKER
from modules import FAMILIES, build_networks
from modules.animator import KeyPointAnimator
from settings import load_config
from settings.devices import choose_device
from tests.conftest import (
    GOLDEN,
    ROOT,
    golden_state,
    make_data,
    moving_frames,
    random_keypoints,
    training_config,
)
from tests.pictures import leftovers

CPU = ["--device", "cpu"]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A working directory with data, and ``tiny.yaml`` that trains one epoch of one step."""
    make_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    config = training_config("fpb_fomm", Path("data"), num_epochs=1, num_repeats=1)
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def trained(*arguments: str) -> Path:
    """Train with ``tiny.yaml``; returns the run folder."""
    before = set(Path("log").glob("*"))
    assert run.main(["--config", "tiny.yaml", *CPU, *arguments]) == 0
    (folder,) = set(Path("log").glob("*")) - before
    return folder


def without_seconds(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_lines(folder / "metrics.jsonl")]


# ------------------------------------------------------------------------------------------ training
def test_run_folder(workplace, drawn_curves, capsys):
    folder = trained("--set", "train_params.seed=5")
    assert re.fullmatch(r"tiny \d\d_\d\d_\d\d_\d\d\.\d\d\.\d\d", folder.name)
    expected = {"tiny.yaml", "resolved.yaml", "environment.jsonl", "log.txt", "metrics.jsonl", "epochs.jsonl"}
    expected |= {"curves.png", "tensorboard", "train-vis", "00000000-checkpoint.pth.tar", MARKER}
    assert set(leftovers(folder)) == expected
    assert (folder / "tiny.yaml").read_bytes() == Path("tiny.yaml").read_bytes()
    resolved = load_config(folder / "resolved.yaml")
    assert resolved["train_params"]["seed"] == 5
    assert read_checkpoint(folder / "00000000-checkpoint.pth.tar")["config"] == resolved
    (environment,) = read_lines(folder / "environment.jsonl")
    assert environment["torch"] == torch.__version__
    assert {"command", "commit", "python", "machine", "started", "torchvision"} <= set(environment)
    out = capsys.readouterr().out
    assert f"run folder: {folder}" in out
    assert f"last checkpoint: {folder / '00000000-checkpoint.pth.tar'}" in out


def test_two_runs_of_one_second_have_two_folders(workplace, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *args: "01_02_03_04.05.06")
    names = [trained().name for _ in range(2)]
    assert names == ["tiny 01_02_03_04.05.06", "tiny 01_02_03_04.05.06-2"]


def test_going_on(workplace):
    """--checkpoint goes on in its own run folder, and comes to what an uninterrupted run comes to."""
    whole = trained("--set", "train_params.num_epochs=2")
    assert run.main(["--config", "tiny.yaml", *CPU, "--log_dir", "log2"]) == 0
    (parts,) = Path("log2").iterdir()
    last = str(parts / "00000000-checkpoint.pth.tar")
    more = ["--set", "train_params.num_epochs=2", "--checkpoint", last]
    assert run.main(["--config", "tiny.yaml", *CPU, *more]) == 0
    assert (parts / "log.txt").read_text() == (whole / "log.txt").read_text()
    assert without_seconds(parts) == without_seconds(whole)
    assert len(read_lines(parts / "environment.jsonl")) == 2
    assert load_config(parts / "resolved.yaml")["train_params"]["num_epochs"] == 2
    assert leftovers(Path("log2")) == [parts.name], "no other run folder"


def test_checkpoint_from_elsewhere_starts_its_own_run_folder(workplace):
    """A published checkpoint by its bare name (released: makedirs('') fails, pitfall 3)."""
    torch.manual_seed(0)
    networks = build_networks(load_config("tiny.yaml"))
    write_checkpoint("00000003.pth.tar", {n: net.state_dict() for n, net in networks.items()} | {"epoch": 3})
    more = ["--set", "train_params.num_epochs=5"]
    folder = trained("--checkpoint", "00000003.pth.tar", *more)
    assert [row["epoch"] for row in read_lines(folder / "epochs.jsonl")] == [4]
    assert leftovers(workplace) == ["00000003.pth.tar", "data", "log", "tiny.yaml"]


def test_interruption_says_how_to_go_on(workplace, monkeypatch, capsys):
    step = engine.Trainer.train_step

    def step_and_signal(self, batch):
        out = step(self, batch)
        os.kill(os.getpid(), signal.SIGINT)
        return out

    monkeypatch.setattr(engine.Trainer, "train_step", step_and_signal)
    options = ["--config", "tiny.yaml", *CPU, "--set", "train_params.num_epochs=2"]
    assert run.main(options) == 130
    error = capsys.readouterr().err
    path = Path(re.search(r"--checkpoint '(.*)'", error).group(1))
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert path.is_file()
    assert run.main([*options, "--checkpoint", str(path)]) == 0
    assert (path.parent / "00000001-checkpoint.pth.tar").is_file()


def test_failed_training_is_another_exit_code(workplace, monkeypatch, capsys):
    def failing(self, batch):
        raise engine.TrainingError("step 0: gen_gan = nan is not finite")

    monkeypatch.setattr(engine.Trainer, "train_step", failing)
    assert run.main(["--config", "tiny.yaml", *CPU]) == 1
    assert "error: step 0: gen_gan = nan is not finite" in capsys.readouterr().err


def test_verbose_prints_networks_and_does_not_hide_errors(workplace, capsys):
    trained("--verbose")
    out = capsys.readouterr().out
    assert "generator: OcclusionAwareGenerator(" in out and "kp_detector: KPDetector(" in out
    with pytest.raises(ValueError, match="Nearest known key"):
        run.main(["--config", "tiny.yaml", "--verbose", "--set", "train_params.batchsize=3"])


# ------------------------------------------------------------------------------------------ results
def test_train_reconstruct_animate(workplace, capsys):
    """The three modes after each other, with results beside the checkpoint, at 200 frames a second."""
    records = [ClipRecord(f"test_{i}", "test", "casme2", "s", "", 200.0, 5) for i in range(2)]
    write_clips("data/clips.csv", records)
    folder = trained()
    base = ["--config", "tiny.yaml", *CPU, "--checkpoint", str(folder / "00000000-checkpoint.pth.tar")]
    assert run.main([*base, "--mode", "reconstruction"]) == 0
    assert "Reconstruction loss (L1, frame 0 left out): 0." in capsys.readouterr().out
    assert {"test_0.mp4", "test_1.mp4", "l1.csv", "l1.json", "png"} <= set(
        leftovers(folder / "reconstruction")
    )
    assert run.main([*base, "--mode", "animate"]) == 0
    animation = folder / "animation"
    videos = ["test_0-test_1.mp4", "test_1-test_0.mp4"]
    listings = ["results.csv", "results.json", "settings.json"]
    assert leftovers(animation) == [MARKER, ".made_from", "png", *listings, *videos]
    for name in videos:
        clip = open_clip(animation / name)
        assert (len(clip), clip.fps, clip.first().shape) == (5, 200, (64, 64, 3))
        strip = open_clip(animation / "png" / Path(name).stem)
        assert len(strip) == 5
    capsys.readouterr()
    assert run.main([*base, "--mode", "animate"]) == 0
    assert "0 made, 2 were there already" in capsys.readouterr().out
    assert (
        run.main([*base, "--mode", "animate", "--out", "elsewhere", "--set", "animate_params.format=.gif"])
        == 0
    )
    assert "test_0-test_1.gif" in leftovers(Path("elsewhere"))


def test_out_of_memory(workplace, monkeypatch, capsys):
    def full(self, motion):
        raise torch.OutOfMemoryError("CUDA out of memory")

    networks = build_networks(load_config("tiny.yaml"))
    write_checkpoint("model.pth.tar", {name: network.state_dict() for name, network in networks.items()})
    monkeypatch.setattr(KeyPointAnimator, "render", full)
    for mode in ("animate", "reconstruction"):
        assert run.main(["--config", "tiny.yaml", *CPU, "--mode", mode, "--checkpoint", "model.pth.tar"]) == 2
        error = capsys.readouterr().err
        assert error.endswith("error: out of memory on cpu with animate_params.batch_size: 4: set it to 2\n")


def test_published_yaml_and_checkpoint(workplace, fpb_golden):
    """The authors' YAML, without any key of ours, and their early checkpoint, wrapped and without config."""
    published = json.loads((GOLDEN / "published_configs.json").read_text())["fpb_fomm"]["your_dataset_test"]
    tiny = load_config("tiny.yaml")["model_params"]
    published["dataset_params"] = {
        **published["dataset_params"],
        "root_dir": "data",
        "frame_shape": [64, 64, 3],
    }
    Path("pairs.csv").write_text("distance,source,driving,frame\n0,test_0,test_1,0\n")
    published["dataset_params"]["pairs_list"] = "pairs.csv"
    published["model_params"] = {**tiny, "common_params": published["model_params"]["common_params"]}
    Path("keypoint_folder").symlink_to("data/keypoints")  # the published place, which the YAML does not name
    Path("published.yaml").write_text(yaml.safe_dump(published))
    states = {name: golden_state(fpb_golden, name) for name in ("generator", "kp_detector", "discriminator")}
    states["kp_detector"] |= {"conv1.weight": torch.zeros(3, 3, 3, 3), "conv2.bias": torch.zeros(3)}
    wrapped = {name: {f"module.{k}": v for k, v in state.items()} for name, state in states.items()}
    torch.save({**wrapped, "epoch": 99}, "cpk.pth.tar", _use_new_zipfile_serialization=False)
    options = ["--config", "published.yaml", *CPU, "--mode", "animate", "--checkpoint", "cpk.pth.tar"]
    assert run.main(options) == 0
    assert len(open_clip("animation/png/test_1-test_0")) == 5


@pytest.mark.parametrize("family", ["fomm", "mraa"])
def test_baselines_from_the_command_line(family, workplace):
    config = training_config(family, Path("data"), num_epochs=1, num_repeats=1)
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    folder = trained()
    checkpoint = str(folder / "00000000-checkpoint.pth.tar")
    assert run.main(["--config", "tiny.yaml", *CPU, "--mode", "animate", "--checkpoint", checkpoint]) == 0
    assert len(list((folder / "animation").glob("*.mp4"))) == 2


def test_own_driving_clip_is_the_reconstruction(workplace):
    """Driving = source, relative: the animation is the reconstruction, pixel for pixel (± rounding)."""
    folder = trained("--set", "train_params.num_epochs=2")
    Path("pairs.csv").write_text("source,driving\ntest_0,test_0\n")
    base = ["--config", "tiny.yaml", *CPU, "--checkpoint", str(folder / "00000001-checkpoint.pth.tar")]
    assert run.main([*base, "--mode", "animate", "--set", "dataset_params.pairs_list=pairs.csv"]) == 0
    assert run.main([*base, "--mode", "reconstruction"]) == 0
    animated = open_clip(folder / "animation" / "png" / "test_0-test_0").read_all().astype(int)
    reconstructed = open_clip(folder / "reconstruction" / "png" / "test_0").read_all().astype(int)
    assert abs(animated - reconstructed).max() <= 1


def test_train_avd_has_a_folder_of_its_own(workplace, capsys):
    """The first mode's folder, whose epochs have the same names, stays as it was; each mode goes on in its own."""
    config = training_config("mraa", Path("data"), num_epochs=1, num_repeats=1)
    config["train_avd_params"] = {"num_epochs": 1, "batch_size": 2, "lr": 1e-3, "dataloader_workers": 0}
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    avd = ["--mode", "train_avd"]
    assert run.main(["--config", "tiny.yaml", *CPU, *avd]) == 2
    assert "--mode train_avd trains upon a model that --mode train has made" in capsys.readouterr().err
    assert not Path("log").exists()
    first = trained()
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = trained(*avd, "--checkpoint", str(first / "00000000-checkpoint.pth.tar"))
    assert re.fullmatch(r"tiny train_avd \d\d_\d\d_\d\d_\d\d\.\d\d\.\d\d", second.name)
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    more = ["--set", "train_avd_params.num_epochs=2", "--checkpoint", str(second / "00000000-checkpoint.pth.tar")]
    assert run.main(["--config", "tiny.yaml", *CPU, *avd, *more]) == 0
    assert (second / "00000001-checkpoint.pth.tar").is_file()
    third = trained("--set", "train_params.num_epochs=2", *more[2:])
    assert third not in (first, second), "going on with mode train does not write into train_avd's folder"
    assert "avd_network, which belongs to networks that change now" in capsys.readouterr().out


def test_lone_pictures_can_be_sources(workplace):
    """A portrait as a clip of one frame: moved by a clip, and of another size than it."""
    write_frame_folder("data/test/portrait", moving_frames(3, 1, 96))
    save_keypoints("data/keypoints", "portrait", random_keypoints(3, 96))
    folder = trained()
    Path("pairs.csv").write_text("source,driving\nportrait,test_1\n")
    options = [
        "--config",
        "tiny.yaml",
        *CPU,
        "--mode",
        "animate",
        "--set",
        "dataset_params.pairs_list=pairs.csv",
    ]
    assert run.main([*options, "--checkpoint", str(folder / "00000000-checkpoint.pth.tar")]) == 0
    assert len(open_clip(folder / "animation" / "png" / "test_1-portrait")) == 5


# ------------------------------------------------------------------------------------------ the program
def test_help_in_a_process_of_its_own(tmp_path):
    """From any folder; the commands of the file's head are shown; nothing is written."""
    command = [sys.executable, str(ROOT / "run.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for text in (
        "python run.py --config config/your_dataset_train.yaml",
        "--checkpoint",
        "--device_ids",
        "train_avd",
    ):
        assert text in done.stdout
    assert leftovers(tmp_path) == []


def test_training_modes_are_the_families():
    """Written out in run.py, which does not import them to say what it can do."""
    modes = [mode for family in FAMILIES.values() for mode in family.training_sections]
    assert tuple(dict.fromkeys(modes)) == run.TRAINING_MODES


def test_devices(workplace, capsys):
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    for ids, message in (
        ("0,0", "different ones"),
        ("x", "expected a number"),
        ("-1", "expected a number"),
    ):
        assert run.main(["--config", "tiny.yaml", "--device_ids", ids]) == 2
        assert message in capsys.readouterr().err
    missing = torch.cuda.device_count()
    assert run.main(["--config", "tiny.yaml", "--device", "cuda", "--device_ids", str(missing)]) == 2
    assert f"there are {missing} CUDA devices" in capsys.readouterr().err


def test_last_checkpoint_and_another_frame_shape(workplace, capsys):
    """``--checkpoint last`` is what the config's runs wrote last, by whatever name; another size of frames is said."""
    assert run.main(["--config", "tiny.yaml", *CPU, "--mode", "animate", "--checkpoint", "last"]) == 2
    assert "--checkpoint last: log has no checkpoint of a tiny.yaml run" in capsys.readouterr().err
    folder = trained()
    newest = folder / "interrupted-checkpoint.pth.tar"
    newest.write_bytes((folder / "00000000-checkpoint.pth.tar").read_bytes())
    (folder / "best-checkpoint.pth.tar").write_bytes(newest.read_bytes())
    options = ["--config", "tiny.yaml", *CPU, "--mode", "reconstruction", "--checkpoint", "last"]
    assert run.main(options) == 0
    said = capsys.readouterr().out
    assert f"checkpoint: {newest}" in said and "was trained on frames of" not in said
    assert run.main([*options, "--out", "other", "--set", "dataset_params.frame_shape=[32, 32, 3]"]) == 0
    assert "was trained on frames of 64×64 and now gets 32×32 (dataset_params.frame_shape)" in capsys.readouterr().out
