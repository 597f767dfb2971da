"""The command line of prepare.py."""

import subprocess
import sys
from pathlib import Path

import pytest

import prepare
from corpora import casme2 as casme2_corpus
from corpora import read_clips, smic_hs
from corpora.splits import SPLIT_KINDS
from faces import DetectorUnavailable
from tests.corpora.trees import CASME2_HEADER, READERS, casme2_row, write_frames, write_sheet

ROOT = Path(__file__).resolve().parent.parent


def test_sample_from_the_command_line(tmp_path, capsys):
    options = ["sample", "--out", str(tmp_path), "--size", "32", "--train-clips", "2", "--only", "train"]
    assert prepare.main([*options, "--workers", "1"]) == 0
    assert "2 clips written" in capsys.readouterr().out
    assert len(read_clips(tmp_path / "clips.csv")) == 2
    assert prepare.main([*options, "--workers", "1"]) == 0
    assert "is complete" in capsys.readouterr().out


def test_only_what_a_user_can_mend_is_a_message(tmp_path, monkeypatch, capsys):
    def fails(error: Exception) -> int:
        def run(arguments):
            raise error

        monkeypatch.setattr(prepare, "_run_sample", run)
        return prepare.main(["sample", "--out", str(tmp_path)])

    assert fails(DetectorUnavailable("no detector")) == prepare.FAILED
    assert "error: no detector" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        fails(RuntimeError("a mistake of ours"))


def casme2(root, subjects=(1, 2)):
    for subject in subjects:
        write_frames(root / f"CASME2_RAW_selected/sub{subject:02d}/EP01_01", range(8, 12), "img%d.jpg", subject)
    rows = [casme2_row(subject, "EP01_01", 8, "/", 11, "4", "disgust") for subject in subjects]
    write_sheet(root / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, *rows])
    return root


def test_a_corpus_from_the_command_line(tmp_path, capsys):
    raw, out = casme2(tmp_path / "CASME2"), tmp_path / "data"
    options = ["casme2", "--raw", str(raw), "--out", str(out), "--workers", "1", "--size", "64"]
    options += ["--crop", "square", "--margin", "0.2", "--align", "eyes", "--gray"]
    assert prepare.main(options) == 0
    output = capsys.readouterr()
    assert "2 clips in train, 0 in test (8 frames), 0 left out; 2 written now, 0 were there" in output.out
    assert f"look at {out / 'report.html'}" in output.out and "kpmaker.py" in output.out
    assert "apex-not-a-number: sub01_EP01_01: '/' in line 2 (and 1 more)" in output.err
    assert prepare.main(options) == 0
    assert "0 written now, 2 were there" in capsys.readouterr().out
    assert prepare.main([*options, "--split", "subject", "--test-subjects", "sub02"]) == 0
    assert "1 clips in train, 1 in test" in capsys.readouterr().out
    assert prepare.main(["check", "--root", str(out), "--workers", "1"]) == 0
    assert f"2 clips, 8 frames in {out}: 0 errors, 0 warnings" in capsys.readouterr().out
    (out / "train/sub01_EP01_01/0000009.png").unlink()
    assert prepare.main(["check", "--root", str(out), "--workers", "1"]) == 2
    assert "error: frame count:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["casme2", "--raw", "absent"], "--raw absent does not exist"),
        (["samm", "--raw", "raw"], "no clip of SAMM in raw: it looks like CASME II (1 clips)"),
        (["casme2", "--raw", ".", "--out", "data"], "--out data lies inside --raw ."),
        (["casme2", "--raw", "raw", "--margin", "0.1"], "margin is 0.1"),
        (["casme2", "--raw", "raw", "--crop", "square", "--margin", "9"], "legal are 0 to 3"),
        (["casme2", "--raw", "raw", "--test-subjects", "sub01"], "belongs to --split subject"),
        (["casme2", "--raw", "raw", "--sheet", "none.xlsx"], "--sheet none.xlsx is no file"),
        (["casme2", "--raw", "raw", "--landmark-model", "none.dat"], "no such landmark model: none.dat"),
        (["casme2", "--raw", "raw", "--device", "cuda"], "dlib runs on the CPU"),
        (["casme2", "--raw", "raw", "--detector", "face-alignment", "--upsample", "1"], "upsample belongs to dlib"),
        (["check", "--root", "raw"], "raw is no data set"),
    ],
)
def test_errors_of_corpora_are_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    casme2(tmp_path / "raw", subjects=(1,))
    assert prepare.main(options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]
    assert not (tmp_path / "data").exists(), "nothing is written before what was asked for is known to be possible"


def test_errors_are_one_line_without_a_traceback(tmp_path, capsys):
    options = ["sample", "--out", str(tmp_path), "--size", "32", "--train-clips", "1", "--only", "train"]
    options += ["--workers", "1"]
    assert prepare.main(options) == 0
    assert prepare.main([*options, "--seed", "5"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert "--overwrite" in error


def test_choices_are_those_of_the_corpora():
    """The command line names them without importing the corpora, which takes a while."""
    assert set(SPLIT_KINDS) == set(prepare.SPLITS)
    assert {"casme2": casme2_corpus.CODING.kinds, "smic_hs": smic_hs.KINDS} == prepare.FRAMES
    assert set(prepare.CORPORA) == set(READERS)


@pytest.mark.parametrize(
    "arguments",
    [
        "casme2", "casme2 --raw a --crop round", "folder --raw a --fps 0", "samm --raw a --fps 9",
        "megc2021 --raw a --split paper", "folder --raw a --split paper", "sample --size ten",
        "sample --workers 0", "sample --only val", "", "casme9",
    ],
)  # fmt: skip
def test_bad_arguments_show_what_is_legal(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        prepare.main(arguments.split())
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_starts_without_loading_the_image_libraries():
    code = (
        "import sys, prepare\ntry: prepare.main(['--help'])\nexcept SystemExit: pass\nassert 'cv2' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "python prepare.py sample" in result.stdout
