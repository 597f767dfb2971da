"""The command line of prepare.py."""

import subprocess
import sys
from pathlib import Path

import pytest

import prepare
from corpora import read_clips

ROOT = Path(__file__).resolve().parent.parent


def test_sample_from_the_command_line(tmp_path, capsys):
    options = ["sample", "--out", str(tmp_path), "--size", "32", "--train-clips", "2", "--only", "train"]
    assert prepare.main([*options, "--workers", "1"]) == 0
    assert "2 clips written" in capsys.readouterr().out
    assert len(read_clips(tmp_path / "clips.csv")) == 2
    assert prepare.main([*options, "--workers", "1"]) == 0
    assert "is complete" in capsys.readouterr().out


def test_errors_are_one_line_without_a_traceback(tmp_path, capsys):
    options = ["sample", "--out", str(tmp_path), "--size", "32", "--train-clips", "1", "--only", "train"]
    options += ["--workers", "1"]
    assert prepare.main(options) == 0
    assert prepare.main([*options, "--seed", "5"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert "--overwrite" in error


@pytest.mark.parametrize("arguments", ["sample --size ten", "sample --workers 0", "sample --only val", "", "casme9"])
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
