"""`evaluate`: folders of results in, tables and a report out; bad input named pair by pair."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import media
import run
from benchmarks.sample_clips import SampleClip, sample_clip
from corpora import ClipRecord, write_clips
from evaluate import Evaluation, evaluate, named_folders, score_pair
from evaluation.pair_scorer import _read
from evaluation.pairs import EvaluationError, Pair, find_pairs, listed_rates
from evaluation.tables import FAILED, SCORED, UNRELIABLE, Row, compare, summarise
from evaluation.workers import chunks, default_workers
from faces import DetectorUnavailable
from media.ownership import MARKER
from metrics.canonical import MetricError

from .browser import open_page, programs

FRAMES = 12

pytestmark = pytest.mark.usefixtures("landmark_model")


def clip(**changes: object) -> SampleClip:
    settings = {"seed": 1, "movement": "happiness", "amplitude_px": 3.0, "frames": FRAMES, "identity": "collins"}
    return sample_clip(**{**settings, "noise": 0.5, **changes})


@pytest.fixture(scope="module")
def smile() -> SampleClip:
    return clip()


@pytest.fixture(scope="module")
def truth() -> SampleClip:
    """The same movement on the other face."""
    return clip(identity="hopper")


def strip(frames: np.ndarray) -> np.ndarray:
    return np.concatenate(list(frames), axis=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, smile, truth) -> Path:
    """Driving clips as folders and a GIF, two methods' results, sources and truth."""
    root = tmp_path_factory.mktemp("folders")
    surprise = clip(movement="surprise", seed=4)
    media.write_frame_folder(root / "driving" / "smile", smile.frames)
    media.write_frame_folder(root / "driving" / "surprise", surprise.frames)
    media.write_frame_folder(root / "sources" / "hopper", truth.frames[:1])
    media.write_image(root / "good" / "png" / "smile-hopper.png", strip(truth.frames))
    media.write_clip(root / "good" / "smile-hopper.mp4", truth.frames, 100.0)
    wrong = clip(identity="hopper", movement="surprise", seed=4)
    media.write_clip(root / "good" / "surprise-hopper.gif", wrong.frames, 50.0)
    media.write_frame_folder(root / "poor" / "smile-hopper", wrong.frames)
    media.write_frame_folder(root / "poor" / "surprise-hopper", truth.frames[:, :200])
    media.write_frame_folder(root / "truth" / "smile-hopper", truth.frames)
    return root


@pytest.fixture(scope="module")
def result(folders) -> Evaluation:
    methods = {"good": folders / "good", "poor": folders / "poor"}
    return evaluate(
        folders / "driving", folders / "out", methods, truth_dir=folders / "truth", identity=False, workers=2,
    )  # fmt: skip


def test_every_result_and_yardstick_gets_a_row(result):
    expected = {(p, m) for p in ("surprise-hopper", "smile-hopper") for m in ("good", "poor", "still", "warp")}
    assert {(row.pair, row.method) for row in result.rows} == expected
    assert len(result.rows) == 8
    assert not result.failures
    figures = {(row.pair, row.method): row.figures for row in result.rows}
    good, poor = figures["smile-hopper", "good"], figures["smile-hopper", "poor"]
    assert good["rho"] > 0.8 > poor["rho"] + 0.3  # poor shows another expression
    assert figures["smile-hopper", "still"]["skill"] == 0.0
    assert figures["smile-hopper", "warp"]["rho"] > 0.9
    assert good["sharp"] == pytest.approx(1.0, abs=0.1)


def test_the_truth_adds_its_figures_beside_both_yardsticks(result):
    figures = {row.method: row.figures for row in result.rows if row.pair == "smile-hopper"}
    good = figures["good"]
    assert good["truth_rho"] == pytest.approx(1.0)
    assert good["psnr"] == pytest.approx(58.92, abs=0.01)
    assert good["epe_px"] == good["akd_px"] == 0.0
    assert 0 < good["akd_jitter_px"] < 2.0
    for name in ("psnr_moving", "ssim_moving"):
        assert good[name] > figures["warp"][name] > figures["still"][name]
    assert figures["still"]["epe_px"] > figures["warp"]["epe_px"] > 0
    other = next(row for row in result.rows if row.pair == "surprise-hopper" and row.method == "good")
    assert "no true result" in other.problem and "psnr" not in other.figures


