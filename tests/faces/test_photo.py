"""A face cut out of its photo, and put back."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest

from faces.crop import Crop
from faces.photo import FaceClip, FaceCutter, Paster
from media import FolderClip, MediaError, write_clip, write_image
from tests.faces.pictures import dlib_detector, face_crop, noise, portrait

CROP = Crop(64, "square", 0.1)


@pytest.fixture(scope="module")
def face(tmp_path_factory) -> FaceClip:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    write_image(path, portrait("hopper"))
    return FaceCutter(dlib_detector(), CROP, only_first=True)(path)


def test_a_face_is_cut_out_with_its_key_points(face):
    assert face.clip.frames.shape == (1, 64, 64, 3) and face.clip.name == "face"
    assert np.array_equal(face.clip.frames[0], CROP.apply(face.photo, face.matrix))
    assert face.keypoints.shape == (18, 2) and ((face.keypoints > 0) & (face.keypoints < 63)).all()


def test_a_clip_is_cut_as_its_first_frame(tmp_path, face):
    photo = portrait("hopper")
    write_clip(tmp_path / "clip", [photo, photo[::-1]], 25)
    driving = FaceCutter(dlib_detector(), CROP, only_first=False)(tmp_path / "clip")
    assert np.array_equal(driving.matrix, face.matrix)
    assert np.array_equal(driving.clip.frames[1], CROP.apply(photo[::-1], face.matrix))


def test_frames_are_cut_as_they_are_read(tmp_path, face, monkeypatch):
    """Of a clip, one uncut frame is there at a time, beside the first."""
    alive, most = weakref.WeakSet(), []

    class Frame(np.ndarray):
        __hash__ = object.__hash__

    class Stream(FolderClip):
        def __iter__(self):
            for _ in range(6):
                frame = portrait("hopper").copy().view(Frame)
                alive.add(frame)
                most.append(len(alive))
                yield frame
                del frame

    write_clip(tmp_path / "clip", [portrait("hopper")], 25)
    monkeypatch.setattr("faces.photo.open_clip", Stream)
    cut = FaceCutter(dlib_detector(), CROP, only_first=False)(tmp_path / "clip")
    assert len(cut.clip) == 6 and max(most) <= 3


def test_what_was_decided_is_said(tmp_path):
    write_image(tmp_path / "cut.png", face_crop("hopper", 96, "square", 0.1))
    write_image(tmp_path / "two.png", np.hstack([portrait("astronaut"), portrait("hopper")[:512]]))
    adapting = Crop(64, "square", 0.1, adapt=True)
    cut = FaceCutter(dlib_detector(), adapting, only_first=True)(tmp_path / "cut.png")
    assert cut.notes == ("taken whole, as it is cut to its face already (--crop square cuts it)",)
    two = FaceCutter(dlib_detector(), adapting, only_first=True)(tmp_path / "two.png")
    assert two.notes[0] == "2 faces, the largest was taken (right)" and two.notes[1].startswith("cut to x ")
    left = FaceCutter(dlib_detector(), adapting, only_first=True, choice="left")(tmp_path / "two.png")
    assert left.matrix[0, 2] / left.matrix[0, 0] > two.matrix[0, 2] / two.matrix[0, 0]
    with pytest.raises(MediaError, match="two.png: face 3 was asked for, but there are 2 faces"):
        FaceCutter(dlib_detector(), adapting, only_first=True, choice=3)(tmp_path / "two.png")


def test_a_picture_without_a_face_is_named(tmp_path):
    write_image(tmp_path / "noise.png", noise(120, 120))
    with pytest.raises(MediaError, match="no face found in the first frame of .*noise.png"):
        FaceCutter(dlib_detector(), CROP, only_first=True)(Path(tmp_path / "noise.png"))


def test_at_rest_the_photo_comes_back(face):
    """What the crop of 64 pixels has lost of a face of 250 is put back; moved, it comes from where it was."""
    paster, crop = Paster(face), face.clip.frames[0]
    axis = np.linspace(-1, 1, 16, dtype=np.float32)
    still = np.stack(np.meshgrid(axis, axis), axis=-1)
    for grid in (None, still):
        assert np.abs(paster.paste(crop, grid).astype(int) - face.photo).max() <= 1
    moved = paster.paste(crop, still + np.float32([0.1, 0]))
    assert np.abs(moved.astype(int) - face.photo).max() > 10


def test_a_photo_as_fine_as_the_crop_loses_nothing(face):
    whole = FaceClip(face.clip, face.landmarks, face.keypoints, face.clip.frames[0], np.eye(2, 3))
    assert np.abs(Paster(whole).paste(face.clip.frames[0], None).astype(int) - face.clip.frames[0]).max() == 0
