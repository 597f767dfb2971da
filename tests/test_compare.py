"""The comparison: every column is animated and shown in step, frame by frame, lossless; what cannot be had is named."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import run
from checkpoint import load_for_inference, read_checkpoint, write_checkpoint
from compare import ComparisonError, compare, folder_name, how_slow
from frames_dataset import DataError
from media import gif_rate, open_clip, write_frame_folder
from media.side_by_side import CAPTION_HEIGHT
from modules import build_networks
from settings import ConfigError, load_comparison, load_config
from tests.browser import open_page, programs
from tests.conftest import FRAME_SIZE, ROOT, make_data, moving_frames, tiny_config
from tests.pages.parser import HOSTILE, read_page

CPU = torch.device("cpu")
FAMILIES = ("fomm", "mraa", "fpb_fomm")


def write_column(folder: Path, family: str, root: Path) -> dict:
    """An untrained model of a family with its config, as a column of a comparison."""
    torch.manual_seed(0)
    config = tiny_config(family)
    config["dataset_params"] = {"root_dir": "elsewhere", "frame_shape": [FRAME_SIZE, FRAME_SIZE, 3]}
    if family == "mraa":
        config["animate_params"] = {"mode": "relative"}
    (folder / f"{family}.yaml").write_text(yaml.safe_dump(config))
    states = {name: network.state_dict() for name, network in build_networks(config).items()}
    write_checkpoint(folder / f"{family}.pth.tar", states)
    return {"name": family, "config": str(folder / f"{family}.yaml"), "checkpoint": str(folder / f"{family}.pth.tar")}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, dict]:
    """A folder with data, three models and a truth of one pair, and the settings that compare them."""
    folder = tmp_path_factory.mktemp("comparison")
    root = make_data(folder / "data", train=0, test=3)
    write_frame_folder(root / "test" / "test_2", moving_frames(7, 8))  # longer than the others
    write_frame_folder(folder / "truth" / "test_0-test_1", moving_frames(101))
    settings = {
        "title": "Three models",
        "dataset_params": {
            "root_dir": str(root), "keypoint_folder": str(root / "keypoints"),
            "frame_shape": [FRAME_SIZE, FRAME_SIZE, 3],
        },
        "truth": str(folder / "truth"),
        "columns": [write_column(folder, family, root) for family in FAMILIES],
        "rows": [{"driving": "test_0", "source": "test_1"}, {"driving": "test_2", "source": "test_0"}],
    }  # fmt: skip
    return folder, settings


def load(folder: Path, settings: dict, **changes) -> dict:
    (folder / "compare.yaml").write_text(yaml.safe_dump({**settings, **changes}))
    return load_comparison(folder / "compare.yaml")


@pytest.fixture(scope="module")
def made(world) -> Path:
    folder, settings = world
    return compare(load(folder, settings), folder / "out", CPU)


def sheets(page: Path) -> list[np.ndarray]:
    """The frames embedded in a page, one array (N, H, W, 3) a clip, in order."""
    clips = []
    for width, height, columns, source, times in re.findall(
        r'<canvas width=(\d+) height=(\d+) data-columns=(\d+)\sdata-sheet="data:image/png;base64,([^"]+)" '
        r'data-times="\[([^\]]*)\]"',
        page.read_text(),
    ):
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
        width, height, columns = int(width), int(height), int(columns)
        count = len(times.split(","))
        places = [(index // columns * height, index % columns * width) for index in range(count)]
        clips.append(np.stack([sheet[y : y + height, x : x + width] for y, x in places]))
    return clips


def test_page_holds_every_frame_of_every_column_unchanged(world, made):
    folder, settings = world
    clips = sheets(made)
    root, size = Path(settings["dataset_params"]["root_dir"]), (FRAME_SIZE, FRAME_SIZE)
    expected = []
    for driving, source in (("test_0", "test_1"), ("test_2", "test_0")):
        expected.append(open_clip(root / "test" / driving).read_all())
        strips = [made.parent / family / "png" / f"{driving}-{source}" for family in FAMILIES]
        expected += [open_clip(strip, size).read_all() for strip in strips]
        if driving == "test_0":  # the only pair with a known truth
            expected.append(open_clip(folder / "truth" / "test_0-test_1").read_all())
    assert len(clips) == len(expected) == 9
    for clip, other in zip(clips, expected, strict=True):
        assert np.array_equal(clip, other)


def test_page_needs_no_network(made):
    text = made.read_text()
    assert not re.search(r"(src|href)=[\"']?(?!data:)\w", text)
    assert "http" not in text
    headings = re.findall(r"<figcaption><b>(\w+)</b><br><span class=slow>", text)
    assert headings == ["driving", *FAMILIES, "truth", "driving", *FAMILIES]


def test_hostile_names_are_shown_as_they_are(world, tmp_path):
    folder, settings = world
    write_frame_folder(tmp_path / "data" / "test" / HOSTILE, moving_frames(1))
    page = compare(
        load(
            folder, settings, title=HOSTILE, truth=None, columns=[{**settings["columns"][0], "name": HOSTILE}],
            dataset_params={**settings["dataset_params"], "root_dir": str(tmp_path / "data")},
            rows=[{"driving": HOSTILE, "source": HOSTILE}],
        ),
        tmp_path / "out",
        CPU,
    )  # fmt: skip
    found = read_page(page)
    assert ("section", "id", f"{HOSTILE}-{HOSTILE}") in found.attributes
    assert found.texts.count(HOSTILE) == 4  # title, heading, table, caption
    assert f"{HOSTILE} → {HOSTILE}" in found.texts
    assert "unexpected" not in found.tags


def test_a_gif_a_row(world, made):
    folder, _ = world
    clip = open_clip(folder / "out" / "test_2-test_0.gif")
    width, lines = 160, 3  # heading, slow-down, heading of the change; and a line at the foot
    assert clip.first().shape[0] == 2 * width + lines * CAPTION_HEIGHT + CAPTION_HEIGHT
    assert clip.first().shape[1] == 4 * width + 3 * 4
    assert len(clip) == 8
    assert clip.fps == pytest.approx(gif_rate(100 / 4))
    assert (folder / "out" / "test_0-test_1.gif").is_file()


def test_the_slow_down_is_the_real_one():
    assert how_slow(1) == "true speed"
    assert how_slow(100 / gif_rate(100)) == "2 times slower"  # a GIF cannot play 100 frames a second
    assert how_slow(200 / gif_rate(200 / 4)) == "4 times slower"


def test_only_what_is_missing_is_animated(world, made):
    folder, settings = world
    out = folder / "out"
    (out / "fomm" / "test_0-test_1.mp4").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    compare(load(folder, settings), out, CPU)
    assert (out / "fomm" / "test_0-test_1.mp4").is_file()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_column_of_another_size_is_shown_at_the_tables(world, tmp_path):
    folder, settings = world
    column = {**settings["columns"][0], "set": ["dataset_params.frame_shape=[32, 32, 3]"]}
    page = compare(load(folder, settings, columns=[column]), tmp_path / "out", CPU)
    assert all(clip.shape[1:3] == (FRAME_SIZE, FRAME_SIZE) for clip in sheets(page))
    assert "32×32" in page.read_text()


def test_the_shipped_comparison_is_whole(monkeypatch):
    """Each column's checkpoint is there and fits its config; the three that are compared saw as many steps."""
    monkeypatch.chdir(ROOT)
    settings = load_comparison("config/compare.yaml")
    steps = {}
    for column in settings["columns"]:
        config = load_config(column["config"], column.get("set"))
        model = load_for_inference(column["checkpoint"], config, CPU)
        steps[model.family] = read_checkpoint(column["checkpoint"])["step"]
    assert {"fomm", "mraa", "fpb_fomm"} <= set(steps)
    assert steps["fomm"] == steps["mraa"] == steps["fpb_fomm"] > 0


