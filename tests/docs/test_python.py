"""The examples of docs/python.md run as they stand there, in a folder with tiny data under the names they use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.sample_clips import sample_clip
from checkpoint import write_checkpoint
from corpora import ClipRecord, write_clips
from media import write_clip, write_frame_folder, write_image
from modules import build_networks
from tests.conftest import ROOT, make_data, training_config
from tests.faces.pictures import portrait

BLOCKS = re.findall(r"\*\*(.+?)\.\*\*.*?```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, landmark_model) -> Path:
    """The files of the examples."""
    root = tmp_path_factory.mktemp("python")
    write_image(root / "face.jpg", portrait("hopper"))
    clip = sample_clip(seed=3, movement="happiness", amplitude_px=6.0, frames=6, head=0.0)
    (root / "photos").mkdir()
    write_image(root / "photos" / "face.jpg", portrait("hopper"))
    (root / "clips").mkdir()
    for name in ("clip.mp4", "result.mp4", "clips/clip.mp4"):
        write_clip(root / name, clip.frames, 100.0)
    write_frame_folder(root / "data" / "samm" / "train" / "smile", clip.frames)
    record = ClipRecord("smile", "train", "samm", "006", "", 200.0, 6, apex_index=2, emotion="happiness")
    write_clips(root / "data" / "samm" / "clips.csv", [record])
    make_data(root / "data" / "mine")
    config = training_config("fpb_fomm", root / "data" / "mine")
    (root / "config").mkdir()
    (root / "config" / "base.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    states = {name: network.state_dict() for name, network in build_networks(config).items()}
    write_checkpoint(root / "model.pth.tar", {**states, "config": config})
    return root


def test_there_are_seven():
    assert len(BLOCKS) == 7


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_example_is_short_and_runs(title, code, folder, monkeypatch, capsys):
    assert len(code.strip().splitlines()) <= 10
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, title, "exec"), names)
    check, value = CHECKS[title]
    assert check(names) == value


def shape(name: str):
    return lambda names: tuple(names[name].shape)


CHECKS = {
    "Animate a face": (lambda names: names["frames"].shape, (6, 600, 512, 3)),
    "Animate folders": (lambda names: [path.name for path in names["page"].parent.glob("*.mp4")], ["clip-face.mp4"]),
    "Find key points": (shape("regions"), (1, 1, 64, 64)),
    "Measure a result": (lambda names: round(names["score"].figures["rho"], 6), 1.0),
    "Read a corpus": (shape("apex"), (256, 256, 3)),
    "Load a checkpoint": (lambda names: len(names["features"]), 1),
    "Train from a dictionary": (lambda names: torch.load(names["checkpoint"])["config"]["train_params"]["seed"], 1),
}
