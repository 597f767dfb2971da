"""The report's page, from rows made by hand."""

from __future__ import annotations

import numpy as np

from evaluation.explained import explain
from evaluation.report import PlayedClip, ScoredPair, format_figure, write_report
from evaluation.tables import FAILED, SCORED, Row, beside_warp, compare, summarise
from media import write_image
from pages import lay_out
from tests.pages.parser import HOSTILE, read_page


def test_hostile_names_are_shown_as_they_are(tmp_path):
    image, sheet = lay_out(np.zeros((2, 8, 8, 3), np.uint8), (0, 1), 2)
    for name in ("sheet", "map"):
        write_image(tmp_path / "report" / f"{HOSTILE}-{name}.png", image)
    clip = PlayedClip(HOSTILE, sheet, f"report/{HOSTILE}-sheet.png", f"report/{HOSTILE}-map.png")
    rows = [
        Row(HOSTILE, HOSTILE, HOSTILE, SCORED, figures={"skill": 0.5, "rho": 0.7, "vcor": 0.6}),
        Row(HOSTILE, HOSTILE, "other", FAILED, problem=f"cannot read {HOSTILE}"),
    ]
    pair = ScoredPair(HOSTILE, rows, 2, None, 1.0, [clip], b"<svg/>")
    path, settings, missing = tmp_path / "report.html", {HOSTILE: HOSTILE}, {"fid": HOSTILE}
    write_report(path, [pair], summarise(rows), compare(rows), settings, missing)
    found = read_page(path)
    assert {("section", "id", HOSTILE), ("img", "alt", f"motion of {HOSTILE} at the apex")} <= found.attributes
    for text in (HOSTILE, f"{HOSTILE} − other", f"cannot read {HOSTILE}", f"absent: {HOSTILE}"):
        assert text in found.texts
    assert "unexpected" not in found.tags
    assert not (tmp_path / "report").exists(), "the pictures are in the page"


def test_figures_as_text():
    figures = (("rho", -0.001), ("snr", 6.06), ("l1", 0.01234), ("rho", None))
    assert [format_figure(name, value) for name, value in figures] == ["0.00", "6.1", "0.0123", "–"]


def test_a_model_no_better_than_the_plain_warp_is_told_so():
    """By the truth where it is known, else by skill; the yardsticks themselves are told nothing."""
    truths = {"skill": 0.9, "truth_skill": 0.8, "psnr_moving": 31}
    rows = [
        Row("a-b", "a", "equal", SCORED, figures={"skill": 0.902}),
        Row("a-b", "a", "half", SCORED, figures=truths | {"truth_skill": 0.9}),
        Row("a-b", "a", "whole", SCORED, figures=truths | {"truth_skill": 0.9, "psnr_moving": 32}),
        Row("a-b", "a", "gone", FAILED),
        Row("a-b", "a", "still", SCORED, figures={"skill": 0.0}),
        Row("a-b", "a", "warp", SCORED, figures=truths),
    ]
    assert [row.beside_warp for row in beside_warp(rows)] == [
        "no better than the plain warp: skill 0.90 against 0.90",
        "better than the plain warp in truth_skill alone: "
        "truth_skill 0.90 against 0.80, psnr_moving 31.00 against 31.00",
        "better than the plain warp: truth_skill 0.90 against 0.80, psnr_moving 32.00 against 31.00",
        "", "", "",
    ]  # fmt: skip
    assert beside_warp(rows[:-1]) == rows[:-1], "without the warp there is nothing to say"


def test_printed_figures_explain_themselves():
    lines = explain({"mine": {"rho": 0.5, "l1": 0.01234}, "still": {"rho": -0.001}}, ("rho", "l1"))
    assert [line.split()[:3] for line in lines] == [["mine", "still"], ["rho", "0.50", "0.00"], ["l1", "0.0123", "–"]]
    assert lines[1].endswith("whatever its strength (1 perfect)")