# ------------------------------------------------------------------------------------------ bad input
def test_a_column_without_a_checkpoint_is_named(world, tmp_path):
    folder, settings = world
    columns = [settings["columns"][0], {**settings["columns"][1], "checkpoint": "nowhere.pth.tar"}]
    with pytest.raises(ComparisonError, match=r"column mraa: no such checkpoint: nowhere\.pth\.tar.*run\.py --config"):
        compare(load(folder, settings, columns=columns), tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists(), "columns are checked before anything is made"
    del columns[1]["checkpoint"]
    with pytest.raises(ConfigError, match=r"columns\[1\] \(mraa\) has no checkpoint"):
        load(folder, settings, columns=columns)


def test_a_checkpoint_of_another_family_names_column_and_families(world, tmp_path):
    folder, settings = world
    column = {**settings["columns"][0], "checkpoint": settings["columns"][1]["checkpoint"]}
    with pytest.raises(ComparisonError, match=r"column fomm: .*model: mraa.*model: fomm"):
        compare(load(folder, settings, columns=[column]), tmp_path / "out", CPU)


def test_a_column_that_cannot_be_animated_is_named(world, tmp_path):
    folder, settings = world
    column = {**settings["columns"][1], "set": ["animate_params.mode=avd"]}
    states = torch.load(column["checkpoint"], weights_only=True)
    del states["avd_network"]
    write_checkpoint(tmp_path / "regions.pth.tar", states)
    column["checkpoint"] = str(tmp_path / "regions.pth.tar")
    with pytest.raises(ComparisonError, match="column mraa: .*mode: avd needs the network avd_network"):
        compare(load(folder, settings, columns=[column]), tmp_path / "out", CPU)
    column["set"] = ["animate_params.mod=avd"]
    with pytest.raises(ComparisonError, match="column mraa: unknown key animate_params.mod"):
        compare(load(folder, settings, columns=[column]), tmp_path / "out", CPU)


def test_a_changed_checkpoint_is_not_mixed_with_older_results(world, tmp_path):
    folder, settings = world
    column = settings["columns"][0]
    compare(load(folder, settings, columns=[column]), tmp_path / "out", CPU)
    torch.manual_seed(1)
    states = {name: network.state_dict() for name, network in build_networks(tiny_config("fomm")).items()}
    write_checkpoint(tmp_path / "other.pth.tar", states)
    changed = load(folder, settings, columns=[{**column, "checkpoint": str(tmp_path / "other.pth.tar")}])
    with pytest.raises(ComparisonError, match=r"column fomm: .*checkpoint differ.*--overwrite"):
        compare(changed, tmp_path / "out", CPU)
    compare(changed, tmp_path / "out", CPU, overwrite=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colums": []}, r"unknown key colums\. Nearest known key: columns"),
        ({"columns": []}, r"columns is \[\]; legal: a list of columns"),
        ({"columns": None}, r"columns"),
        ({"columns": ["fomm"]}, r"columns\[0\] is 'fomm'; legal: a section with name, config, checkpoint"),
        ({"rows": [{"driving": "a"}]}, r"rows\[0\] has no source"),
        ({"rows": [{"driving": "a", "source": "b", "sorce": "c"}]}, r"unknown key rows\[0\]\.sorce.*source"),
        ({"slow_down": 0}, r"slow_down is 0; legal: a number above 0"),
        ({"dataset_params": {"frame_shape": None}}, r"dataset_params\.root_dir is missing"),
    ],
)
def test_an_illegal_file_is_refused(world, changes, message):
    with pytest.raises(ConfigError, match=message):
        load(*world, **changes)


