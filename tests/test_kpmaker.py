"""kpmaker.py from the command line to the files, on tiny clips of every kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kpmaker
from benchmarks.reference_kpmaker import make_keypoints as make_reference_keypoints
from faces import make_detector, records
from faces.keypoint_files import MANIFEST, load_keypoints, read_manifest, save_keypoints
from faces.onset import OnsetDetector
from faces.preview import COLOURS, HEADING, MAX_TILES, TILE, Tile, contact_sheet, spread
from faces.records import Recorder
from faces.tracking import load_track, save_track
from media import read_image, write_clip, write_frame_folder, write_image
from media.ownership import MARKER
from modules.facial_prior import select_keypoints, template_keypoints
from parallel.work_sharing import Claims
from tests.conftest import ROOT
from tests.faces.pictures import dlib_detector, face_crop, noise, portrait
from tests.pictures import write_strip
from tests.real import REAL, needs_real

SIZE = 96
FACE = {name: face_crop(name, SIZE, "square", 0.2) for name in ("astronaut", "hopper")}


@pytest.fixture
def looked_at(monkeypatch):
    """The clips in whose onset frames a face was looked for."""
    clips: list[Path] = []

    class Noting(OnsetDetector):
        def __call__(self, given):
            for onset in super().__call__(given):
                clips.append(onset.path)
                yield onset

    monkeypatch.setattr(kpmaker, "OnsetDetector", Noting)
    return clips


def run(root: Path, out: Path, *options: str) -> int:
    return kpmaker.main(["--root", str(root), "--out", str(out), "--detector", "dlib", *options])


def still(path: Path, image: np.ndarray, count: int = 2) -> Path:
    """A clip, as a folder of equal frames."""
    write_frame_folder(path, [image] * count)
    return path


def points_of(image: np.ndarray) -> torch.Tensor:
    return select_keypoints(torch.from_numpy(dlib_detector().detect(image)[0].landmarks).round())


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


# ------------------------------------------------------------------------------------------ what comes out
def test_clips_of_every_kind(tmp_path):
    face, other = FACE["astronaut"], noise(SIZE, SIZE)
    write_frame_folder(tmp_path / "in/train/folder", [face, other, other])
    write_clip(tmp_path / "in/train/agif.gif", [face, other], 25)
    write_clip(tmp_path / "in/test/video.mp4", [face, face, other], 25)
    write_strip(tmp_path / "in/test/strip.png", [face, other])
    write_image(tmp_path / "in/test/photo.png", FACE["hopper"])
    assert run(tmp_path / "in", tmp_path / "out") == 0
    clips = ["agif", "folder", "photo", "strip", "video"]
    assert names(tmp_path / "out") == sorted([*(f"{name}.pt" for name in clips), MANIFEST, MARKER, kpmaker.PREVIEW])
    expected = points_of(face)
    for name in ("folder", "strip"):
        assert torch.equal(load_keypoints(tmp_path / "out", name), expected)
    for name in ("agif", "video"):  # 256 colours and lossy compression move landmarks by a pixel or two
        assert (load_keypoints(tmp_path / "out", name) - expected).abs().max() <= 3
    assert torch.equal(load_keypoints(tmp_path / "out", "photo"), points_of(FACE["hopper"]))


def test_key_points_are_the_specified_selection(tmp_path):
    """Rows 0–11 are whole pixels of landmarks; row 12 is landmark 31 moved by half the inner eye distance."""
    still(tmp_path / "in/clip", FACE["hopper"])
    run(tmp_path / "in", tmp_path / "out")
    points = load_keypoints(tmp_path / "out", "clip")
    landmarks = np.array(read_manifest(tmp_path / "out")["clip"]["landmarks"])
    assert points.dtype == torch.float32
    assert points[:3].tolist() == landmarks[[19, 24, 27]].tolist()
    distance = landmarks[42, 0] - landmarks[39, 0]
    assert points[12].tolist() == [landmarks[31, 0] - distance / 2, landmarks[31, 1]]


def test_doubtful_faces_are_counted_apart_shown_first_and_accepted(tmp_path, capsys):
    """A face that is all but covered: what is found may be the face or a badge elsewhere, and is sure in no case."""
    covered = portrait("astronaut").copy()
    covered[100:130, 195:260] = 10  # the eyes
    covered[135:185, 190:270] = (120, 170, 215)  # nose and mouth
    still(tmp_path / "in/a_sure", FACE["hopper"])
    still(tmp_path / "in/b_covered", covered)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "1 found, 1 doubtful; 0 done before" in said.out and "doubtful face in the onset frame of" in said.err
    entry = read_manifest(tmp_path / "out")["b_covered"]
    assert entry["status"] == "doubtful" and entry["doubt"].startswith(f"score {entry['score']:.2f}")
    tiles = read_image(tmp_path / "out/preview.png")[HEADING + 10, [1, TILE + 9]].tolist()
    assert tiles == [list(COLOURS["doubtful"]), list(COLOURS["found"])]
    assert run(tmp_path / "in", tmp_path / "out", "--accept", "a_sure") == 2
    assert "--accept a_sure: no clip of a doubtful face; there are: b_covered" in capsys.readouterr().err
    assert run(tmp_path / "in", tmp_path / "out", "--accept") == 0
    assert read_manifest(tmp_path / "out")["b_covered"] == {**entry, "status": "found"}
    capsys.readouterr()
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert "doubtful faces" not in capsys.readouterr().out


def test_a_face_is_chosen_among_several(tmp_path, capsys):
    still(tmp_path / "in/two", np.hstack([FACE["astronaut"], np.pad(FACE["hopper"], ((0, 0), (20, 0), (0, 0)))]))
    said, taken = {}, {}
    for choice in ("left", "right", "1", "3"):
        code = run(tmp_path / "in", tmp_path / choice, "--face", choice)
        said[choice] = "".join(capsys.readouterr())
        assert code == (2 if choice == "3" else 0)
        taken[choice] = None if code else float(load_keypoints(tmp_path / choice, "two")[:, 0].mean())
    assert taken["left"] == taken["1"] < SIZE < taken["right"]
    assert "two: 2 faces, the one asked for was taken (right)" in said["right"]
    assert "face 3 was asked for, but there are 2 faces" in said["3"]
    run(tmp_path / "in", tmp_path / "left", "--face", "right")
    assert "done before with another --face (--overwrite makes them anew): 1 (two)" in capsys.readouterr().out


def test_manifest(tmp_path):
    clip = still(tmp_path / "in/clip", np.pad(FACE["hopper"], ((0, 0), (0, 20), (0, 0)), mode="edge"))
    still(tmp_path / "in/empty", noise(SIZE, SIZE))
    run(tmp_path / "in", tmp_path / "out")
    entries = read_manifest(tmp_path / "out")
    entry, face = entries["clip"], dlib_detector().detect(read_image(clip / "0000000.png"))[0]
    assert entry["status"] == "found" and entry["faces"] == 1 and entry["frame"] == 0
    assert entry["frame_size"] == [SIZE, SIZE + 20]
    assert (entry["detector"], entry["detector_version"]) == ("dlib", dlib_detector().version)
    assert entry["box"] == list(face.box) and entry["score"] == pytest.approx(face.score, abs=1e-3)
    assert entry["attempt"] == face.attempt
    assert entry["source"] == str(clip.resolve())
    assert len(entry["landmarks"]) == 68
    empty = entries["empty"]
    assert (empty["status"], empty["faces"], empty["box"], empty["landmarks"]) == ("template", 0, None, None)


def test_onset_is_the_first_frame_in_natural_order(tmp_path):
    """img2 comes before img10, and what is no image is not a frame."""
    folder = tmp_path / "in/clip"
    folder.mkdir(parents=True)
    for name, image in (("img10.png", noise(SIZE, SIZE)), ("img2.png", FACE["hopper"])):
        Image.fromarray(image).save(folder / name)
    (folder / "Thumbs.db").write_bytes(b"not an image")
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "error") == 0
    assert torch.equal(load_keypoints(tmp_path / "out", "clip"), points_of(FACE["hopper"]))


def test_jpeg_is_not_wrapped(tmp_path):
    """The released code multiplied 8-bit JPEG by 255, so that 200 became 56 and faces turned to noise."""
    folder = tmp_path / "in/clip"
    folder.mkdir(parents=True)
    Image.fromarray(FACE["hopper"]).save(folder / "1.jpg", quality=98, subsampling=0)
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "error") == 0
    assert (load_keypoints(tmp_path / "out", "clip") - points_of(FACE["hopper"])).abs().max() <= 3


def test_grey_and_16_bit_frames(tmp_path):
    grey = np.asarray(Image.fromarray(FACE["hopper"]).convert("L"))
    (tmp_path / "in").mkdir()
    Image.fromarray(grey).save(tmp_path / "in/grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "in/deep.png")
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "error") == 0
    assert torch.equal(load_keypoints(tmp_path / "out", "grey"), load_keypoints(tmp_path / "out", "deep"))


def test_strip_of_frames_that_are_not_square(tmp_path):
    wide = np.pad(FACE["hopper"], ((0, 0), (0, SIZE // 2), (0, 0)), mode="edge")
    write_strip(tmp_path / "in/strip.png", [wide, noise(*wide.shape[:2]), wide, wide])
    assert run(tmp_path / "in", tmp_path / "out", "--frame-size", str(SIZE), str(SIZE * 3 // 2)) == 0
    assert read_manifest(tmp_path / "out")["strip"]["frame_size"] == [SIZE, SIZE * 3 // 2]
    assert torch.equal(load_keypoints(tmp_path / "out", "strip"), points_of(wide))


def test_several_faces(tmp_path, capsys):
    canvas = np.zeros((SIZE, SIZE + 64, 3), np.uint8)
    canvas[:64, :64], canvas[:, 64:] = face_crop("astronaut", 64, "square", 0.2), FACE["hopper"]
    still(tmp_path / "in/pair", canvas)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert read_manifest(tmp_path / "out")["pair"]["faces"] == 2
    assert (load_keypoints(tmp_path / "out", "pair")[:12, 0] > 64).all()  # the larger one
    assert "several faces: 1 (pair: 2 faces, the largest was taken (right))" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_give_the_same_files(tmp_path, workers):
    for index in range(5):
        still(tmp_path / f"in/clip{index}", FACE[("astronaut", "hopper")[index % 2]])
    assert run(tmp_path / "in", tmp_path / "out", "--workers", workers) == 0
    for index in range(5):
        expected = points_of(FACE[("astronaut", "hopper")[index % 2]])
        assert torch.equal(load_keypoints(tmp_path / "out", f"clip{index}"), expected)


def test_reference_path_of_the_benchmark_gives_the_same_files(tmp_path):
    still(tmp_path / "in/clip", FACE["hopper"])
    make_reference_keypoints(tmp_path / "in", tmp_path / "reference")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert torch.equal(load_keypoints(tmp_path / "reference", "clip"), load_keypoints(tmp_path / "out", "clip"))


@needs_real
def test_real_clips(tmp_path):
    for name in ("s3_po_05.gif", "westernMale.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        os.symlink(REAL / name, tmp_path / "in" / name)
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "error") == 0
    for name in ("s3_po_05", "westernMale"):
        points = load_keypoints(tmp_path / "out", name)
        height, width = read_manifest(tmp_path / "out")[name]["frame_size"]
        assert (points > 0).all() and (points < torch.tensor([width, height])).all()


# ------------------------------------------------------------------------------------------ no face
def test_missing_face_gets_the_template(tmp_path, capsys):
    still(tmp_path / "in/nobody", noise(64, 128))
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert torch.equal(load_keypoints(tmp_path / "out", "nobody"), template_keypoints(64, 128))
    warning = capsys.readouterr().err
    assert f"no face in the onset frame of {tmp_path / 'in/nobody'}" in warning and "average face" in warning


def test_missing_face_is_skipped(tmp_path, capsys, looked_at):
    still(tmp_path / "in/nobody", noise(SIZE, SIZE))
    still(tmp_path / "in/somebody", FACE["hopper"])
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "skip") == 0
    assert "nobody.pt" not in names(tmp_path / "out") and "somebody.pt" in names(tmp_path / "out")
    assert read_manifest(tmp_path / "out")["nobody"]["status"] == "skipped"
    assert "nobody" in capsys.readouterr().err
    looked_at.clear()
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "skip") == 0
    assert looked_at == []  # known to have no face
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "template") == 0
    assert read_manifest(tmp_path / "out")["nobody"]["status"] == "template"
    assert len(looked_at) == 1


def test_missing_face_is_an_error(tmp_path, capsys):
    still(tmp_path / "in/nobody", noise(SIZE, SIZE))
    still(tmp_path / "in/somebody", FACE["hopper"])
    assert run(tmp_path / "in", tmp_path / "out", "--on-missing", "error") == 2
    assert "nobody.pt" not in names(tmp_path / "out") and "nobody" not in read_manifest(tmp_path / "out")
    assert "somebody.pt" in names(tmp_path / "out")  # the others are done all the same
    message = capsys.readouterr().err
    assert "no face in the onset frame of" in message and "nobody" in message and "--on-missing" in message


def test_template_never_stays_for_a_clip_that_is_to_be_skipped(tmp_path):
    still(tmp_path / "in/nobody", noise(SIZE, SIZE))
    run(tmp_path / "in", tmp_path / "out")
    run(tmp_path / "in", tmp_path / "out", "--on-missing", "skip", "--overwrite")
    assert "nobody.pt" not in names(tmp_path / "out")


# ------------------------------------------------------------------------------------------ a second run
def test_second_run_does_only_what_is_missing(tmp_path, looked_at, capsys):
    for name in ("a", "b"):
        still(tmp_path / "in" / name, FACE["hopper"])
    run(tmp_path / "in", tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.pt")}
    looked_at.clear()
    still(tmp_path / "in/c", FACE["astronaut"])
    (tmp_path / "out/b.pt").unlink()
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert len(looked_at) == 2  # b and c
    assert (tmp_path / "out/a.pt").stat().st_mtime_ns == before["a.pt"]
    assert sorted(read_manifest(tmp_path / "out")) == ["a", "b", "c"]
    assert "2 found; 1 done before" in capsys.readouterr().out


def test_overwrite_does_all(tmp_path, looked_at):
    still(tmp_path / "in/a", FACE["hopper"])
    run(tmp_path / "in", tmp_path / "out")
    save_keypoints(tmp_path / "out", "a", torch.zeros(18, 2))
    looked_at.clear()
    run(tmp_path / "in", tmp_path / "out")
    assert looked_at == []
    run(tmp_path / "in", tmp_path / "out", "--overwrite")
    assert len(looked_at) == 1
    assert torch.equal(load_keypoints(tmp_path / "out", "a"), points_of(FACE["hopper"]))


def test_changed_clip_is_done_again_and_a_moved_one_is_not(tmp_path, looked_at, capsys):
    still(tmp_path / "in/a", FACE["hopper"])
    still(tmp_path / "in/b", FACE["hopper"])
    run(tmp_path / "in", tmp_path / "out")
    still(tmp_path / "in/a", FACE["astronaut"])  # prepared anew, with another crop say
    still(tmp_path / "in/b", FACE["hopper"])  # written anew, the same
    looked_at.clear()
    run(tmp_path / "in", tmp_path / "out")
    assert len(looked_at) == 1
    assert torch.equal(load_keypoints(tmp_path / "out", "a"), points_of(FACE["astronaut"]))
    assert "changed since the last run, and done again: 1 (a)" in capsys.readouterr().out
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    looked_at.clear()
    assert run(tmp_path / "elsewhere", tmp_path / "out") == 0
    assert looked_at == []
    assert read_manifest(tmp_path / "out")["a"]["source"] == str((tmp_path / "elsewhere/a").resolve())


def test_tracks_are_of_the_clips_and_key_points_there_are_now(tmp_path, monkeypatch, capsys):
    """Also where a run was killed once the key points were renewed, and for tracks of earlier versions."""
    moving = [np.roll(FACE["hopper"], shift, axis=1) for shift in range(3)]
    for name in "ab":
        write_frame_folder(tmp_path / "in" / name, moving)

    def tracked(*options: str) -> int:
        capsys.readouterr()
        assert run(tmp_path / "in", tmp_path / "out", "--track", *options) == 0
        return int(re.search(r"tracks: (\d+) clips followed", capsys.readouterr().out)[1])

    assert tracked() == 2 and tracked() == 0 and tracked("--overwrite") == 2
    os.utime(tmp_path / "in" / "a" / "0000002.png", (0, 0))
    assert tracked() == 0
    write_frame_folder(tmp_path / "in" / "a", moving[:1] + moving[2:])  # the onset, and so its points, are the same
    write_frame_folder(tmp_path / "in" / "b", [FACE["astronaut"]] * 3)
    monkeypatch.setattr("faces.data_set_tracks.track_clips", lambda *rest: sys.exit(9))
    with pytest.raises(SystemExit):
        run(tmp_path / "in", tmp_path / "out", "--track")
    monkeypatch.undo()
    assert tracked() == 2
    assert len(load_track(tmp_path / "out", "a")) == 2
    assert torch.equal(load_track(tmp_path / "out", "b").onset, points_of(FACE["astronaut"]))
    save_track(tmp_path / "out", "a", load_track(tmp_path / "out", "a"))
    assert tracked() == 1


def test_a_clip_that_cannot_be_followed_does_not_stop_the_others(tmp_path, capsys):
    for name in "ab":
        still(tmp_path / "in" / name, FACE["hopper"])
    (tmp_path / "in" / "a" / "0000001.png").write_bytes(b"damaged")
    assert run(tmp_path / "in", tmp_path / "out", "--track") == 2
    said = capsys.readouterr().err
    assert "error: a: cannot read" in said and "for 1 of 2 clips" in said.splitlines()[-1]
    assert names(tmp_path / "out" / "tracks") == ["b.pt"]


def test_files_of_another_program_are_kept(tmp_path, looked_at, capsys):
    still(tmp_path / "in/a", FACE["hopper"])
    (tmp_path / "out").mkdir()
    torch.save(torch.ones(18, 2).requires_grad_(True), tmp_path / "out/a.pt")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert looked_at == []
    assert torch.equal(load_keypoints(tmp_path / "out", "a"), torch.ones(18, 2))
    assert "files of another program, left as they are" in capsys.readouterr().out
    still(tmp_path / "in/b", FACE["astronaut"])
    run(tmp_path / "in", tmp_path / "out", "--overwrite")  # anew is made what is this program's
    assert torch.equal(load_keypoints(tmp_path / "out", "a"), torch.ones(18, 2))
    assert torch.equal(load_keypoints(tmp_path / "out", "b"), points_of(FACE["astronaut"]))


@pytest.mark.parametrize("file", ["thesis.docx", MANIFEST])
def test_a_folder_of_something_else_is_refused(users_folder, looked_at, capsys, file):
    still(users_folder / "in/a", FACE["hopper"])
    (users_folder / "out").mkdir()
    (users_folder / "out" / file).write_text('{"name": "a web page"}')
    assert run(users_folder / "in", users_folder / "out") == 2
    assert looked_at == [] and names(users_folder / "out") == [file]
    assert file in capsys.readouterr().err


def test_another_detector_is_told_of(tmp_path, capsys, monkeypatch):
    still(tmp_path / "in/a", FACE["hopper"])
    run(tmp_path / "in", tmp_path / "out")
    detector = make_detector("dlib", load=False)
    detector.version = "dlib 99"
    monkeypatch.setattr(kpmaker, "make_detector", lambda *arguments, **options: detector)
    run(tmp_path / "in", tmp_path / "out")
    assert "done before with another detector or version" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ interruptions
def test_interruption_keeps_what_is_finished(tmp_path, monkeypatch, capsys, looked_at):
    for index in range(4):
        still(tmp_path / f"in/{index}", FACE["hopper"])
    draw = kpmaker.draw_tile

    def interrupted(frame, name, *rest):
        if name == "2":
            raise KeyboardInterrupt
        return draw(frame, name, *rest)

    monkeypatch.setattr(kpmaker, "draw_tile", interrupted)
    assert run(tmp_path / "in", tmp_path / "out") == 130
    assert "finished clips are kept" in capsys.readouterr().err
    done = {path.stem for path in (tmp_path / "out").glob("*.pt")}
    assert {"0", "1"} <= done < {"0", "1", "2", "3"}
    monkeypatch.setattr(kpmaker, "draw_tile", draw)
    looked_at.clear()
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert len(looked_at) == 4 - len(done)


@pytest.mark.parametrize("moment", ["update_manifest", "save_keypoints"])
def test_crash_while_writing_leaves_nothing_half_done(tmp_path, monkeypatch, moment):
    """Whatever is cut off, every file left is whole, and the next run fills the gap."""
    for index in range(3):
        still(tmp_path / f"in/{index}", FACE["hopper"])
    original, calls = getattr(records, moment), []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == (1 if moment == "update_manifest" else 2):
            raise RuntimeError
        return original(*arguments)

    monkeypatch.setattr(records, moment, crash)
    with pytest.raises(RuntimeError):
        run(tmp_path / "in", tmp_path / "out")
    for path in (tmp_path / "out").glob("*.pt"):
        load_keypoints(tmp_path / "out", path.stem)
    assert all(name.endswith(".pt") or name in (MANIFEST, MARKER) for name in names(tmp_path / "out"))
    monkeypatch.setattr(records, moment, original)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert (
        {path.stem for path in (tmp_path / "out").glob("*.pt")}
        == {"0", "1", "2"}
        == {*read_manifest(tmp_path / "out")}
    )


# ------------------------------------------------------------------------------------------ bad input
def test_same_name_in_train_and_test(tmp_path, capsys):
    still(tmp_path / "in/train/a", FACE["hopper"])
    write_clip(tmp_path / "in/test/a.gif", [FACE["astronaut"]], 25)
    assert run(tmp_path / "in", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "in/train/a") in message and str(tmp_path / "in/test/a.gif") in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("length", [2, 3])
def test_same_clip_in_train_and_test(tmp_path, length):
    """Equal content is one clip; a longer one with the same beginning is another."""
    still(tmp_path / "in/train/a", FACE["hopper"], 2)
    still(tmp_path / "in/test/a", FACE["hopper"], length)
    assert run(tmp_path / "in", tmp_path / "out") == (0 if length == 2 else 2)


def test_two_data_sets_in_one_folder(tmp_path, capsys):
    still(tmp_path / "one/a", FACE["hopper"])
    still(tmp_path / "two/a", FACE["astronaut"])
    assert run(tmp_path / "one", tmp_path / "out") == 0
    assert run(tmp_path / "two", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "one/a") in message and str(tmp_path / "two/a") in message and "--out" in message
    assert torch.equal(load_keypoints(tmp_path / "out", "a"), points_of(FACE["hopper"]))


def test_broken_clips_do_not_stop_the_others(tmp_path, capsys):
    still(tmp_path / "in/good", FACE["hopper"])
    (tmp_path / "in/empty").mkdir()
    (tmp_path / "in/broken").mkdir()
    (tmp_path / "in/broken/1.png").write_bytes(b"not a picture")
    (tmp_path / "in/video.mp4").write_bytes(b"not a video")
    assert run(tmp_path / "in", tmp_path / "out") == 2
    message = capsys.readouterr().err
    for part in ("in/empty", "in/broken/1.png", "in/video.mp4", "no key points for 3 of 4 clips"):
        assert part in message
    assert [path.stem for path in (tmp_path / "out").glob("*.pt")] == ["good"]


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_no_clips(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / folder, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert message.startswith("kpmaker.py: error: ") and message.count("\n") == 1
    assert str(tmp_path / folder) in message


def test_folder_that_cannot_be_written(tmp_path, capsys):
    still(tmp_path / "in/a", FACE["hopper"])
    (tmp_path / "out").write_text("a file, not a folder")
    assert run(tmp_path / "in", tmp_path / "out") == 2
    assert "out" in capsys.readouterr().err


def test_face_alignment_without_weights_stops(tmp_path, monkeypatch, capsys):
    """The default detector cannot be had here: no other takes its place, and nothing is written."""
    import face_alignment

    def unreachable(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(face_alignment, "FaceAlignment", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    still(tmp_path / "in/a", FACE["hopper"])
    assert kpmaker.main(["--root", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "--detector dlib" in message and str(tmp_path / "hub/checkpoints") in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "dlib", "--device", "cuda"], "dlib runs on the CPU"),
        (["--detector", "face-alignment", "--upsample", "2"], "upsample belongs to dlib"),
        (["--detector", "dlib", "--landmark-model", "absent.dat"], "no such landmark model: absent.dat"),
    ],
)
def test_illegal_options(tmp_path, capsys, options, message):
    still(tmp_path / "in/a", FACE["hopper"])
    assert kpmaker.main(["--root", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--workers", "0"], ["--frame-size", "0", "8"], ["--detector", "mtcnn"], ["--on-missing", "guess"]],
)
def test_illegal_command_lines(options):
    with pytest.raises(SystemExit) as stop:
        kpmaker.main(options)
    assert stop.value.code == 2


def test_a_worker_says_what_is_wrong_with_the_model(tmp_path, capsys):
    """Not this process, which loads none."""
    still(tmp_path / "in/a", FACE["hopper"])
    (tmp_path / "broken.dat").write_bytes(b"not a model")
    assert run(tmp_path / "in", tmp_path / "out", "--landmark-model", str(tmp_path / "broken.dat")) == 2
    assert "broken.dat is no landmark model of dlib" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.pt"))


def test_as_a_command(tmp_path):
    still(tmp_path / "in/train/a", FACE["hopper"])
    command = [sys.executable, str(ROOT / "kpmaker.py")]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "python kpmaker.py --root data/your_dataset --detector dlib" in helped.stdout
    done = subprocess.run(
        [*command, "--root", "in", "--detector", "dlib", "--workers", "2"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "1 found" in done.stdout and "key points: 100%" in done.stderr
    assert torch.equal(load_keypoints(tmp_path / "in/keypoint_folder", "a"), points_of(FACE["hopper"]))


def test_starts_without_pytorch():
    """Its second of import would come before anything is done, in every worker too."""
    code = "import sys, kpmaker, faces.preload; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ------------------------------------------------------------------------------------------ the contact sheet
def test_preview_shows_the_points_on_the_face(tmp_path):
    still(tmp_path / "in/face", FACE["hopper"])
    still(tmp_path / "in/nobody", np.full((SIZE, SIZE, 3), 90, np.uint8))
    run(tmp_path / "in", tmp_path / "out")
    sheet = read_image(tmp_path / "out" / kpmaker.PREVIEW).astype(int)
    circles = (sheet == (255, 60, 60)).all(axis=-1).sum()
    dots = (sheet == (90, 255, 90)).all(axis=-1).sum()
    assert (
        (sheet[150, :168] == (230, 120, 0)).all(axis=-1).any()
    )  # the one without a face comes first, in orange
    assert circles > 2 * 18 * 6 and dots > 60 * 4  # 18 circles in both pictures, 68 dots in one
    (tmp_path / "out" / kpmaker.PREVIEW).unlink()
    run(tmp_path / "in", tmp_path / "out")  # nothing to do, but the sheet is drawn again, from the files
    assert np.array_equal(read_image(tmp_path / "out" / kpmaker.PREVIEW).astype(int), sheet)


def test_contact_sheet_is_bounded():
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    sheet = contact_sheet(
        [Tile(tile, "a_rather_long_name_that_has_to_be_cut" * 3, "found")] * MAX_TILES, "title"
    )
    assert sheet.shape[0] < 3000 and sheet.shape[1] < 3000
    with pytest.raises(ValueError, match="1 to 200 tiles"):
        contact_sheet([Tile(tile, "a", "found")] * (MAX_TILES + 1), "title")


def test_spread_takes_evenly():
    assert spread(list("abc"), 5) == list("abc")
    assert spread([str(i) for i in range(1000)], 4) == ["0", "250", "500", "750"]


def test_blocks_are_given_out_before_the_last_is_recorded(tmp_path, monkeypatch):
    """So that no worker waits; a block's claim stays until its files are written, and no claim is left."""
    monkeypatch.setattr(kpmaker, "BLOCK", 2)
    for name in "abcdef":
        still(tmp_path / "in" / name, FACE["hopper"])
    claimed: list[list[str]] = []

    def free(name: str) -> bool:
        with Claims(tmp_path / "out").hold(name) as mine:
            return mine

    class Noting(Recorder):
        def flush(self):
            claimed.append([name for name in "ace" if not free(f"key points {name}")])
            super().flush()

    monkeypatch.setattr(kpmaker, "Recorder", Noting)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert claimed == [["a", "c", "e"], ["c", "e"], ["e"], []]
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.pt")) == list("abcdef")
    assert not (tmp_path / "out/.claims").exists()


