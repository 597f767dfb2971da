"""The command that makes labelled sets: what it says and makes, and bad input."""

from __future__ import annotations

import pytest

from corpora import photos, read_clips
from generate import main
from tests.corpora.test_portraits import detector as detector
from tests.corpora.test_portraits import faces_folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return faces_folder(tmp_path_factory.mktemp("photos"), ("anna", "ben"))


def test_bad_input(tmp_path, faces, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    cases = {
        ("--faces", str(tmp_path / "none")): "no such folder: --faces",
        ("--faces", str(tmp_path / "empty")): "no clips in",
        ("--faces", str(faces), "--fps", "5"): "--fps 5: expected 30 to 1000",
        ("--faces", str(faces), "--like", "none.csv"): "no such clip list: none.csv",
        ("--faces", str(faces), "--scores", "none.csv"): "no such table of a score",
        ("--faces", str(faces), "--out", str(faces)): "is --faces too",
    }
    for options, said in cases.items():
        assert main([*options, *["--out", str(tmp_path / "out")] * ("--out" not in options)]) == 2
        assert said in capsys.readouterr().err, options
    monkeypatch.setattr(photos, "find_face", lambda path: {"error": "no face found"})
    assert main(["--faces", str(faces), "--out", str(tmp_path / "other"), "--workers", "1"]) == 2
    assert "none of the 2 photos" in capsys.readouterr().err


def test_the_command(faces, tmp_path, capsys):
    given = ["--faces", str(faces), "--out", str(tmp_path / "out"), "--clips", "2", "--size", "48", "--workers", "1"]
    (tmp_path / "score.csv").write_text("unit,onset,apex,offset\n12,0.1,0.2,0.4\n")
    assert main([*given, "--scores", str(tmp_path / "score.csv"), "--test-share", "0"]) == 0
    assert "2 clips made" in capsys.readouterr().out
    records = read_clips(tmp_path / "out" / "clips.csv")
    assert {(r.action_units, r.emotion, r.apex_index) for r in records} == {("12", "", 20)}
    assert all(r.clip == f"{r.subject}_score_1" for r in records)