def test_names_that_would_mix_results(world, tmp_path):
    folder, settings = world
    one, other = settings["columns"][:2]
    with pytest.raises(ConfigError, match="two columns are called 'fomm'"):
        load(folder, settings, columns=[one, {**other, "name": "fomm"}])
    with pytest.raises(ComparisonError, match="cannot be called 'Truth'"):
        compare(load(folder, settings, columns=[{**one, "name": "Truth"}]), tmp_path, CPU)
    assert folder_name("FOMM (VoxCeleb)") == folder_name("FOMM [VoxCeleb]") == "FOMM_VoxCeleb"
    columns = [{**one, "name": "FOMM (VoxCeleb)"}, {**other, "name": "FOMM [VoxCeleb]"}]
    with pytest.raises(ComparisonError, match=r"column FOMM \[VoxCeleb\]: its results would lie in"):
        compare(load(folder, settings, columns=columns), tmp_path, CPU)


def test_unknown_clips_are_named(world, tmp_path):
    folder, settings = world
    rows = [{"driving": "test_0", "source": "nobody"}]
    with pytest.raises(DataError, match="nobody.*In the data: test_0, test_1, test_2"):
        compare(load(folder, settings, rows=rows), tmp_path, CPU)
    with pytest.raises(DataError, match="truth: no such folder"):
        compare(load(folder, settings, truth=str(tmp_path / "none")), tmp_path, CPU)


