"""Landmarks and identity with dlib's models."""

from __future__ import annotations

import numpy as np
import pytest

from faces import DetectorUnavailable, dlib_model_file
from metrics.identity import OTHER_PERSON, cosine, distance, embed, identity_figures, later_frames
from metrics.landmarks import NoFaceError, jittered_boxes, landmarks_in, onset_landmarks

dlib = pytest.importorskip("dlib")


def model(name: str):
    try:
        return str(dlib_model_file(name))
    except DetectorUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def finder():
    return dlib.shape_predictor(model("shape_predictor_68_face_landmarks.dat")), dlib.get_frontal_face_detector()


@pytest.fixture(scope="module")
def recogniser():
    return dlib.face_recognition_model_v1(model("dlib_face_recognition_resnet_model_v1.dat"))


def test_landmarks_lie_on_the_face_and_do_not_change_between_calls(smile, finder):
    found = onset_landmarks(smile.frames[0], *finder)
    assert found.shape == (68, 2)
    assert np.array_equal(found, onset_landmarks(smile.frames[0], *finder))
    inner = slice(17, 68)
    error = np.linalg.norm(found[inner] - smile.landmarks[inner], axis=1) / smile.iod
    assert np.median(error) < 0.05


def test_a_smaller_picture_gives_the_same_places(smile, finder):
    boxes = jittered_boxes(smile.frames[0], finder[1])
    assert len(boxes) == 15
    assert all(left < right and top < bottom for left, top, right, bottom in boxes)
    same = landmarks_in(smile.frames[0], finder[0], boxes)
    assert np.array_equal(same, onset_landmarks(smile.frames[0], *finder))
    padded = np.pad(smile.frames[0], ((40, 40), (40, 40), (0, 0)), mode="edge")
    moved = onset_landmarks(padded, *finder) - 40
    assert np.median(np.linalg.norm(moved - same, axis=1)) < 0.02 * smile.iod


def test_no_face_is_said(finder):
    with pytest.raises(NoFaceError, match="no face found"):
        onset_landmarks(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8), *finder)


def test_identity_tells_two_people_apart_and_one_person_together(smile, other_face, recogniser):
    collins = embed(smile.frames[0], smile.landmarks, recogniser)
    smiling = embed(smile.frames[smile.apex], smile.landmarks, recogniser)
    hopper = embed(other_face.frames[0], other_face.landmarks, recogniser)
    assert distance(collins, smiling) < 0.3 < OTHER_PERSON < distance(collins, hopper)
    assert cosine(collins, smiling) > cosine(collins, hopper)
    drift = identity_figures(smile.frames, smile.landmarks, recogniser)
    assert 0 < drift["id_drift"] < 0.3
    swapped = np.concatenate([smile.frames[:8], other_face.frames[8:]])
    assert identity_figures(swapped, smile.landmarks, recogniser)["id_drift"] > OTHER_PERSON


def test_later_frames_reach_the_end():
    assert later_frames(80).tolist() == [20, 40, 59, 79]
    assert later_frames(2).tolist() == [1]
