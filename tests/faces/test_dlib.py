"""The dlib back end on portraits, tight crops, small and grey faces, several faces, none."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import skimage.data

from faces import DetectorUnavailable, Face, dlib_model_file, largest_face, make_detector
from faces.detector import ranked
from media import open_clip, read_image, resize_frame
from tests.faces.pictures import dlib_detector, face_crop, made_up_face, noise, portrait
from tests.real import REAL, needs_real

# Where a person sees them in the portraits: left eye, right eye, mouth corners, chin; (x, y) in pixels.
SEEN = {
    "astronaut": ((202, 101), (245, 103), (203, 140), (246, 140), (222, 176)),
    "hopper": ((219, 190), (305, 187), (230, 282), (308, 278), (271, 331)),
}


@pytest.mark.parametrize("name", SEEN)
def test_landmarks_lie_where_a_person_sees_them(name):
    face = largest_face(dlib_detector(), portrait(name))
    assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
    points = face.landmarks
    found = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[48], points[54], points[8]]
    tolerance = 0.06 * (face.box[2] - face.box[0])
    assert np.linalg.norm(np.array(found) - SEEN[name], axis=1).max() < tolerance


@pytest.mark.parametrize("name", SEEN)
def test_only_the_person_is_found(name):
    faces = dlib_detector().detect(portrait(name))
    assert len(faces) == 1  # the astronaut's suit is a candidate of the same size, with a tenth of the score
    assert faces[0].attempt == "plain"


def plain_search(image):
    """What dlib gives as it is, with one doubling: its rectangle and its landmarks (68, 2)."""
    import dlib

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    box = dlib.get_frontal_face_detector()(grey, 1)[0]
    shape = dlib.shape_predictor(str(dlib_model_file("shape_predictor_68_face_landmarks.dat")))(grey, box)
    return box, np.array([(point.x, point.y) for point in shape.parts()])


def test_paper_parity_of_the_plain_search():
    """The first step is the released code's: no padding, one doubling; the landmarks are its, but steadier."""
    box, landmarks = plain_search(portrait("hopper"))
    face = largest_face(dlib_detector(), portrait("hopper"))
    assert face.box == (box.left(), box.top(), box.right() + 1, box.bottom() + 1)
    assert np.linalg.norm(face.landmarks - landmarks, axis=1).mean() < 0.03 * box.width()


def test_landmarks_do_not_follow_the_box():
    """Cut a few pixels off the picture: the search's box jumps, and dlib's own landmarks jump with it."""

    def spread(landmarks):
        found = [landmarks(portrait("hopper")[y:, x:].copy()) + (x, y) for x, y in [(0, 0), (7, 3), (13, 11), (3, 17)]]
        return np.std(found, axis=0).mean()

    steady = spread(lambda image: largest_face(dlib_detector(), image).landmarks)
    assert steady < 1 < spread(lambda image: plain_search(image)[1])  # pixels; the eyes are 85 apart


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("size", [24, 48, 64, 256])
def test_tight_crops_of_any_size_are_found(name, size):
    """A crop of exactly the detector's box, as the paper makes them; landmarks as in the large one."""
    large = largest_face(dlib_detector(), face_crop(name, 512))
    face = largest_face(dlib_detector(), resize_frame(face_crop(name, 512), size, size))
    assert face is not None
    distance = np.linalg.norm(face.landmarks / size - large.landmarks / 512, axis=1)
    assert distance[17:].mean() < 0.04  # of the crop's side; brows, nose, eyes, mouth


def test_padding_brings_back_what_the_plain_search_misses():
    """A 24-pixel face in a 128-pixel picture; its landmarks agree with those in the picture at full size."""
    face = largest_face(dlib_detector(), resize_frame(portrait("astronaut"), 128, 128))
    assert face.attempt == "padded"
    full = largest_face(dlib_detector(), portrait("astronaut"))
    assert np.abs(face.landmarks * 4 + 1.5 - full.landmarks)[17:].mean() < 4  # pixels of 512: one of 128


