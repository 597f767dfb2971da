"""A run's records: the published ``log.txt``, machine-readable lines, curves, and the training pictures."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from logger import (
    Logger,
    Visualizer,
    background_share,
    checkpoint_path,
    last_checkpoint,
    plot_curves,
    read_lines,
)
from tests.pictures import leftovers

pytestmark = pytest.mark.usefixtures("drawn_curves")
SIZE = (24, 32)
COLUMNS = 7  # source, driving, transformed frame, deformed, prediction, occlusion map, masks


@pytest.fixture
def log(tmp_path):
    logger = Logger(tmp_path, {"kp_size": 3})
    yield logger
    logger.close()


def batch_and_outputs(items: int = 2) -> tuple[dict, dict]:
    """A black batch with a grey prediction; the key points are at (8, 6) and (24, 18) pixels."""
    black = torch.zeros(items, 3, *SIZE)
    points = 2 * torch.tensor([[8.0, 6.0], [24.0, 18.0]]) / torch.tensor([SIZE[1], SIZE[0]]) - 1
    kp = {"value": points.expand(items, 2, 2)}
    mask = torch.zeros(items, 3, 6, 8)
    mask[:, 0, :, :4], mask[:, 1, :, 4:] = 1, 1  # background on the left, the first motion on the right
    outputs = {
        "kp_source": kp, "kp_driving": kp, "transformed_kp": kp,
        "transformed_frame": black, "deformed": black + 0.25, "prediction": black + 0.5,
        "occlusion_map": torch.ones(items, 1, 6, 8), "mask": mask,
    }  # fmt: skip
    return {"source": black, "driving": black}, outputs


def cells(picture: np.ndarray, row: int = 0) -> list[np.ndarray]:
    height, width = SIZE
    line = picture[row * height : (row + 1) * height]
    return [line[:, i * width : (i + 1) * width] for i in range(line.shape[1] // width)]


# ------------------------------------------------------------------------------------------ records
def test_log_txt_as_published(log, tmp_path):
    log.log_epoch(2, {"perceptual": 1.5, "gen_gan": 0.25})
    line = log.log_epoch(3, {"perceptual": 12.345678, "gen_gan": 1e-7})
    assert line == "00000003) perceptual - 12.34568; gen_gan - 0.00000"
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines == ["00000002) perceptual - 1.50000; gen_gan - 0.25000", line]
    assert read_lines(tmp_path / "epochs.jsonl")[1] == {"epoch": 3, "perceptual": 12.345678, "gen_gan": 1e-7}


def test_steps_are_json_lines_and_tensorboard(log, tmp_path):
    for step in range(3):
        log.log_step(step, 0, {"gen_gan": step / 2})
    log.log_epoch(0, {"gen_gan": 0.5})
    rows = read_lines(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["epoch"], row["gen_gan"]) for row in rows] == [
        (0, 0, 0.0),
        (1, 0, 0.5),
        (2, 0, 1.0),
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(s.step, s.value) for s in board.Scalars("step/gen_gan")] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert [(s.step, s.value) for s in board.Scalars("epoch/gen_gan")] == [(0, 0.5)]


def test_a_folder_is_continued(tmp_path):
    for epoch in range(2):
        logger = Logger(tmp_path, {})
        logger.log_epoch(epoch, {"a": 1.0})
        logger.close()
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_a_resumed_run_writes_its_last_steps_once(tmp_path):
    """What came after the checkpoint that it goes on from is cut off, with a line that a kill cut short."""
    logger = Logger(tmp_path, {})
    for step in range(6):
        logger.log_step(step, step // 2, {"loss": 0.5})
        if step % 2:
            logger.log_epoch(step // 2, {"loss": 0.5})
            logger.log_validation(step, step // 2, {"val_skill": 0.1}, {}, {}, best=False)
    logger.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "epo')
    logger = Logger(tmp_path, {}, step=4, epoch=2)
    logger.log_step(4, 2, {"loss": 0.25})
    logger.close()
    assert [row["step"] for row in read_lines(tmp_path / "metrics.jsonl") if "loss" in row] == [0, 1, 2, 3, 4]
    assert [row["epoch"] for row in read_lines(tmp_path / "epochs.jsonl")] == [0, 1]
    assert [row["step"] for row in read_lines(tmp_path / "validation.jsonl")] == [1, 3]
    assert [line[:9] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["00000000)", "00000001)"]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("step/loss")] == [0, 1, 2, 3, 4]


def test_lines_cut_short_are_left_out(tmp_path):
    """A kill or a full disk in the middle of a line must not keep a run from going on."""
    path = tmp_path / "epochs.jsonl"
    path.write_text(
        '{"epoch": 0, "a": 1.0}\n{"epoch": 1, "a"{"epoch": 1, "a": 2.0}\n{"epoch": 2, "a": 3.0}\n{"epo'
    )
    assert [row["epoch"] for row in read_lines(path)] == [0, 2]
    assert read_lines(tmp_path / "nowhere.jsonl") == []
    plot_curves(path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


def test_curves_have_a_panel_a_value(tmp_path, monkeypatch):
    """And an epoch that was trained again, after a kill, is drawn once, with its last value."""
    import logger

    drawn: dict[str, list] = {}
    plot = logger.plt.Axes.plot

    def watch(axis, x, y, **options):
        drawn[len(drawn)] = list(zip(x, y, strict=True))
        return plot(axis, x, y, **options)

    monkeypatch.setattr(logger.plt.Axes, "plot", watch)
    rows = [{"epoch": 0, "a": 1, "b": 5}, {"epoch": 1, "a": 2}, {"epoch": 2, "a": 9}, {"epoch": 1, "a": 3}]
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plot_curves(tmp_path / "e.jsonl", tmp_path / "c.png")
    assert list(drawn.values()) == [[(0, 1), (1, 3), (2, 9)], [(0, 5)]]
    assert np.asarray(Image.open(tmp_path / "c.png").convert("RGB")).std() > 5
    assert leftovers(tmp_path) == ["c.png", "e.jsonl"]
    (tmp_path / "empty.jsonl").touch()
    plot_curves(tmp_path / "empty.jsonl", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_checkpoint_names(tmp_path):
    assert checkpoint_path(tmp_path, 3).name == "00000003-checkpoint.pth.tar"
    assert last_checkpoint(tmp_path) is None
    for epoch in (9, 10, 100):
        checkpoint_path(tmp_path, epoch).touch()
    (tmp_path / "interrupted-checkpoint.pth.tar").touch()
    assert last_checkpoint(tmp_path) == checkpoint_path(tmp_path, 100)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_record_that_cannot_be_written_is_named(log, tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write .*metrics\.jsonl: the disk is full"):
        log.log_step(0, 0, {"a": 1.0})


# ------------------------------------------------------------------------------------------ pictures
def test_pictures_are_a_row_an_item(log, tmp_path):
    batch, outputs = batch_and_outputs(3)
    log.log_pictures(3, batch, outputs)
    picture = np.asarray(Image.open(tmp_path / "train-vis" / "00000003-rec.png"))
    assert picture.shape == (3 * SIZE[0], COLUMNS * SIZE[1], 3)


def test_cells_show_what_they_should():
    batch, outputs = batch_and_outputs()
    visualizer = Visualizer(kp_size=3, draw_border=False)
    source, driving, transformed, deformed, prediction, occlusion, masks = cells(
        visualizer.visualize(batch, outputs)
    )
    for cell in (source, driving, transformed):
        for color, (x, y) in zip(visualizer.colors(2), ((8, 6), (24, 18)), strict=True):
            assert np.abs(cell[y, x] - 255 * color).max() <= 1
        assert (cell.max(axis=2) > 0).sum() < 60, "dots, and black around them"
    assert (deformed == 64).all() and (prediction == 128).all() and (occlusion == 255).all()
    assert (masks[:, :14] == 255).all(), "the background is white"
    assert np.abs(masks[:, 18:] - 255 * visualizer.colors(2)[0]).max() <= 1


def test_borders_are_drawn_on_all_four_sides():
    """Released: columns twice, rows never (pitfall 75)."""
    picture = Visualizer(draw_border=True).visualize(*batch_and_outputs())
    for row in (0, 1):
        for cell in cells(picture, row):
            for line in (cell[0], cell[-1], cell[:, 0], cell[:, -1]):
                assert (line == 255).all()
    assert not (cells(Visualizer(draw_border=False).visualize(*batch_and_outputs()))[0][0] == 255).any()


def test_only_what_was_generated_is_drawn():
    batch, outputs = batch_and_outputs()
    picture = Visualizer().visualize(batch, {"prediction": outputs["prediction"]})
    assert picture.shape == (2 * SIZE[0], 3 * SIZE[1], 3)
    many = {name: value.repeat(6, 1, 1, 1) for name, value in batch.items()}
    picture = Visualizer().visualize(many, {"prediction": outputs["prediction"].repeat(6, 1, 1, 1)}, limit=4)
    assert picture.shape[0] == 4 * SIZE[0]


def test_unknown_colormap_is_named():
    with pytest.raises(ValueError, match=r"visualizer_params\.colormap is 'rainbow9'.*gist_rainbow"):
        Visualizer(colormap="rainbow9")


def test_background_share():
    _, outputs = batch_and_outputs()
    assert float(background_share(outputs)) == pytest.approx(0.5)
    assert background_share({"prediction": outputs["prediction"]}) is None