def test_processes_that_are_killed_share_the_clips(tmp_path, monkeypatch):
    """Two at a time, one of them killed and started again: all files, one manifest, tracks, no claims left."""
    monkeypatch.setattr(kpmaker, "BLOCK", 2)
    root, out, names = tmp_path / "clips", tmp_path / "points", [f"clip{number}" for number in range(12)]
    for number, name in enumerate(names):
        still(root / name, FACE["astronaut" if number % 2 else "hopper"], 2)
    code = "import sys, kpmaker; kpmaker.BLOCK = 2; sys.exit(kpmaker.main())"
    options = ["--root", str(root), "--out", str(out), "--detector", "dlib", "--track"]

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", code, *options], cwd=ROOT, stderr=subprocess.DEVNULL)

    workers = [start(), start()]
    try:
        end = time.monotonic() + 120
        while not list(out.glob("*.pt")) and time.monotonic() < end:
            time.sleep(0.02)
        workers[0].kill()
        workers[0].wait()  # as a shell does: one that nobody has asked after counts as alive for a lease
        workers[0] = start()
        assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert sorted(read_manifest(out)) == sorted(names)
    for name in names:
        load_keypoints(out, name)
        assert (out / "tracks" / f"{name}.pt").is_file()
    assert not (out / ".claims").exists()
