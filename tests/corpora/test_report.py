"""The reports name every clip, count what there is, and say what was left out and why."""

from __future__ import annotations

from urllib.parse import quote

import pytest

import media
from corpora.cutting import Settings, draw_onset
from corpora.pipeline import Prepared, prepare
from corpora.report import write_reports
from corpora.rules import Notice
from corpora.splits import SplitOptions
from faces.crop import Crop
from tests.corpora.trees import face_frame, read, write_frames
from tests.faces.pictures import dlib_detector, noise
from tests.pages.parser import HOSTILE, read_page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    for subject, emotion in ((1, "ne"), (2, "ne"), (3, "sur")):
        write_frames(root / f"raw/HS/s{subject}/s{subject}_{emotion}_01", range(2), "image%d.png", subject)
    folder = root / "raw/HS/s2/s2_ne_01"
    media.write_image(folder / "image0.png", noise(60, 80))
    media.write_image(folder / "image1.png", noise(60, 80))
    out, settings = root / "out", Settings(Crop(32))
    prepared = prepare(read("smic_hs", root / "raw"), out, "smic_hs", settings, SplitOptions())
    write_reports(out, "A <title>", prepared, settings.as_dict("smic_hs"))
    return out


def test_markdown(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "| train | 2 | 2 | 4 |" in text and "| left out here | 1 |" in text
    assert "| negative | negative | 1 |" in text and "| surprise | surprise | 1 |" in text
    assert "| s3 |  | 1 | 1 |" in text
    assert "no-face" in text and "s2_ne_01" in text and "left out" in text
    assert "crop, recipe: paper" in text
    assert "![contact_sheet_1](contact_sheet_1.png)" in text
    assert media.read_image(report / "contact_sheet_1.png").shape[1] >= 3 * 160


def test_page(report):
    page = read_page(report / "report.html")
    assert page.texts.count("A <title>") == 2  # the page's and the heading
    assert page.images == [f"onsets/{name}.png" for name in ("s1_ne_01", "s2_ne_01", "s3_sur_01")]
    assert all((report / image).is_file() for image in page.images)
    assert "no-face" in page.texts and "train, surprise, 2 frames" in page.texts


def test_hostile_names_are_shown_as_they_are(tmp_path):
    entries = {HOSTILE: {"status": "skipped", "landmarks": None}}
    prepared = Prepared([], entries, [Notice("no-face", HOSTILE, f"left out: {HOSTILE}")], 0)
    write_reports(tmp_path, HOSTILE, prepared, {"raw": HOSTILE})
    page = read_page(tmp_path / "report.html")
    assert ("img", "alt", f"onset of {HOSTILE}") in page.attributes
    assert page.images == [f"onsets/{quote(HOSTILE)}.png"]
    assert page.texts.count(HOSTILE) == 6  # title, heading, rule, notice, figure, settings
    assert f"left out: {HOSTILE}" in page.texts
    assert "unexpected" not in page.tags


def test_onset_picture_shows_box_and_landmarks():
    frame, crop = face_frame(1, 0), Crop(32, "square", 0.1)
    face = dlib_detector(0).detect(frame)[0]
    picture = draw_onset(frame, crop.matrix(face, frame.shape[:2]), 32, face.landmarks)
    red = (picture == (255, 60, 60)).all(axis=2)
    green = (picture == (90, 255, 90)).all(axis=2)
    side = 160 / 1.6  # of the box in the picture
    columns, rows = red.any(axis=0).nonzero()[0], red.any(axis=1).nonzero()[0]
    assert abs(columns[-1] - columns[0] - side) < 5 and abs(rows[-1] - rows[0] - side) < 5
    assert green.sum() > 68 * 4
    plain = draw_onset(frame, None, 32, None)
    assert not (plain == (255, 60, 60)).all(axis=2).any()
