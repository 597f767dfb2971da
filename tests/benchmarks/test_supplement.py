"""The pictures of sup-mat: every part is made by its name, from the models that lie there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import supplement
from benchmarks.sample_clips import SampleClip, sample_clip
from media import open_clip, read_image


def short_clip() -> SampleClip:
    return sample_clip(seed=77, movement="1+2+12", amplitude_px=6.0, frames=6, head=0.0, variety=0.0)


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """Pictures go into a temporary folder; a clip of six frames keeps them quick to make."""
    monkeypatch.setattr(supplement, "OUT", tmp_path)
    monkeypatch.setattr(supplement, "smile_with_raised_brows", short_clip)
    monkeypatch.setattr(supplement, "STRENGTHS", (0.0, 1.0))
    monkeypatch.setattr(supplement, "SHOWN_REGIONS", ("mouth",))
    return tmp_path


def test_rows_show_what_they_are_called(out):
    supplement.run(supplement.build_parser().parse_args(["amplify", "regions", "--device", "cpu"]))
    for name, columns in (("amplify", 3), ("regions", 3)):
        frames = open_clip(out / f"{name}.gif").read_all()
        width = supplement.WIDTH
        assert frames.shape[2] >= columns * width
        change = np.abs(frames[4].astype(int) - frames[0]).max(-1)
        cells = [change[22 : 22 + width, k * (width + 4) : k * (width + 4) + width] for k in range(columns)]
        if name == "amplify":  # driving, x 0, x 1; the colours of a GIF are few
            assert cells[1].mean() < 0.2 * cells[2].mean()
        else:  # driving, all of it, mouth: the upper half of the face keeps still
            upper, lower = cells[2][: width // 2], cells[2][width // 2 :]
            assert upper.mean() < 0.2 * lower.mean() and cells[1][: width // 2].mean() > 2 * upper.mean()


def test_curves_of_the_motion(out):
    supplement.make_motion(supplement.build_parser().parse_args(["--device", "cpu"]))
    assert read_image(out / "motion.png").shape[1] > 500


def test_curves_and_log_of_a_run_are_taken_over(out, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    options = supplement.build_parser().parse_args(["motion", "--run", str(folder)])
    with pytest.raises(ValueError, match=r"no curves\.png there; expected a run folder"):
        supplement.run(options)
    for name in ("curves.png", "log.txt"):
        (folder / name).write_text(name)
    options.parts = ["nothing"]
    with pytest.raises(ValueError, match=r"no part 'nothing'; legal: demo, table, amplify, regions, motion"):
        supplement.run(options)


def test_errors_are_said(capsys):
    assert supplement.main(["colours"]) == 2
    assert "no part 'colours'" in capsys.readouterr().err
