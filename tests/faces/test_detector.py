"""Which face is meant where there are several, and what is said about it; which ones are doubtful."""

from __future__ import annotations

import argparse
from dataclasses import replace

import cv2
import numpy as np
import pytest

from faces import choose_face, face_choice, number_of, several_faces
from faces.detector import ranked
from tests.faces.pictures import dlib_detector, face_crop, made_up_face, portrait

LEFT, MIDDLE, RIGHT = (made_up_face((x, 0, x + side, side)) for x, side in ((0, 40), (100, 60), (200, 50)))


def test_faces_are_chosen_by_size_side_and_number():
    faces = ranked([RIGHT, LEFT, MIDDLE])
    chosen = {"largest": MIDDLE, "left": LEFT, "right": RIGHT, "1": LEFT, "2": MIDDLE, "3": RIGHT}
    for text, face in chosen.items():
        assert choose_face(faces, face_choice(text)) is face
    assert [number_of(face, faces) for face in (LEFT, MIDDLE, RIGHT)] == [1, 2, 3]
    with pytest.raises(ValueError, match="face 4 was asked for, but there are 3 faces; legal: .*1 to 3"):
        choose_face(faces, 4)
    with pytest.raises(ValueError, match="face 2 was asked for, but there is 1 face"):
        choose_face([LEFT], 2)


@pytest.mark.parametrize("text", ["0", "-1", "²", "top", "1.5", ""])
def test_illegal_choices(text):
    with pytest.raises(argparse.ArgumentTypeError, match="legal: largest, left, right, and numbers from 1"):
        face_choice(text)


def test_what_is_said_of_several():
    two = ranked([LEFT, RIGHT])
    assert several_faces(LEFT, [LEFT], "largest") == ""
    assert several_faces(RIGHT, two, "largest") == "2 faces, the largest was taken (right)"
    assert several_faces(LEFT, two, 1) == "2 faces, the one asked for was taken (left)"
    three = ranked([RIGHT, LEFT, MIDDLE])
    assert several_faces(MIDDLE, three, "largest") == "3 faces, the largest was taken (number 2 from the left)"


def test_a_sure_face_comes_before_a_larger_doubtful_one():
    doubtful = replace(MIDDLE, doubt="a badge")
    faces = ranked([doubtful, LEFT])
    assert choose_face(faces) is LEFT
    said = "2 faces, 1 of them doubtful, the largest sure one was taken (left)"
    assert several_faces(LEFT, faces, "largest") == said


# ------------------------------------------------------------------------------------------ dlib's doubt
@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_true_faces_are_sure(name):
    """As they are, dark, blurred, small, and cut tightly."""
    photo = portrait(name)
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for picture in (photo, photo // 6, cv2.GaussianBlur(photo, (0, 0), 2), small, face_crop(name)):
        assert dlib_detector().detect(picture)[0].doubt == ""


@pytest.mark.parametrize("hidden", ["eyes", "mouth", "half", "black"])
def test_covered_faces_are_doubtful(hidden):
    """What is found is a badge on the jacket, or a face whose landmarks are guessed: its score and place are said."""
    photo = portrait("astronaut").copy()
    if hidden == "eyes":
        photo[92:122, 190:262] = 10
    elif hidden == "mouth":
        cv2.fillPoly(
            photo, [np.array([(190, 125), (225, 118), (262, 125), (255, 160), (225, 182), (195, 160)])], (90, 150, 210)
        )
    else:
        photo = np.ascontiguousarray(photo[:, 225:]) if hidden == "half" else photo // 32
    for face in dlib_detector().detect(photo):
        assert face.doubt.startswith(f"score {face.score:.2f}, landmarks scatter by")
