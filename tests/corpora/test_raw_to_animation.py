"""A real clip all the way: raw as SMIC-HS would hold it → prepared → key points → two training steps → animation.

The clip may not be shipped: it is read from ``../shared/real`` beside the checkout, and the test is skipped where that
is absent.
"""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

import kpmaker
import media
import prepare
import run
from corpora import read_clips
from tests.conftest import training_config
from tests.real import REAL, needs_real

pytestmark = needs_real


@pytest.fixture
def raw(tmp_path):
    """The GIF's frames, not zero-padded, as two clips of two subjects, the second one the challenge's."""
    frames = media.open_clip(REAL / "s3_po_05.gif").read_all()
    for name, shown in (("s1_po_01", frames[8:20, :, ::-1]), ("s3_po_05", frames[:14])):
        folder = tmp_path / "SMIC_all_raw" / "HS" / name.split("_")[0] / "micro" / "positive" / name
        folder.mkdir(parents=True)
        for number, frame in enumerate(shown, start=95):
            Image.fromarray(frame).save(folder / f"image{number}.bmp")
    return tmp_path / "SMIC_all_raw"


def test_raw_frames_become_an_animation(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare.main(["smic_hs", "--raw", str(raw), "--out", "data", "--workers", "1"]) == 0
    records = {record.clip: record for record in read_clips("data/clips.csv")}
    assert {name: record.split for name, record in records.items()} == {"s1_po_01": "train", "s3_po_05": "test"}
    written = media.open_clip("data/test/s3_po_05").read_all()
    x0, y0, x1, y1 = records["s3_po_05"].box
    original = media.open_clip(REAL / "s3_po_05.gif").read_all()[:14, y0:y1, x0:x1]
    expected = [media.resize_frame(frame, 256, 256) for frame in original]
    assert np.array_equal(written, expected)  # the same frames in the same order: 95 … 99, 100 …
    assert kpmaker.main(["--root", "data", "--out", "points", "--detector", "dlib"]) == 0
    assert prepare.main(["check", "--root", "data", "--keypoints", "points", "--workers", "1"]) == 0

    config = training_config("fpb_fomm", tmp_path / "data", num_epochs=1, num_repeats=4, batch_size=2)
    config["dataset_params"]["keypoint_folder"] = "points"
    config["dataset_params"]["pairs_list"] = "pairs.csv"
    (tmp_path / "pairs.csv").write_text("distance,source,driving,frame\n0,s3_po_05,s3_po_05,0\n")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert run.main(["--config", "tiny.yaml", "--device", "cpu", "--log_dir", "log"]) == 0
    (checkpoint,) = (tmp_path / "log").glob("*/*-checkpoint.pth.tar")
    animate = ["--config", "tiny.yaml", "--device", "cpu", "--mode", "animate", "--checkpoint", str(checkpoint)]
    assert run.main(animate) == 0
    (result,) = (tmp_path / "log").glob("*/animation/*.mp4")
    clip = media.open_clip(result)
    assert result.stem == "s3_po_05-s3_po_05" and len(clip) == 14
    assert clip.fps == pytest.approx(100.0)  # SMIC-HS's own rate, through clips.csv