def test_command_line(world, tmp_path, capsys):
    folder, settings = world
    load(folder, settings, columns=settings["columns"][:1], rows=settings["rows"][:1])
    command = ["--mode", "compare", "--config", str(folder / "compare.yaml"), "--device", "cpu"]
    assert run.main([*command, "--out", str(tmp_path / "out"), "--set", "slow_down=8"]) == 0
    assert f"table: {tmp_path / 'out' / 'index.html'}" in capsys.readouterr().out
    assert open_clip(tmp_path / "out" / "test_0-test_1.gif").fps == pytest.approx(gif_rate(100 / 8))
    for flag in ("--checkpoint", "--init-from"):
        assert run.main([*command, flag, "a.pth.tar"]) == 2
        assert f"{flag}: --mode compare takes a checkpoint a column" in capsys.readouterr().err
    assert run.main(["--mode", "compare", "--config", "nowhere.yaml"]) == 2
    assert "no such config: nowhere.yaml" in capsys.readouterr().err
    assert run.main(["--mode", "compare"]) == 2
    assert "--mode compare needs --config" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ in a browser
SHOWN = "[...document.querySelectorAll('canvas')].map((canvas) => Number(canvas.dataset.shown))"
PIXELS = (
    "[...document.querySelectorAll('canvas')].map((canvas) => [...canvas.getContext('2d')"
    ".getImageData(20, 30, 1, 1).data].slice(0, 3))"
)


def speed(value: str) -> str:
    field = "document.getElementById('speed')"
    return f"({field}.value = '{value}', {field}.dispatchEvent(new Event('change')))"


def click(name: str, then: str) -> str:
    return f"(document.getElementById('{name}').click(), {then})"


@pytest.mark.skipif(programs() is None, reason="no Chromium")
def test_the_page_plays_in_step_and_steps_by_one_frame(made, tmp_path):
    slow = "[...document.querySelectorAll('.slow')].map((place) => place.textContent)"
    scripts = [
        (1000, f"{speed('0.1')} && {SHOWN}"),  # ten frames a second
        (300, SHOWN),
        (0, click("forward", SHOWN)),
        (0, click("forward", SHOWN)),
        (0, click("back", SHOWN)),
        (0, PIXELS),
        (0, click("difference", PIXELS)),
        (0, slow),
        (0, f"{speed('1')} && {slow}"),
        (300, SHOWN),
    ]
    answers, console = open_page(made, tmp_path / "page.png", scripts)
    early, later, one, two, back, plain, changed, before, after, end = answers
    assert console == []
    counts = [5] * 5 + [8] * 4  # the shorter row holds its last frame until the longer one ends
    lengths = np.array(counts)

    def at(frame: int) -> list[int]:
        return np.minimum(frame, lengths - 1).tolist()

    for moment in (early, later):
        assert moment in [at(frame) for frame in range(8)]
    assert early != later, "it does not play"
    start = next(frame for frame in range(8) if one == at(frame) and two == at((frame + 1) % 8))
    assert back == one == end, "it goes on after a step"
    frames = [clip[min(start, len(clip) - 1)] for clip in sheets(made)]
    assert plain == [frame[30, 20].tolist() for frame in frames]
    magnified = [
        np.clip(128 + 8 * (frame[30, 20].astype(int) - clip[0, 30, 20]), 0, 255).tolist()
        for frame, clip in zip(frames, sheets(made), strict=True)
    ]
    assert changed == magnified
    assert set(before) == {"10 times slower"}
    assert set(after) == {"true speed"}
    assert len(before) == len(counts)
    assert np.asarray(Image.open(tmp_path / "page.png")).std() > 1
