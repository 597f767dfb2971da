"""Photos of faces: which of them can be used and why not, and that a face in a frame lies where its landmarks say."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
import skimage.data

import media
from corpora import photos
from corpora.photos import Photo, check_photos, find_face, keep_apart, read_photo, reason_against
from corpora.sample.action_units import FaceAxes
from corpora.sample.identities import to_picture
from corpora.sample.portraits import canonical_shape, eye_centres

SIZE = 64


@pytest.fixture(scope="module")
def entry() -> dict:
    """A face that looks at the camera, 120 pixels between the eyes, in a photo of 500×500."""
    return {
        "size": [500, 500], "faces": 1, "score": 2.0, "attempt": "plain", "landmarks": canonical_shape().tolist(),
        "embedding": [0.0] * 128,
    }  # fmt: skip


def changed(entry: dict, **values) -> dict:
    return {**copy.deepcopy(entry), **values}


def moved(entry: dict, factor: float = 1.0, shift: tuple = (0, 0), nose: float = 0.0) -> dict:
    landmarks = canonical_shape() * factor + shift
    landmarks[30, 0] += nose * FaceAxes.of(landmarks).iod
    return changed(entry, landmarks=landmarks.tolist())


def test_a_portrait_is_found_and_used(tmp_path):
    media.write_image(tmp_path / "collins.png", skimage.data.astronaut()[:260, 80:340])
    found = find_face(tmp_path / "collins.png")
    assert reason_against(found, SIZE) == ""
    assert found["size"] == [260, 260]
    assert len(found["embedding"]) == 128
    assert json.loads(json.dumps(found)) == found
    media.write_image(tmp_path / "wall.png", skimage.data.brick()[:200, :200])
    assert reason_against(find_face(tmp_path / "wall.png"), SIZE) == "no face found"
    (tmp_path / "text.jpg").write_text("no picture")
    assert reason_against(find_face(tmp_path / "text.jpg"), SIZE).startswith("unreadable: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e, ""),
        (lambda e: changed(e, faces=3), "3 faces: cut the photo to one"),
        (lambda e: changed(e, score=0.4), "doubtful face: the detector's score is 0.40, at least 0.5 is needed"),
        (lambda e: changed(e, attempt="padded"), "doubtful face"),
        (lambda e: moved(e, nose=0.19), ""),
        (lambda e: moved(e, nose=-0.3), "turned: the nose is 0.30 eye distances off the middle, at most 0.2 is good"),
        (lambda e: moved(e, factor=0.2), ""),
        (lambda e: moved(e, factor=0.1), "too small: 12 pixels between the eyes, 18 are needed"),
        (lambda e: moved(e, shift=(0, -190)), "cut off: "),
        (lambda e: moved(e, shift=(120, 0)), "cut off: "),
    ],
)
def test_reasons(entry, change, reason):
    assert reason_against(change(entry), SIZE).startswith(reason)
    assert bool(reason_against(change(entry), SIZE)) == bool(reason)


def test_larger_frames_need_larger_faces(entry):
    assert reason_against(moved(entry, factor=0.2), 64) == ""
    assert reason_against(moved(entry, factor=0.2), 128).startswith("too small: 24 pixels between the eyes, 37 are")


def test_large_photos_are_reduced(tmp_path):
    media.write_image(tmp_path / "large.png", np.zeros((100, 2048, 3), np.uint8))
    assert read_photo(tmp_path / "large.png").shape == (50, 1024, 3)


def test_landmarks_lie_on_what_they_mark(tmp_path):
    """A dot at every landmark of the photo is where the face says it is, in a turned and scaled crop."""
    landmarks = canonical_shape()
    picture = np.full((500, 500, 3), 60, np.uint8)
    eyes = eye_centres(landmarks)
    for x, y in (*eyes, landmarks[30]):
        cv2.circle(picture, (round(x), round(y)), 6, (255, 255, 255), -1)
    media.write_image(tmp_path / "dots.png", picture)
    photo = Photo(tmp_path / "dots.png", "0" * 64, landmarks, np.zeros(128))
    for key in ((0, 1), (0, 2), (7, 3)):
        face = photo.face(SIZE, key)
        np.testing.assert_array_equal(face.landmarks, photo.landmarks_in(SIZE, key))
        assert 0.34 * SIZE < face.iod < 0.47 * SIZE
        for place in (*eye_centres(face.landmarks), face.landmarks[30]):
            x, y = np.rint(to_picture(place, SIZE)).astype(int)
            assert face.picture[y, x].min() > 200, "a dot"
        assert np.median(face.picture) < 70
        x, y = np.rint(face.landmarks[30]).astype(int)
        assert face.head[y, x] == 1
        assert face.head.mean() < 1, "and a background"
    one, other = photo.face(SIZE, (0, 1)), photo.face(SIZE, (0, 1))
    np.testing.assert_array_equal(one.picture, other.picture)


# ------------------------------------------------------------------------------------------------------ a folder
@pytest.fixture
def folder(tmp_path, entry, monkeypatch):
    """Four photos, of which the third shows two faces; and who was looked at, since a detector takes its time."""
    names = ("anna.png", "ben.png", "couple.png", "dan.png")
    people, looked = [*(name.split(".")[0] for name in names), "zoe"], []

    def find(path):
        looked.append(path.name)
        embedding = [float(people.index(path.stem) == i) for i in range(128)]
        return changed(entry, faces=2 if path.name == "couple.png" else 1, embedding=embedding)

    monkeypatch.setattr(photos, "find_face", find)
    folder = tmp_path / "faces"
    folder.mkdir()
    for number, name in enumerate(names):
        media.write_image(folder / name, np.full((8, 8, 3), number, np.uint8))
    (folder / "README.md").write_text("no photo")
    return folder, looked


def test_a_folder_is_looked_at_once(folder, tmp_path):
    folder, looked = folder
    memory = tmp_path / "faces.json"
    for _ in range(2):
        used, left_out = check_photos(folder, SIZE, 1, memory)
        assert [photo.name for photo in used] == ["anna", "ben", "dan"]
        assert left_out == {"couple.png": "2 faces: cut the photo to one"}
    assert looked == ["anna.png", "ben.png", "couple.png", "dan.png"]
    (folder / "ben.png").rename(folder / "zoe.png")
    used, _ = check_photos(folder, SIZE, 1, memory)
    assert [photo.name for photo in used] == ["anna", "dan", "zoe"]
    assert len(looked) == 4, "the same picture under another name"
    memory.write_text("{")
    with pytest.raises(ValueError, match=r"faces\.json is damaged .*; remove it, and all photos are looked at again"):
        check_photos(folder, SIZE, 1, memory)


def test_the_same_picture_or_name_counts_once(folder, tmp_path):
    folder, _ = folder
    (folder / "zoe.png").write_bytes((folder / "anna.png").read_bytes())
    media.write_image(folder / "dan.bmp", np.full((8, 8, 3), 9, np.uint8))
    (folder / "couple.png").unlink()
    _, left_out = check_photos(folder, SIZE, 1, tmp_path / "faces.json")
    assert left_out == {
        "zoe.png": "the same picture or name as anna.png", "dan.png": "the same picture or name as dan.bmp",
    }  # fmt: skip


def test_folders_without_use(folder, tmp_path):
    folder, _ = folder
    for none in (tmp_path / "absent", tmp_path):
        with pytest.raises(ValueError, match="no photos in .*: --faces takes a folder of image files"):
            check_photos(none, SIZE, 1, tmp_path / "faces.json")
    for path in folder.glob("[abd]*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"none of the 1 photos in .* can be used; couple\.png: 2 faces"):
        check_photos(folder, SIZE, 1, tmp_path / "faces.json")


def test_people_are_kept_apart(folder, tmp_path):
    folder, _ = folder
    anna, ben, dan = check_photos(folder, SIZE, 1, tmp_path / "faces.json")[0]
    assert keep_apart([anna, ben], [dan]) == ([anna, ben], {})
    dan.embedding[:] = anna.embedding + 0.01
    kept, left_out = keep_apart([anna, ben], [dan])
    assert kept == [ben]
    assert left_out == {"anna.png": "looks like the person of dan.png, who is in the other part"}
