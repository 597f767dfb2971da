"""Scores in a pairs list: driving clips of their own, with labels and truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animate import animate
from animation.scored import SCORES
from checkpoint import LoadedModel, write_checkpoint
from corpora import ClipRecord, read_clips, write_clips
from faces.tracking import load_track
from frames_dataset import DataError
from media import open_clip
from modules import build_networks
from scores.notation import ScoreError
from tests.conftest import make_data, training_config

CPU = torch.device("cpu")
PAIRS = """driving,source
6+L12E @ 0.1:0.2:0.4,test_0
smile.csv,test_1
test_0,test_1
"""
NAMES = ("6+L12E@0.1-0.2-0.4_test_0", "smile_test_1")


def loaded(family: str, root) -> LoadedModel:
    config = training_config(family, root)
    config["dataset_params"]["pairs_list"] = str(root.parent / "pairs.csv")
    config["animate_params"] |= {"num_pairs": 5, "format": ".png", "fps": 20, "variety": 0}
    config["model_params"]["common_params"]["align_corners"] = True
    if family == "fpb_tracked":  # the source warped by the field
        generator = config["model_params"]["generator_params"]
        generator["blend_source"] = True
        generator["dense_motion_params"].update(locality=0.015, field_bias=12, occlusion_bias=6)
    torch.manual_seed(0)
    networks = build_networks(config)
    for network in networks.values():
        network.eval().requires_grad_(False)
    write_checkpoint(root.parent / "model.pth", {name: network.state_dict() for name, network in networks.items()})
    return LoadedModel(networks, config, family)


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """``scored(family)`` animates the pairs above; returns results by name."""
    monkeypatch.chdir(tmp_path)
    root = make_data(tmp_path / "data")
    records = [ClipRecord(f"test_{i}", "test", "sample", f"person{i}", "", 100.0, 5) for i in (0, 1)]
    write_clips(root / "clips.csv", records)
    (tmp_path / "pairs.csv").write_text(PAIRS)
    (tmp_path / "smile.csv").write_text("unit,intensity,onset,apex,offset\n12,E,0.1,0.2,0.4\n")

    def animated(family: str = "fpb_tracked", **params):
        model = loaded(family, root)
        model.config["animate_params"].update(params)
        found = animate(model, tmp_path / "model.pth", tmp_path / "out", CPU)
        return {result.pair.name: result for result in found}

    return animated


def test_a_score_drives_its_source(scored, tmp_path):
    results = scored()
    assert list(results) == [f"{NAMES[0]}-test_0", f"{NAMES[1]}-test_1", "test_0-test_1"]
    folder = tmp_path / "out" / SCORES
    for name, source in zip(NAMES, ("test_0", "test_1"), strict=True):
        driving, result = open_clip(folder / "test" / name), open_clip(results[f"{name}-{source}"].video).read_all()
        assert len(driving) == len(result) == 11
        truth, track = np.load(folder / "truth" / f"{name}.npz"), load_track(folder / "keypoints", name)
        assert truth["intensity"].max(axis=(1, 2)).argmax() == 4
        assert np.allclose(truth["keypoints"], track.points, atol=1e-3)
        change = np.abs(result.astype(int) - result[0]).mean(axis=(1, 2, 3))
        assert change.argmax() == 4 and change[4] > 5 * change[1]
    rows = {record.clip: record for record in read_clips(folder / "clips.csv")}
    smile = rows[NAMES[0]]
    assert (smile.action_units, smile.subject, smile.fps, smile.apex_index) == ("6+L12E", "person0", 20.0, 4)


def test_clips_of_scores_are_made_once_and_anew_where_they_change(scored, tmp_path):
    scored()
    clips = [tmp_path / "out" / SCORES / "truth" / f"{name}.npz" for name in NAMES]
    before = [clip.stat().st_mtime_ns for clip in clips]
    assert not any(result.made for result in scored().values())
    assert [clip.stat().st_mtime_ns for clip in clips] == before
    (tmp_path / "smile.csv").write_text("unit,intensity,onset,apex,offset\n12,D,0.1,0.2,0.4\n")
    made = {name for name, result in scored().items() if result.made}
    assert made == {f"{NAMES[1]}-test_1"}
    assert [clip.stat().st_mtime_ns == time for clip, time in zip(clips, before, strict=True)] == [True, False]


def test_results_of_scores_are_a_labelled_data_set(scored, tmp_path):
    scored(dataset_out=str(tmp_path / "made"), regions=["mouth"])
    rows = {record.clip: record.action_units for record in read_clips(tmp_path / "made" / "clips.csv")}
    assert rows[f"{NAMES[0]}-test_0"] == "L12E"


def test_other_families_say_what_a_score_needs(scored):
    with pytest.raises(ScoreError, match="a score moves faces through a track, which model: fpb_tracked follows"):
        scored("fpb_fomm")


def test_neither_clip_nor_score(scored, tmp_path):
    (tmp_path / "pairs.csv").write_text("driving,source\nsmile,test_0\n")
    with pytest.raises(DataError, match="names clips that are not in the data: smile. In the data: test_0, test_1"):
        scored()
    (tmp_path / "pairs.csv").write_text("driving,source\n6+99,test_0\n")
    with pytest.raises(ValueError, match="column 3: '99' is no action unit"):
        scored()
    assert not (tmp_path / "out").exists()