def test_table_and_summary_on_disk_agree_with_what_was_returned(result):
    with (result.out_dir / "evaluation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.rows)
    assert float(rows[0]["rho"]) == pytest.approx(result.rows[0].figures["rho"], abs=1e-4)
    content = json.loads((result.out_dir / "evaluation.json").read_text(encoding="utf-8"))
    assert set(content["methods"]) == {"good", "poor", "still", "warp"}
    mean = content["methods"]["good"]["rho"]
    assert mean["count"] == 2
    assert mean["mean"] == pytest.approx(result.summary["good"]["rho"].mean)
    assert mean["low"] <= mean["mean"] <= mean["high"]
    assert {"fid", "lpips"} == set(content["absent"])
    assert content["settings"]["versions"]["opencv"]
    assert [item["figure"] for item in content["comparisons"]] == ["rho", "vcor", "skill"]


def test_the_report_is_one_file_that_needs_nothing_else(result):
    text = (result.out_dir / "report.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in result.out_dir.iterdir()) == [
        MARKER, "evaluation.csv", "evaluation.json", "report.html",
    ]  # fmt: skip
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    pictures = re.findall(r'(?:src|data-sheet)="data:image/webp;base64,([^"]+)"', text)
    assert len(pictures) == 2 * 11  # a sheet and a map: driving, truth (one pair), four methods, for two pairs
    assert len(re.findall(r"(?:src|data-sheet)=", text)) == 22 + 2
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    assert sheet.shape == (2 * 144, 10 * 144, 3) and sheet[:144].std() > 20  # 12 frames in rows of ten
    assert text.count("<section class=pair") == 2
    assert text.count("data:image/svg+xml") == 2


def test_tables_of_the_report_are_sorted_by_skill(result):
    text = (result.out_dir / "report.html").read_text(encoding="utf-8")
    table = text[text.index("<h2>Pairs") :]
    skills = [row.figures["skill"] for row in sorted(result.rows, key=lambda row: -row.figures["skill"])]
    shown = [float(value) for value in re.findall(r"<td class=text>\w+</td><td>(-?[\d.]+)</td>", table)]
    assert shown == [pytest.approx(skill, abs=0.006) for skill in skills]
    best = {row.pair: row.figures["skill"] for row in result.rows if row.method == "good"}
    sections = re.findall(r'<section class=pair id="([^"]+)"', text)
    assert sections == sorted(best, key=best.get, reverse=True)


def test_pictures_of_a_very_large_report_stay_beside_it(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.report.EMBEDDED_BYTES", 1000)
    (tmp_path / "pairs.csv").write_text("driving,source\nsmile,hopper\n")
    evaluate(
        folders / "driving", tmp_path / "out", {"good": folders / "good"}, tmp_path / "pairs.csv", identity=False,
        yardsticks=(),
    )  # fmt: skip
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    files = re.findall(r'(?:src|data-sheet)="([^":]+)"', text)
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "out" / unquote(name)).is_file(), name


@pytest.mark.skipif(programs() is None, reason="no Chromium with its driver on PATH")
def test_the_report_plays_in_chromium_without_a_console_error(result, tmp_path):
    position = "document.getElementById('position').textContent"
    answers, console = open_page(
        result.out_dir / "report.html",
        tmp_path / "page.png",
        [
            (0, "document.querySelector('.pair').scrollIntoView()"),
            (1500, "document.getElementById('play').click()"),
            (200, position),
            (100, "document.getElementById('forward').click()"),
            (100, position),
            (0, "document.querySelectorAll('canvas').length"),
        ],
    )
    assert not console
    before, after = (int(re.search(r"frame (\d+)", answers[i])[1]) for i in (2, 4))
    assert after == (before + 1) % FRAMES
    assert answers[5] == 11
    picture = media.read_image(tmp_path / "page.png")
    assert picture.std() > 20


def test_yardsticks_alone_are_results_in_themselves(folders, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("distance,source,driving,frame\n0.1,hopper,smile,0\n")
    found = evaluate(
        folders / "driving", tmp_path / "out", pairs=pairs, source_dir=folders / "sources",
        yardsticks=("warp", "still"), identity=False,
    )  # fmt: skip
    assert {row.method: row.status for row in found.rows} == {"warp": SCORED, "still": SCORED}
    clips = {name: media.open_clip(tmp_path / "out" / name / "smile-hopper").read_all() for name in ("warp", "still")}
    assert clips["warp"].shape == clips["still"].shape == (FRAMES, 256, 256, 3)
    assert np.array_equal(clips["warp"][0], clips["still"][0])
    assert not np.array_equal(clips["warp"][6], clips["still"][6])
    assert "id_drift" not in found.rows[0].figures


def test_bad_pairs_are_named_and_the_others_scored(folders, smile, truth, tmp_path):
    rng = np.random.default_rng(0)
    driving, results = tmp_path / "driving", tmp_path / "results"
    media.write_frame_folder(driving / "smile", smile.frames)
    media.write_frame_folder(driving / "rest", np.repeat(smile.frames[:1], 5, axis=0))
    media.write_frame_folder(driving / "noise", rng.integers(0, 255, (5, 96, 96, 3), np.uint8))
    media.write_frame_folder(results / "smile-hopper", truth.frames)
    media.write_frame_folder(results / "smile-one", truth.frames[:1])
    media.write_frame_folder(results / "smile-blank", np.zeros((FRAMES, 64, 64, 3), np.uint8))
    media.write_frame_folder(results / "rest-hopper", truth.frames)
    media.write_frame_folder(results / "noise-hopper", truth.frames)
    (results / "smile-broken.mp4").write_bytes(b"not a video")
    (results / "smile-empty").mkdir()
    media.write_frame_folder(results / "stranger-hopper", truth.frames)
    found = evaluate(driving, tmp_path / "out", {"m": results}, yardsticks=(), identity=False)
    problems = {row.pair: row.problem for row in found.rows}
    assert {row.pair for row in found.rows if row.status == SCORED} == {"smile-hopper"}
    for pair, words in {
        "smile-one": ("one frame", "give a clip"),
        "smile-blank": ("no face found", "upright"),
        "rest-hopper": ("rest", "only one distinct"),
        "noise-hopper": ("driving clip", "no face found"),
        "smile-broken": ("smile-broken.mp4", "cannot read"),
        "smile-empty": ("no frames in",),
        "stranger-hopper": ("no driving clip", "--pairs"),
    }.items():
        assert all(word in problems[pair] for word in words), (pair, problems[pair])
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Problems</h2>" in text and "only one distinct" in text


def test_a_result_of_another_size_is_scored_and_its_truth_figures_explained(folders, truth, tmp_path):
    media.write_frame_folder(tmp_path / "m" / "smile-hopper", truth.frames[:, 10:-20])
    found = evaluate(
        folders / "driving", tmp_path / "out", {"m": tmp_path / "m"}, truth_dir=folders / "truth", yardsticks=(),
    )  # fmt: skip
    (row,) = found.rows
    assert 0 < row.figures["id_drift"] < 0.6
    assert row.status == SCORED and row.figures["truth_rho"] > 0.9
    assert "psnr" not in row.figures
    assert "256×226" in row.problem and "256×256" in row.problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needed are 'driving'"),
        ("driving,source\n", "lists no pairs"),
        ("driving,source\nsmile,hopper\nsmile,hopper\n", "line 3.*already in line 2"),
        ("driving,source\n,hopper\n", "line 2: a pair needs"),
    ],
)
def test_a_wrong_pairs_list_is_refused(folders, tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(EvaluationError, match=message):
        find_pairs(folders / "driving", {"m": folders / "good"}, tmp_path / "pairs.csv")


def test_pairs_that_are_listed_but_missing_are_noted(folders, tmp_path):
    (tmp_path / "pairs.csv").write_text(
        "driving,source,frame\nsmile,hopper,0\nfrown,hopper,0\nsurprise,nobody,\nsurprise,hopper,3\n"
    )
    pairs = find_pairs(folders / "driving", {"m": folders / "good"}, tmp_path / "pairs.csv")
    assert not pairs[0].problems and pairs[0].results["m"].suffix == ".png"  # the lossless one
    assert "no driving clip 'frown'" in pairs[1].problems[""]
    assert "no result 'surprise-nobody'" in pairs[2].problems["m"]
    assert "frame 3" in pairs[3].problems[""]


def test_reconstructions_are_matched_by_name(folders):
    pairs = find_pairs(folders / "driving", {"m": folders / "driving"})
    assert [(pair.name, pair.driving, len(pair.results)) for pair in pairs] == [
        ("smile", "smile", 1),
        ("surprise", "surprise", 1),
    ]


def test_nothing_to_do_says_so(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    calls = [
        (folders / "driving", {"m": tmp_path / "empty"}, {}, "no clips in"),
        (folders / "driving", {"m": tmp_path / "missing"}, {}, "no such folder"),
        (folders / "driving", {}, {}, "list of pairs"),
        (folders / "driving", {}, {"yardsticks": ("magic",)}, "no method 'magic'"),
        (folders / "driving", {}, {"yardsticks": ()}, "nothing to evaluate"),
        (folders / "driving", {"still": folders / "good"}, {}, "that name is taken"),
        (folders / "sources", {"m": folders / "good"}, {}, "none of 2 pairs"),
    ]
    for driving, generated, options, message in calls:
        with pytest.raises(EvaluationError, match=message):
            evaluate(driving, tmp_path / "out", generated, **options)


def test_folders_of_results_have_names():
    assert named_folders(["ours=a/b", "results/B/"]) == {"ours": Path("a/b"), "B": Path("results/B")}
    assert named_folders(["runs/lr=0.1/B"]) == {"B": Path("runs/lr=0.1/B")}
    with pytest.raises(EvaluationError, match="two folders of results are called 'x'"):
        named_folders(["a/x", "b/x"])


def test_unreliable_pairs_are_marked_and_left_out_of_means():
    rows = [
        Row("a", "a", "m", SCORED, figures={"rho": 0.5}),
        Row("b", "b", "m", UNRELIABLE, figures={"rho": -0.9}),
        Row("c", "c", "m", SCORED, figures={"rho": 0.7}),
        Row("d", "d", "m", FAILED),
    ]
    found = summarise(rows)["m"]["rho"]
    assert (found.mean, found.count) == (pytest.approx(0.6), 2)


def test_methods_are_compared_on_their_common_pairs():
    def row(pair: str, method: str, value: float) -> Row:
        return Row(pair, pair, method, SCORED, figures=dict.fromkeys(("rho", "vcor", "skill"), value))

    rows = [row(str(i), "new", 0.8 + 0.01 * i) for i in range(8)] + [row(str(i), "old", 0.2) for i in range(6)]
    rows += [row(str(i), "still", 0.0) for i in range(8)]
    found = compare(rows)
    assert [(item.figure, item.verdict, item.difference.count) for item in found] == [
        ("rho", "new", 6), ("vcor", "new", 6), ("skill", "new", 6),
    ]  # fmt: skip


def test_score_pair_in_memory(smile, truth):
    own = score_pair(smile.frames, smile.frames)
    assert own.figures["skill"] == pytest.approx(1.0)
    quick = score_pair(
        smile.frames, truth.frames, driving_landmarks=smile.landmarks, generated_landmarks=truth.landmarks, max_frames=7
    )
    assert len(quick.times) == 7
    assert quick.figures["rho"] > 0.8
    assert math.isfinite(quick.figures["leak"])
    with pytest.raises(MetricError, match="no face found"):
        score_pair(smile.frames, np.full_like(smile.frames, 90))
    with pytest.raises(ValueError, match="at least 2"):
        score_pair(smile.frames, truth.frames, max_frames=1)


def test_the_command_line(folders, tmp_path, capsys):
    """Scored methods on stdout, failed pairs on stderr; what is wrong with the command itself is an error."""
    (tmp_path / "pairs.csv").write_text("driving,source\nsmile,hopper\nfrown,hopper\n")
    evaluating = ["--mode", "evaluate", "--out", str(tmp_path / "out"), "--pairs", str(tmp_path / "pairs.csv")]
    good = ["--driving", str(folders / "driving"), "--generated", f"good={folders / 'good'}", "--workers", "1"]
    assert run.main([*evaluating, *good]) == 2, "some could not be scored"
    said = capsys.readouterr()
    assert said.err.strip().splitlines()[-1] == "error: 3 of 6 results could not be scored"
    assert re.search(r"good +still +warp\n +rho +0\.9\d +0\.00 ", said.out) and "report.html" in said.out
    assert "good: no better than the plain warp by optical flow in 1 of 2 pairs (smile-hopper)" in said.out
    assert "failed: frown-hopper (good): no driving clip 'frown'" in said.err
    for arguments, message in (
        (good[2:], "needs --driving"),
        (good[:2], "needs --generated"),
        ([*good, "--workers", "0"], "at least 1"),
        ([*good, "--truth", str(tmp_path / "nowhere")], "no such folder"),
    ):
        assert run.main([*evaluating, *arguments]) == 2
        assert message in capsys.readouterr().err


def test_truths_that_are_missing_are_named(folders, tmp_path, capsys):
    """None for any pair is an error before the work; some are a failure, and all is scored."""
    command = ["--mode", "evaluate", "--out", str(tmp_path / "out"), "--driving", str(folders / "driving")]
    command += ["--generated", f"good={folders / 'good'}", "--method", "still", "--workers", "1"]
    assert run.main([*command, "--truth", str(folders / "sources")]) == 2
    said = capsys.readouterr().err
    assert "no true result in" in said and "there are hopper" in said and "pairs are smile-hopper, surprise-h" in said
    assert not (tmp_path / "out").exists()
    assert run.main([*command, "--truth", str(folders / "truth")]) == 2
    said = capsys.readouterr()
    assert "failed: surprise-hopper: no true result of that name" in said.err
    assert re.search(r"good +still\n +rho ", said.out)
    assert said.err.splitlines()[-1] == "error: 1 of 2 pairs have no true result to be measured against"


def test_without_the_landmark_model_it_says_what_to_install(folders, tmp_path, monkeypatch, capsys):
    def missing(name: str) -> Path:
        raise DetectorUnavailable("no landmark model: pip install face_recognition_models")

    monkeypatch.setattr("evaluation.clip_scorer.dlib_model_file", missing)
    arguments = ["--mode", "evaluate", "--driving", str(folders / "driving"), "--generated", str(folders / "good")]
    assert run.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "pip install face_recognition_models" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pairs_of_one_driving_clip_stay_together_unless_they_are_many():
    def pairs(counts: dict[str, int]) -> list[Pair]:
        return [Pair(f"{driving}-{i}", driving) for i in range(max(counts.values())) for driving in counts
                if i < counts[driving]]  # fmt: skip

    few = pairs({"a": 3, "b": 2})
    assert chunks(few, 2) == [[0, 2, 4], [1, 3]]
    many = pairs({"a": 40})
    assert sorted(index for part in chunks(many, 2) for index in part) == list(range(40))
    assert [len(part) for part in chunks(many, 2)] == [8] * 5
    assert default_workers(3) == 1


def test_rates_come_from_the_clip_list(tmp_path, smile):
    """A folder of frames has no rate of its own; the list beside it has."""
    record = ClipRecord("smile", "test", "made", "s", "raw", fps=200.0, frames=FRAMES)
    write_clips(tmp_path / "clips.csv", [record])
    media.write_frame_folder(tmp_path / "test" / "smile", smile.frames)
    media.write_clip(tmp_path / "m" / "smile.mp4", smile.frames[::2], 100.0)
    assert listed_rates(tmp_path / "test") == {"smile": 200.0}
    assert listed_rates(tmp_path) == {}
    options = {"yardsticks": (), "identity": False}
    found = evaluate(tmp_path / "test", tmp_path / "out", {"m": tmp_path / "m"}, **options)
    assert found.rows[0].alignment == "frame rates"
    assert found.rows[0].figures["rho"] > 0.9
    (tmp_path / "clips.csv").write_text("name\nsmile\n")
    with pytest.raises(EvaluationError, match="clips.csv, line 1: no column"):
        evaluate(tmp_path / "test", tmp_path / "out", {"m": tmp_path / "m"}, **options)


def test_strips_of_frames_that_are_not_square(tmp_path, smile):
    """Their width is the driving clip's where that gives as many frames as it has."""
    tall = smile.frames[:, :, 28:-28]  # 256×200
    media.write_image(tmp_path / "a.png", strip(tall))
    assert _read(tmp_path / "a.png", tall)[0].shape == tall.shape
    media.write_image(tmp_path / "b.png", strip(smile.frames))
    assert _read(tmp_path / "b.png", tall)[0].shape == smile.frames.shape
    with pytest.raises(media.MediaError, match="whole number of frames"):
        _read(tmp_path / "a.png", smile.frames)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(media.MediaError, match=r"a\.mp4"):
        _read(tmp_path / "a.mp4", tall)
