"""Key point files and the manifest: what is written, what is read, what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from faces.keypoint_files import (
    MANIFEST,
    KeypointError,
    MissingKeypoints,
    load_keypoints,
    read_manifest,
    save_keypoints,
    update_manifest,
)

POINTS = torch.arange(36, dtype=torch.float32).reshape(18, 2)


def test_round_trip(tmp_path):
    path = save_keypoints(tmp_path / "points", "006_1_2", POINTS)
    assert path == tmp_path / "points" / "006_1_2.pt"
    loaded = load_keypoints(tmp_path / "points", "006_1_2")
    assert torch.equal(loaded, POINTS)
    assert loaded.dtype == torch.float32 and not loaded.requires_grad and loaded.device.type == "cpu"
    assert sorted(os.listdir(tmp_path / "points")) == ["006_1_2.pt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps names in Unicode")
def test_folder_whose_name_the_locale_encodes_in_its_own_way(tmp_path):
    """PyTorch takes every name for UTF-8 where it maps a file itself; Python's are the locale's."""
    save_keypoints(tmp_path / "表情", "clip", POINTS)
    code = "import sys; from faces.keypoint_files import *; print(load_keypoints(sys.argv[1], 'clip').sum())"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "表情")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout == "tensor(630.)\n", done.stderr


def test_only_the_points_are_saved(tmp_path):
    """A view into something large is stored on its own, whatever its type and history."""
    large = torch.zeros(1000, 18, 2, dtype=torch.float64, requires_grad=True)
    path = save_keypoints(tmp_path, "view", large[3])
    assert path.stat().st_size < 4000
    stored = torch.load(path, weights_only=True)
    assert stored.dtype == torch.float32 and not stored.requires_grad


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.MOV", "a.png", "a"])
def test_media_suffix_may_be_there_or_not(tmp_path, name):
    save_keypoints(tmp_path, "a", POINTS)
    assert torch.equal(load_keypoints(tmp_path, name), POINTS)


def test_exact_name_goes_before_the_one_without_suffix(tmp_path):
    save_keypoints(tmp_path, "a", POINTS)
    save_keypoints(tmp_path, "a.mp4", POINTS + 1)
    assert torch.equal(load_keypoints(tmp_path, "a.mp4"), POINTS + 1)


@pytest.mark.parametrize("wanted", ["006_1_2", "6_1_20", "006_1_20x", "Positive_006_1_20", "006_1_20.v2"])
def test_part_of_a_name_never_matches(tmp_path, wanted):
    save_keypoints(tmp_path, "006_1_20", POINTS)
    with pytest.raises(MissingKeypoints, match=wanted.replace(".", r"\.")):
        load_keypoints(tmp_path, wanted)


def test_right_one_of_similar_names(tmp_path):
    for number, name in enumerate(["006_1_2", "006_1_20", "Positive_006_1_2", "006_1_2#b"]):
        save_keypoints(tmp_path, name, POINTS + number)
    assert torch.equal(load_keypoints(tmp_path, "006_1_2"), POINTS)
    assert torch.equal(load_keypoints(tmp_path, "006_1_2#b"), POINTS + 3)


def test_missing_file_says_which_command_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python kpmaker\.py --root .* --out .* --detector dlib") as error:
        load_keypoints(tmp_path / "nowhere", "clip")
    assert isinstance(error.value, KeypointError)
    assert "'clip'" in str(error.value) and str(tmp_path / "nowhere" / "clip.pt") in str(error.value)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_files_of_the_released_code(tmp_path, legacy):
    """They hold a leaf that requires gradients, and may be of the old serialisation."""
    old = POINTS.clone().requires_grad_(True)
    torch.save(old, tmp_path / "old.pt", _use_new_zipfile_serialization=not legacy)
    loaded = load_keypoints(tmp_path, "old")
    assert torch.equal(loaded, POINTS) and not loaded.requires_grad and loaded.is_leaf


def test_other_types_of_number_become_float32(tmp_path):
    torch.save(POINTS.to(torch.int64), tmp_path / "whole.pt")
    assert load_keypoints(tmp_path, "whole").dtype == torch.float32


class Malicious:
    """Runs code when unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, protocol=2))])
def test_pickle_that_runs_code_is_refused(tmp_path, save):
    save(Malicious(tmp_path / "trace"), tmp_path / "evil.pt")
    with pytest.raises(KeypointError, match="refused"):
        load_keypoints(tmp_path, "evil")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x02", bytes(range(256))])
def test_broken_files(tmp_path, content):
    (tmp_path / "broken.pt").write_bytes(content)
    with pytest.raises(KeypointError, match="broken.pt"):
        load_keypoints(tmp_path, "broken")


def test_truncated_file(tmp_path):
    path = save_keypoints(tmp_path, "cut", POINTS)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(KeypointError, match="cut.pt"):
        load_keypoints(tmp_path, "cut")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(10, 2), r"\(18, 2\), got torch.float32 \(10, 2\)"),
        (torch.zeros(1, 18, 2), r"\(1, 18, 2\)"),
        (torch.zeros(18, 2, dtype=torch.complex64), "complex64"),
        (torch.full((18, 2), float("nan")), "NaN or infinite"),
        (torch.full((18, 2), float("inf")), "NaN or infinite"),
        ([0, torch.zeros(18, 2)], "holds a list"),
        ({"points": torch.zeros(18, 2)}, "holds a dict"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(KeypointError, match=message):
        load_keypoints(tmp_path, "other")


def test_only_key_points_are_saved(tmp_path):
    for points in (torch.zeros(17, 2), torch.full((18, 2), float("nan")), np.zeros((18, 2))):
        with pytest.raises(KeypointError):
            save_keypoints(tmp_path, "clip", points)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "/etc/passwd"])
def test_names_cannot_leave_the_folder(tmp_path, name):
    for use in (load_keypoints, lambda folder, bad: save_keypoints(folder, bad, POINTS)):
        with pytest.raises(KeypointError, match="no name of a clip"):
            use(tmp_path, name)


# ------------------------------------------------------------------------------------------ the manifest
def test_manifest_merges(tmp_path):
    assert read_manifest(tmp_path) == {}
    update_manifest(tmp_path, {"b": {"status": "found"}, "ä": {"status": "skipped"}})
    clips = update_manifest(tmp_path, {"a": {"status": "found"}, "b": {"status": "template"}})
    assert clips == read_manifest(tmp_path)
    assert list(clips) == ["a", "b", "ä"] and clips["b"] == {"status": "template"}
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["format"] == 1
    assert os.listdir(tmp_path) == [MANIFEST]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9, "clips": {}}', '{"format": 1, "clips": {"a": 1}}'])
def test_something_else_called_manifest(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(KeypointError, match="no manifest of kpmaker.py"):
        read_manifest(tmp_path)
    with pytest.raises(KeypointError):
        update_manifest(tmp_path, {"a": {}})
    assert (tmp_path / MANIFEST).read_text() == text


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(KeypointError, match=r"manifest\.json is no file: remove it"):
        read_manifest(tmp_path)


def test_flipped_bytes_are_no_points(tmp_path):
    path = save_keypoints(tmp_path, "a", torch.rand(18, 2))
    data = bytearray(path.read_bytes())
    place = data.index(load_keypoints(tmp_path, "a").numpy().tobytes()[:8])
    data[place] ^= 4
    path.write_bytes(data)
    with pytest.raises(KeypointError, match=r"a\.pt is damaged: its checksums do not fit"):
        load_keypoints(tmp_path, "a")
