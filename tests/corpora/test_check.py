"""What `prepare.py check` finds: each fault is planted and must be named, and a sound data set has none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import media
from corpora import ClipRecord, read_clips, write_clips
from corpora.check import ERROR, check
from corpora.tree import CorpusError
from faces.keypoint_files import load_keypoints, save_keypoints, update_manifest
from faces.onset import clip_stamp, frame_digest, read_onset
from faces.tracking import save_track, track_keypoints
from media.fingerprint import Fingerprint
from tests.conftest import make_data, moving_frames


@pytest.fixture
def root(tmp_path) -> Path:
    """A sound data set."""
    root = make_data(tmp_path / "data")
    records = []
    for split in ("train", "test"):
        for path in media.list_clips(root / split):
            records.append(ClipRecord(path.name, split, "samm", path.name, "", 200.0, 5))
    write_clips(root / "clips.csv", records)
    return root


def found(*roots: Path, keypoints: Path | None = None) -> set[tuple[str, str, str]]:
    problems, _ = check(roots, keypoints)
    return {(problem.level, problem.kind, problem.where.split("/")[-1]) for problem in problems}


def test_a_sound_data_set(root):
    assert found(root, keypoints=root / "keypoints") == set()
    _, summary = check([root], workers=2)
    assert summary == f"5 clips, 25 frames in {root}"


def test_unreadable_frames_and_odd_sizes(root):
    (root / "train/train_0/0000003.png").write_bytes(b"x")
    Image.new("RGB", (20, 30)).save(root / "train/train_1/0000004.png")
    shutil.rmtree(root / "test/test_0")
    media.write_frame_folder(root / "test/test_0", moving_frames(7, size=32))
    assert found(root) == {
        ("error", "unreadable", "train_0"),
        ("error", "frame size", "train_1"),
        ("warning", "frame size", "test_0"),
    }


def test_clip_list_against_the_folders(root):
    (root / "train/train_0/0000004.png").unlink()
    shutil.rmtree(root / "train/train_1")
    media.write_frame_folder(root / "train/extra", moving_frames(50))
    assert found(root) == {
        ("error", "frame count", "train_0"),
        ("error", "absent", "train_1"),
        ("warning", "not listed", "extra"),
    }
    (root / "clips.csv").unlink()
    assert found(root) == {("warning", "no clip list", "data")}


def test_copies_by_content(root):
    """A clip under another name, and one that shares some frames."""
    media.write_frame_folder(root / "train/copy", moving_frames(0))  # train_0
    media.write_frame_folder(root / "train/part", moving_frames(1)[:3])  # of train_1
    write_clips(root / "clips.csv", [
        *read_clips(root / "clips.csv"),
        *(ClipRecord(name, "train", "samm", name, "", 200.0, n) for name, n in (("copy", 5), ("part", 3))),
    ])  # fmt: skip
    problems, _ = check([root])
    assert {(p.level, p.kind) for p in problems} == {("error", "copy"), ("warning", "copy")}
    assert any("copy is the same as" in f"{p.where} {p.text}" or "is the same as" in p.text for p in problems)
    assert any("shares 3 frames with" in p.text for p in problems)


def test_leaks_between_train_and_test(root, tmp_path):
    other = make_data(tmp_path / "other", train=0, test=0)
    media.write_frame_folder(other / "test/driver", moving_frames(0)[1:])  # from train_0 of the first root
    assert ("error", "leak", "train_0") in found(root, other)
    assert not any(kind == "leak" for _, kind, _ in found(root))
    records = [ClipRecord(r.clip, r.split, "samm", "006", "", 200.0, 5) for r in read_clips(root / "clips.csv")]
    write_clips(root / "clips.csv", records)
    assert found(root) == {("warning", "subject leak", "006")}


def test_one_name_in_two_roots(root, tmp_path):
    other = tmp_path / "other"
    media.write_frame_folder(other / "train/train_0", moving_frames(40))
    media.write_frame_folder(other / "test/test_0", moving_frames(41))
    media.write_frame_folder(other / "test/test_1", moving_frames(101))  # the same clip
    names = {(level, name) for level, kind, name in found(root, other) if kind == "one name"}
    assert names == {("error", "train_0"), ("warning", "test_0")}
    names = {(level, name) for level, kind, name in found(root, other, keypoints=tmp_path) if kind == "one name"}
    assert names == {("error", "train_0"), ("error", "test_0")}


def test_key_points(root):
    folder = root / "keypoints"
    (folder / "train_0.pt").unlink()
    (folder / "train_1.pt").write_bytes(b"x")
    save_keypoints(folder, "test_0", torch.zeros(18, 2))
    update_manifest(folder, {"test_0": {"status": "template", "frame_size": [128, 128]}})
    got = found(root, keypoints=folder)
    assert {(level, kind) for level, kind, _ in got} == {("error", "key points"), ("warning", "key points")}
    problems, _ = check([root], folder)
    text = "\n".join(map(str, problems))
    assert "1 clips have none: python kpmaker.py --root" in text
    assert "test_0: no face was found" in text and "made for frames of 128×128, not 64×64" in text
    assert str(folder / "train_1.pt") in text


def test_key_points_of_another_clip(root):
    """Clips that were exchanged under their key points and tracks; a copy or another date is no change."""
    folder = root / "keypoints"
    for split in ("train", "test"):
        for path in media.list_clips(root / split):
            onset = read_onset(path)
            update_manifest(folder, {path.name: {"stamp": clip_stamp(path), "onset": frame_digest(onset.frame)}})
            points = load_keypoints(folder, path.name)
            track = track_keypoints(media.open_clip(path), points)
            save_track(folder, path.name, track, Fingerprint.of(path))
    shutil.copytree(root / "test/test_0", root / "copy")
    shutil.rmtree(root / "test/test_0")
    (root / "copy").rename(root / "test/test_0")
    assert found(root, keypoints=folder) == set()
    (root / "train/train_0").rename(root / "aside")
    (root / "train/train_1").rename(root / "train/train_0")
    (root / "aside").rename(root / "train/train_1")
    media.write_image(root / "train/train_2/0000003.png", moving_frames(9)[0])  # a later frame: of the track alone
    problems, _ = check([root], folder)
    errors = {problem.where.split("/")[-1]: problem.text for problem in problems if problem.kind == "key points"}
    assert list(errors) == ["train_0", "train_1", "train_2"]
    assert all("the key points of" in errors[name] and "kpmaker.py" in errors[name] for name in ("train_0", "train_1"))
    assert "the track of 'train_2'" in errors["train_2"]


def test_stills(root):
    media.write_frame_folder(root / "train/train_0", moving_frames(0)[:1])
    media.write_frame_folder(root / "train/train_1", [moving_frames(1)[0]] * 5)
    assert {("warning", "one frame", "train_0"), ("warning", "still", "train_1")} <= found(root)


def test_errors_come_first_and_no_data_set_is_an_error(root, tmp_path):
    (root / "train/train_0/0000003.png").write_bytes(b"x")
    media.write_frame_folder(root / "train/extra", moving_frames(50))
    problems, _ = check([root])
    assert problems[0].level == ERROR and problems[-1].level != ERROR
    with pytest.raises(CorpusError, match="is no data set: expected"):
        check([tmp_path])