def test_cut_off_face_is_found_with_the_low_threshold():
    """Only a face that fills the picture may be that uncertain."""
    crop = face_crop("hopper")
    attempts = {}
    for cut in range(0, 90, 6):
        part = np.ascontiguousarray(crop[cut : 256 - cut // 2, cut // 2 : 256 - cut])
        face = largest_face(dlib_detector(), part)
        attempts[cut] = None if face is None else face.attempt
        if face is not None and face.attempt == "padded, low threshold":
            assert face.score < 0.0
            return
    pytest.fail(f"no crop was found by the last step: {attempts}")


def test_weak_face_in_a_large_picture_is_found():
    """A portrait widened by a third scores about 0, where the threshold of the first steps lies."""
    wide = resize_frame(portrait("astronaut"), 480, 640).astype(int)
    for seed in range(3):
        grain = np.random.default_rng(seed).integers(-3, 4, wide.shape)
        noisy = np.clip(wide + grain, 0, 255).astype(np.uint8)
        face = largest_face(dlib_detector(), noisy)
        assert face is not None and face.score < 0.3
        nose = face.landmarks[30] / (640 / 512, 480 / 512)
        assert np.abs(nose - (225, 124)).max() < 8  # seen in the portrait


def test_grey_face_is_the_face():
    grey = cv2.cvtColor(portrait("astronaut"), cv2.COLOR_RGB2GRAY)
    colour = largest_face(dlib_detector(), portrait("astronaut"))
    face = largest_face(dlib_detector(), np.repeat(grey[..., None], 3, axis=2))
    assert face.box == colour.box
    assert np.array_equal(face.landmarks, colour.landmarks)


def test_largest_of_several():
    large, small = face_crop("astronaut", 256, "square", 0.25), face_crop("hopper", 160, "square", 0.25)
    canvas = np.zeros((256, 416, 3), np.uint8)
    canvas[:160, :160], canvas[:, 160:] = small, large
    faces = dlib_detector().detect(canvas)
    assert len(faces) == 2
    assert faces[0].area > faces[1].area
    assert faces[0].box[0] > 160 > faces[1].box[2]
    assert largest_face(dlib_detector(), canvas).box == faces[0].box


FACELESS = {
    "noise": noise(),
    "flat": np.full((256, 256, 3), 128, np.uint8),
    "coffee": skimage.data.coffee()[::2, ::2],
    "coins": np.repeat(skimage.data.coins()[..., None], 3, axis=2),
    "rocket": skimage.data.rocket(),  # holds a candidate above the low threshold, far too small to be trusted
    "one pixel": noise(1, 1),
}


@pytest.mark.parametrize("image", FACELESS.values(), ids=FACELESS)
def test_no_face(image):
    assert dlib_detector().detect(image) == []
    assert largest_face(dlib_detector(), image) is None


def test_threads_share_one_detector():
    """Two threads, three pictures, twice: every one gets its own picture's result."""
    pictures = [face_crop("astronaut"), face_crop("hopper"), noise(64, 64)] * 2
    alone = [dlib_detector().detect(picture) for picture in pictures[:3]] * 2
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(dlib_detector().detect, pictures))
    for one, other in zip(alone, together, strict=True):
        assert [face.box for face in one] == [face.box for face in other]
        assert all(np.array_equal(a.landmarks, b.landmarks) for a, b in zip(one, other, strict=True))


def test_upsample_finds_smaller_faces():
    image = np.full((400, 400, 3), 200, np.uint8)
    image[100:150, 150:200] = resize_frame(face_crop("astronaut", 256, "square", 0.15), 50, 50)
    assert dlib_detector(upsample=1).detect(image)[0].attempt == "plain"
    assert [face.attempt for face in dlib_detector(upsample=0).detect(image)] != ["plain"]


@needs_real
@pytest.mark.parametrize("file", ["westernMale.png", "s3_po_05.gif"])
def test_real_faces_cropped_to_their_box(file):
    image = read_image(REAL / file) if file.endswith("png") else open_clip(REAL / file).first()
    face = largest_face(dlib_detector(), image)
    assert face is not None
    eyes, mouth = face.landmarks[36:48].mean(axis=0), face.landmarks[48:68].mean(axis=0)
    height, width = image.shape[:2]
    assert 0.3 * width < eyes[0] < 0.7 * width and 0.15 * height < eyes[1] < 0.5 * height
    assert 0.3 * width < mouth[0] < 0.7 * width and 0.6 * height < mouth[1] < 0.95 * height


# ------------------------------------------------------------------------------------------ wrong use
@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32), "face.png"],
    ids=["grey", "alpha", "float", "path"],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="expected a uint8 RGB image"):
        dlib_detector().detect(image)


def test_empty_image_is_refused():
    with pytest.raises(ValueError, match="empty"):
        dlib_detector().detect(np.zeros((0, 8, 3), np.uint8))


def test_model_file_is_found_without_importing_its_package():
    assert dlib_model_file("dlib_face_recognition_resnet_model_v1.dat").stat().st_size > 1_000_000
    assert "face_recognition_models" not in sys.modules


def test_model_file_that_is_not_there():
    with pytest.raises(DetectorUnavailable, match="no_such_model.dat.*pip install"):
        dlib_model_file("no_such_model.dat")


def test_missing_packages_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DetectorUnavailable, match="pip install face_recognition_models"):
        dlib_model_file("shape_predictor_68_face_landmarks.dat")
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DetectorUnavailable, match="pip install dlib-bin"):
        make_detector("dlib")


def test_model_path(tmp_path):
    with pytest.raises(DetectorUnavailable, match="no such landmark model"):
        make_detector("dlib", model_path=tmp_path / "absent.dat")
    broken = tmp_path / "broken.dat"
    broken.write_bytes(b"not a model")
    with pytest.raises(DetectorUnavailable, match="no landmark model of dlib"):
        make_detector("dlib", model_path=broken)
    with pytest.raises(DetectorUnavailable, match="5 landmarks; expected a model with 68"):
        make_detector("dlib", model_path=dlib_model_file("shape_predictor_5_face_landmarks.dat"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mtcnn"}, "legal are face-alignment, dlib"),
        ({"name": "dlib", "device": "cuda"}, "dlib runs on the CPU"),
        ({"name": "dlib", "upsample": 9}, "upsample is 9; legal are"),
        ({"name": "face-alignment", "upsample": 1}, "upsample belongs to dlib"),
    ],
)
def test_illegal_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_detector(**options)


def test_version_tells_what_results_depend_on():
    version = dlib_detector().version
    assert "dlib" in version and "upsample 1" in version and "shape_predictor_68" in version
    assert dlib_detector(upsample=0).version != version


# ------------------------------------------------------------------------------------------ the record
def test_face_area_and_order():
    small, large = made_up_face((0, 0, 4, 4)), made_up_face((0, 0, 5, 4))
    sure = made_up_face((1, 0, 5, 4), score=2.0)
    assert (small.area, large.area) == (16, 20)
    assert ranked([small, sure, large]) == [large, sure, small]


def test_impossible_faces_are_refused():
    landmarks = np.zeros((68, 2), np.float32)
    with pytest.raises(ValueError, match="empty"):
        Face((4, 0, 4, 8), landmarks, 1.0)
    with pytest.raises(ValueError, match=r"\(68, 2\)"):
        Face((0, 0, 8, 8), landmarks[:5], 1.0)
