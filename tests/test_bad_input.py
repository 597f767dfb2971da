"""Bad input gets a clear error, and nothing is lost: the list of issue 2, through the command line."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import shutil
import tempfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import run
from checkpoint import read_checkpoint, write_checkpoint
from faces.keypoint_files import save_keypoints
from media import open_clip, write_frame_folder
from modules import build_networks
from settings import load_config
from tests.conftest import golden_state, make_data, moving_frames, random_keypoints, training_config
from tests.pictures import write_truncated_mp4
from training.perceptual_weights import VGG_FILE

TRAIN = ["--config", "tiny.yaml", "--device", "cpu"]
CHECKPOINT = ["--checkpoint", "model.pth.tar"]
ANIMATE = [*TRAIN, "--mode", "animate", *CHECKPOINT, "--out", "out"]
RECONSTRUCT = [*TRAIN, "--mode", "reconstruction", *CHECKPOINT, "--out", "out"]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A data set, its config and a checkpoint, made once."""
    root = tmp_path_factory.mktemp("original")
    make_data(root / "data")
    config = training_config("fpb_fomm", Path("data"), num_epochs=1, num_repeats=1)
    (root / "tiny.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    networks = build_networks(config)
    write_checkpoint(
        root / "model.pth.tar", {n: net.state_dict() for n, net in networks.items()} | {"epoch": 0}
    )
    return root


@pytest.fixture(autouse=True)
def workplace(original, tmp_path, monkeypatch) -> Path:
    """Each test works in a copy of its own."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(capsys):
    """``fails(arguments, part…)``: exit code 2, one error that holds all parts, no traceback.

    And no run folder, unless the error can only be found while frames are read: ``started=True``.
    """

    def check(arguments: list[str], *parts: str, started: bool = False) -> str:
        assert run.main(arguments) == 2
        text = capsys.readouterr().err
        error = text[text.index("error: ") :]
        for part in parts:
            assert part in error, error
        assert "Traceback" not in error
        assert started or not Path("log").exists()
        return error

    return check


def settings(**sections: dict) -> None:
    """Change ``tiny.yaml``; keys are sections."""
    config = load_config("tiny.yaml")
    for section, values in sections.items():
        config[section].update(values)
    Path("tiny.yaml").write_text(yaml.safe_dump(config))


def add_clip(split: str, name: str, frames: np.ndarray) -> Path:
    write_frame_folder(f"data/{split}/{name}", frames)
    save_keypoints("data/keypoints", name, random_keypoints(0))
    return Path("data", split, name)


# ------------------------------------------------------------------------------------------ settings
def test_no_such_config(fails):
    fails(["--config", "tinny.yaml"], "no such config: tinny.yaml", "Did you mean tiny.yaml?")
    fails(["--config", "data"], "no such config: data")
    fails([], "--mode train needs --config")


def test_unknown_key_names_the_nearest(fails):
    fails([*TRAIN, "--set", "train_params.batchsize=3"], "train_params.batchsize", "train_params.batch_size")


def test_config_that_lacks_a_section(fails):
    config = load_config("tiny.yaml")
    for section, mode in (
        ("dataset_params", "train"),
        ("dataset_params", "animate"),
        ("train_params", "train"),
    ):
        Path("less.yaml").write_text(yaml.safe_dump({k: v for k, v in config.items() if k != section}))
        more = [
            "--config",
            "less.yaml",
            "--device",
            "cpu",
            "--mode",
            mode,
            *(CHECKPOINT if mode == "animate" else []),
        ]
        fails(more, f"--mode {mode} needs", section)


def test_options_of_other_modes_are_refused(fails):
    fails([*TRAIN, "--mode", "animate"], "--mode animate needs --checkpoint")
    fails([*TRAIN, "--mode", "train_avd"], "train_avd is not for model: fpb_fomm", "train")
    fails([*TRAIN, "--out", "x"], "--out is for results", "--log_dir")
    fails([*ANIMATE, "--init-from", "model.pth.tar"], "--init-from starts a training")


def test_batch_larger_than_the_data(fails):
    fails([*TRAIN, "--set", "train_params.batch_size=4"], "batch_size is 4", "3 samples", "raise num_repeats")


def test_freezing_nothing(fails):
    text = "train_params.freeze_bn_except=[generator.dense_motion]"
    fails(
        [*TRAIN, "--set", text], "no BatchNorm layer is in 'generator.dense_motion'", "dense_motion_network"
    )


# ------------------------------------------------------------------------------------------ data
def test_missing_and_empty_data(fails):
    for split, arguments in (("train", TRAIN), ("test", ANIMATE), ("test", RECONSTRUCT)):
        os.rename(f"data/{split}", "away")
        fails(arguments, f"data has no folder '{split}'")
        os.mkdir(f"data/{split}")
        fails(arguments, f"no clips in data/{split}", "videos")
        os.rmdir(f"data/{split}")
        os.rename("away", f"data/{split}")
    os.rename("data", "elsewhere")
    fails(TRAIN, "no such folder: data", "prepare.py sample")


def test_clip_without_frames(fails):
    for split in ("train", "test"):
        os.mkdir(f"data/{split}/empty")
        Path(f"data/{split}/empty/Thumbs.db").touch()
    save_keypoints("data/keypoints", "empty", random_keypoints(0))
    settings(train_params={"batch_size": 4})
    fails(TRAIN, "no frames in data/train/empty", started=True)
    more = [*ANIMATE, "--set", "animate_params.num_pairs=6"]
    fails(more, "4 of 6 pairs failed", "no frames in data/test/empty", started=True)
    assert len(list(Path("out").glob("*.mp4"))) == 2, "the other pairs are made"


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_frame(fails, workers):
    """In a loader's worker too, the error is its message, without the worker's traceback."""
    for frame in Path("data/train").rglob("*.png"):
        frame.write_bytes(frame.read_bytes()[:60])
    settings(train_params={"dataloader_workers": workers})
    error = fails(TRAIN, "cannot read data/train/train_", started=True)
    assert len(error.strip().splitlines()) == 1


def test_broken_frame_in_animation(fails):
    frame = Path("data/test/test_1/0000002.png")
    frame.write_bytes(frame.read_bytes()[:60])
    fails(ANIMATE, "1 of 2 pairs failed", "test_1-test_0: cannot read data/test/test_1/0000002.png")
    fails([*RECONSTRUCT, "--out", "out2"], "1 of 2 clips failed", "test_1: cannot read")
    assert Path("out/test_0-test_1.mp4").exists() and Path("out2/test_0.mp4").exists()


def test_frames_of_different_sizes(fails):
    for name in ("train_0", "train_1", "train_2"):
        for index in (1, 3):
            Image.fromarray(moving_frames(0, 1, 48)[0]).save(f"data/train/{name}/000000{index}.png")
    settings(train_params={"num_repeats": 4})
    fails(TRAIN, "frames of data/train/train_", "differ in size", "48×48", "64×64", started=True)


def test_clips_of_different_sizes(fails):
    settings(dataset_params={"frame_shape": None}, train_params={"batch_size": 3})
    add_clip("train", "train_1", moving_frames(0, 3, 48))
    fails(TRAIN, "the frames of a batch differ in size", "of train_1", "frame_shape", started=True)
    add_clip("test", "test_1", moving_frames(0, 3, 48))
    Path("log").rename("old")
    fails(ANIMATE, "2 of 2 pairs failed", "the frames of test_1 and test_0 differ in size", "frame_shape")
    settings(dataset_params={"frame_shape": [64, 64, 3]})
    assert run.main(TRAIN) == 0


def test_sizes_the_networks_cannot_halve(capsys):
    assert run.main([*TRAIN, "--set", "dataset_params.frame_shape=[50, 64, 3]"]) == 2
    error = capsys.readouterr().err
    assert "frames of 64×50 pixels" in error and "multiples of 4" in error and "frame_shape" in error


def test_grey_transparent_and_deep_frames_are_used():
    """Grey, RGBA and 16-bit frames train and animate; the same grey picture gives the same frames in each."""
    grey = moving_frames(0, 5).mean(axis=3).astype(np.uint8)
    pictures = {
        "grey": grey,
        "rgba": np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1),
        "deep": grey.astype(np.uint16) * 257,
    }
    for split in ("train", "test"):
        shutil.rmtree(f"data/{split}")
        for name, frames in pictures.items():
            folder = add_clip(split, name, moving_frames(0, 1))
            for index, frame in enumerate(frames):
                Image.fromarray(frame).save(folder / f"{index:07d}.png")
    assert run.main([*TRAIN, "--set", "train_params.batch_size=3"]) == 0
    assert run.main([*ANIMATE, "--set", "animate_params.num_pairs=6"]) == 0
    results = [open_clip(path).read_all() for path in sorted(Path("out/png").iterdir())]
    assert len(results) == 6
    assert all(np.array_equal(result, results[0]) for result in results)


def test_truncated_video_is_used_as_far_as_it_goes():
    frames = np.concatenate([moving_frames(0, 16)] * 4)
    write_truncated_mp4(Path("data/train/video.mp4"), frames, 25, share=0.6)
    save_keypoints("data/keypoints", "video", random_keypoints(0))
    settings(train_params={"batch_size": 4})
    with pytest.warns(UserWarning, match=r"video\.mp4: truncated"):
        assert run.main(TRAIN) == 0


def test_two_clips_of_one_name(fails):
    Image.fromarray(moving_frames(0, 1)[0]).save("data/train/train_1.png")
    fails(TRAIN, "two clips are called 'train_1'", "Rename")


@pytest.mark.parametrize("damage", ["missing", "similar", "broken", "code"])
def test_unusable_key_points(fails, damage):
    path = Path("data/keypoints/train_1.pt")
    if damage == "similar":  # only names that contain the right one are there
        shutil.copy(path, "data/keypoints/train_10.pt")
        shutil.copy(path, "data/keypoints/x_train_1.pt")
    if damage in ("missing", "similar"):
        path.unlink()
    elif damage == "broken":
        path.write_bytes(path.read_bytes()[:100])
    else:
        torch.save({"points": torch.nn.Linear(1, 1)}, path)
    error = fails(TRAIN, "train_1", "kpmaker.py")
    assert ("refused" in error) == (damage == "code")


# ------------------------------------------------------------------------------------------ checkpoints
def test_missing_checkpoint_is_found_first(fails, monkeypatch):
    """Before data and networks are (pitfall 8)."""
    monkeypatch.setattr("train.train", lambda *args: pytest.fail("training began"))
    monkeypatch.setattr("checkpoint.load_for_inference", lambda *args, **options: pytest.fail("networks were built"))
    for option in ("--checkpoint", "--init-from"):
        fails([*TRAIN, option, "nowhere.pth"], "no such checkpoint: nowhere.pth")
    fails([*TRAIN, "--mode", "animate", "--checkpoint", "nowhere.pth"], "no such checkpoint: nowhere.pth")


@pytest.mark.parametrize(
    "arguments", [[*TRAIN, *CHECKPOINT], ANIMATE, RECONSTRUCT], ids=["train", "animate", "reconstruct"]
)
def test_unusable_checkpoints(fails, arguments, fomm_golden):
    whole = Path("model.pth.tar").read_bytes()
    data = read_checkpoint("model.pth.tar")
    Path("model.pth.tar").write_bytes(whole[: len(whole) // 2])
    fails(arguments, "model.pth.tar is truncated or no checkpoint", "bytes")

    class Evil:
        def __reduce__(self):
            return os.mkdir, ("pwned",)

    torch.save({**data, "generator": Evil()}, "model.pth.tar")
    fails(arguments, "model.pth.tar was refused", "could run code")
    assert not Path("pwned").exists()
    torch.save({n: golden_state(fomm_golden, n) for n in ("generator", "kp_detector")}, "model.pth.tar")
    fails(arguments, "checkpoint of model: fomm", "config is of model: fpb_fomm")
    changed = copy.deepcopy(data)
    changed["generator"]["first.conv.weight"] = torch.zeros(8, 3, 7, 7)
    del changed["kp_detector"]["kp.bias"]
    torch.save(changed, "model.pth.tar")
    shape = "shape: generator.first.conv.weight is [8, 3, 7, 7] in the file, [4, 3, 7, 7] in the config"
    fails(arguments, "nothing was loaded", shape, "missing: kp_detector.kp.bias", "resolved.yaml")


def test_optimizer_of_another_layout_says_what_to_do(fails):
    """The early published detector had more parameters: its optimiser does not fit, its weights do."""
    data = read_checkpoint("model.pth.tar")
    early = torch.nn.ParameterList([torch.zeros(2) for _ in range(99)])
    data["kp_detector"] |= {"conv1.weight": torch.zeros(3, 3, 3, 3)}
    data["optimizer_kp_detector"] = torch.optim.Adam(early).state_dict()
    torch.save(data, "model.pth.tar")
    more = ["--set", "train_params.num_epochs=2"]
    fails([*TRAIN, *CHECKPOINT, *more], "optimizer_kp_detector does not fit the networks", "--init-from")
    assert run.main([*TRAIN, "--init-from", "model.pth.tar"]) == 0


def test_failed_resume_leaves_the_run_folder_alone(fails):
    assert run.main(TRAIN) == 0
    (folder,) = Path("log").iterdir()
    Path("log").rename("kept")
    folder = Path("kept", folder.name)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    last = ["--checkpoint", str(folder / "00000000-checkpoint.pth.tar")]
    fails([*TRAIN, *last], "has all 1 epochs", "raise num_epochs")
    narrower = [
        "--set",
        "model_params.generator_params.block_expansion=2",
        "--set",
        "train_params.num_epochs=2",
    ]
    fails([*TRAIN, *last, *narrower], "nothing was loaded")
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_vgg_that_cannot_be_had(fails, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    settings(train_params={"loss_weights": {"perceptual": [10, 10, 10, 10, 10]}})
    place = str(tmp_path / "hub" / "checkpoints" / VGG_FILE)
    fails(
        TRAIN,
        "VGG-19",
        "Name or service",
        place,
        "train_params.vgg_weights",
        "loss_weights.reconstruction: 10",
    )


# ------------------------------------------------------------------------------------------ pairs and results
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "source,driving\nnobody,test_1\ntest_0,somebody\n",
            ["nobody, somebody", "In the data: test_0, test_1."],
        ),
        ("a,b\n1,2\n", ["pairs.csv", "the columns a, b; needed are source and driving"]),
        ("source,driving,frame\ntest_0,test_1,x\n", ["pairs.csv: frame 'x'", "whole number"]),
        ("source,driving,frame\ntest_0,test_1,9\n", ["frame 9 is outside test_1 (5 frames)"]),
        (None, ["pairs_list: no such file: pairs.csv", "null for random pairs"]),
    ],
)
def test_unusable_pairs(fails, text, parts):
    settings(dataset_params={"pairs_list": "pairs.csv"})
    if text is not None:
        Path("pairs.csv").write_text(text)
    fails(ANIMATE, *parts)


def test_results_of_other_settings(fails):
    assert run.main(ANIMATE) == 0
    before = {p.name: p.read_bytes() for p in Path("out").iterdir() if p.is_file()}
    other = ["--set", "animate_params.fps=50"]
    fails(
        [*ANIMATE, *other], "out holds results made with other settings (fps differ", "--overwrite", "--out"
    )
    assert {p.name: p.read_bytes() for p in Path("out").iterdir() if p.is_file()} == before
    assert run.main([*ANIMATE, *other, "--overwrite"]) == 0
    assert open_clip("out/test_0-test_1.mp4").fps == 50


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.ENOSPC, "disk is full")],
)
def test_output_that_cannot_be_written(fails, monkeypatch, number, reason):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", refuse)
        fails(ANIMATE, "cannot write out/settings.json", reason)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        fails([*TRAIN, "--log_dir", "there"], "cannot write there/tiny", reason)


def test_file_in_the_way_of_the_output(fails):
    fails(
        [*ANIMATE[:-1], "tiny.yaml"], "--out tiny.yaml: a file is where a folder is needed", "choose another"
    )
    fails([*TRAIN, "--log_dir", "tiny.yaml"], "tiny.yaml", "a file is where a folder is needed; choose another")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_full_disk_in_the_middle_of_training(monkeypatch, capsys):
    """The second epoch's checkpoint does not fit: the first one stays, and a later run goes on from it."""
    import checkpoint

    writing = checkpoint.atomic_path
    settings(train_params={"num_epochs": 2})

    @contextlib.contextmanager
    def full(path):
        with writing(path) as temporary:
            if Path(path).name.startswith("00000001"):
                temporary.symlink_to("/dev/full")
            yield temporary

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "atomic_path", full)
        assert run.main(TRAIN) == 2
    error = capsys.readouterr().err
    assert "00000001-checkpoint.pth.tar: the disk is full" in error
    (folder,) = Path("log").iterdir()
    first = folder / "00000000-checkpoint.pth.tar"
    assert not (folder / "00000001-checkpoint.pth.tar").exists()
    assert run.main([*TRAIN, "--checkpoint", str(first)]) == 0
    assert read_checkpoint(folder / "00000001-checkpoint.pth.tar")["epoch"] == 1
