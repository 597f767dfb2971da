"""Crop geometry with answers worked out by hand, and its way back."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest

from faces import largest_face
from faces.crop import (
    Crop,
    add_crop_options,
    apply_crop,
    box_matrix,
    chosen_crop,
    eye_roll,
    invert_matrix,
    is_face_crop,
    paste_crop,
    to_gray,
    transform_points,
)
from media import resize_frame
from tests.faces.pictures import dlib_detector, made_up_face, noise, portrait


def smooth(height: int, width: int) -> np.ndarray:
    """A picture whose values are known everywhere: red is x, green is y (both up to 255), blue is 100."""
    rows, columns = np.indices((height, width))
    return np.stack([columns, rows, np.full_like(rows, 100)], axis=-1).astype(np.uint8)


# ------------------------------------------------------------------------------------------ cut already?
ADAPTING = Crop(64, "square", 0.1, adapt=True)


@pytest.mark.parametrize(
    ("box", "size", "whole"),
    [
        ((18, 19, 242, 243), (256, 256), True),  # as SMIC's own crops
        ((-37, -37, 261, 261), (256, 256), True),  # forehead and ears are cut off
        ((5, 40, 225, 260), (282, 231), True),  # as CASME II's own crops
        ((30, 60, 190, 220), (256, 256), False),
        ((10, 60, 220, 270), (320, 240), False),  # a selfie
        ((700, 300, 1100, 700), (1080, 1920), False),
    ],
)
def test_pictures_that_are_cut_already(box, size, whole):
    face = made_up_face(box)
    assert is_face_crop(face, size) == whole
    assert (ADAPTING.adapted(face, size).recipe == "whole") == whole
    assert Crop(64, "square", 0.1).adapted(face, size).recipe == "square", "only where it is asked for"


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((60, 60, 110, 110), (55, 55, 115, 115)),  # as without
        ((-10, 60, 40, 110), (0, 55, 60, 115)),  # moved inside
        ((170, 100, 220, 150), (140, 90, 200, 150)),
        ((40, 10, 180, 150), (35, 0, 185, 150)),  # made smaller
    ],
)
def test_an_adapting_square_stays_inside(box, expected):
    assert ADAPTING.box(made_up_face(box), (150, 200)) == expected


def test_a_crop_of_all_the_picture_is_pasted_to_its_edges():
    image, crop = smooth(60, 60), np.zeros((60, 60, 3), np.uint8)
    assert paste_crop(image, crop, box_matrix((0, 0, 60, 60), 60)).max() == 0
    left = paste_crop(image, crop, box_matrix((0, 0, 30, 30), 60))
    assert left[:20, :20].max() == 0 and left[29, 0].max() > 20 and left[0, 29].max() > 20


# ------------------------------------------------------------------------------------------ which box
@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 60, 80), (10, 20, 60, 80)),
        ((-15, -10, 60, 80), (0, 0, 60, 80)),  # the released code cuts an empty image here
        ((10, 20, 140, 130), (10, 20, 120, 100)),
    ],
)
def test_paper_box_is_clipped(box, expected):
    assert Crop().box(made_up_face(box), (100, 120)) == expected


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((10, 20, 60, 70), 0.0, (10, 20, 60, 70)),
        ((10, 20, 60, 80), 0.0, (5, 20, 65, 80)),  # 50×60 → 60×60 around the same centre
        ((40, 40, 60, 60), 0.25, (35, 35, 65, 65)),
        ((-10, 0, 30, 40), 0.5, (-30, -20, 50, 60)),  # reaches outside: never clipped
    ],
)
def test_square_box(box, margin, expected):
    got = Crop(recipe="square", margin=margin).box(made_up_face(box), (100, 120))
    assert got == expected
    assert got[2] - got[0] == got[3] - got[1]


@pytest.mark.parametrize("recipe", ["paper", "square"])
def test_boxes_are_never_empty(recipe):
    """Any box that shares a pixel with the image gives a crop; one that shares none is refused."""
    crop = Crop(16, recipe)
    for x0 in range(-6, 12, 2):
        for y0 in range(-6, 12, 2):
            face, touches = made_up_face((x0, y0, x0 + 4, y0 + 5)), -4 < x0 < 8 and -5 < y0 < 6
            if touches:
                x, y, right, lower = crop.box(face, (6, 8))
                assert right > x and lower > y
                assert crop.apply(noise(6, 8), crop.matrix(face, (6, 8))).shape == (16, 16, 3)
            else:
                with pytest.raises(ValueError, match="outside the image"):
                    crop.box(face, (6, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "round"}, "legal are paper, square, whole"),
        ({"recipe": "whole", "margin": 0.2}, "the recipe 'whole' has none"),
        ({"margin": 0.2}, "the paper's recipe has none"),
        ({"recipe": "square", "margin": -0.1}, "margin is -0.1; legal are 0 to 3"),
        ({"recipe": "square", "margin": math.nan}, "margin is nan"),
        ({"align": "mouth"}, "legal are none, eyes"),
        ({"size": 0}, "legal are 1 pixel and more"),
    ],
)
def test_illegal_crops(options, message):
    with pytest.raises(ValueError, match=message):
        Crop(**options)


def test_boxes_and_crops_have_pixels():
    for box, size in (((10, 10, 50, 50), 0), ((10, 10, 10, 50), 8), ((10, 50, 50, 10), 8)):
        with pytest.raises(ValueError, match="at least one pixel"):
            box_matrix(box, size)


# ------------------------------------------------------------------------------------------ the matrix
def test_matrix_of_an_upright_box():
    """Box (10, 20)–(60, 40) to 100×100: 2 pixels a pixel in x, 5 in y; edges go to edges."""
    matrix = box_matrix((10, 20, 60, 40), 100)
    assert np.allclose(matrix[:, :2], [[2, 0], [0, 5]])
    assert np.allclose(transform_points(matrix, (9.5, 19.5)), (-0.5, -0.5))
    assert np.allclose(transform_points(matrix, (59.5, 39.5)), (99.5, 99.5))


def test_whole_image_at_its_own_size_is_the_identity():
    assert np.allclose(box_matrix((0, 0, 64, 64), 64), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 12.0, 90.0])
def test_eyes_become_horizontal(degrees):
    face = made_up_face((20, 30, 60, 70), math.radians(degrees))
    assert math.isclose(eye_roll(face.landmarks), math.radians(degrees), abs_tol=1e-5)
    matrix = Crop(80, "square", 0.0, "eyes").matrix(face, (100, 100))
    eyes = transform_points(matrix, face.landmarks[[36, 42]])
    assert np.allclose(eyes, [(19.5, 39.5), (59.5, 39.5)], atol=1e-3)  # half the crop apart around its centre


def test_inverse_matrix():
    matrix = box_matrix((7, -3, 50, 40), 128, roll=0.3)
    points = np.random.default_rng(0).uniform(-50, 200, (20, 2))
    assert np.allclose(transform_points(invert_matrix(matrix), transform_points(matrix, points)), points)


# ------------------------------------------------------------------------------------------ pixels
def test_box_at_its_own_size_is_cut_out_exactly():
    frame = noise(90, 120)
    assert np.array_equal(apply_crop(frame, box_matrix((30, 10, 94, 74), 64), 64), frame[10:74, 30:94])


def test_outside_repeats_the_edge():
    frame = noise(40, 50)
    crop = apply_crop(frame, box_matrix((-10, -20, 54, 44), 64), 64)
    assert np.array_equal(crop[20:60, 10:60], frame)
    assert (crop[:20, 10:60] == frame[0]).all() and (crop[60:, 10:60] == frame[-1]).all()
    assert (crop[20:60, :10] == frame[:, :1]).all() and (crop[20:60, 60:] == frame[:, -1:]).all()
    assert (crop[:20, :10] == frame[0, 0]).all()


def test_paper_recipe_loses_the_aspect_ratio_and_square_keeps_it():
    face = made_up_face((20, 10, 60, 90))  # 40 wide, 80 high
    frame = smooth(100, 100)
    paper = apply_crop(frame, Crop(80).matrix(face, (100, 100)), 80)
    assert np.array_equal(paper, resize_frame(frame[10:90, 20:60], 80, 80))
    square = apply_crop(frame, Crop(80, "square").matrix(face, (100, 100)), 80)
    assert np.array_equal(square, frame[10:90, 0:80])


def test_turned_crop_samples_the_right_places():
    """Red and green of the picture are its own coordinates, so the crop shows where each pixel came from."""
    matrix = box_matrix((60, 70, 180, 190), 100, roll=0.4)
    crop = apply_crop(smooth(256, 256), matrix, 100)
    columns, rows = np.meshgrid(np.arange(100), np.arange(100))
    source = transform_points(invert_matrix(matrix), np.stack([columns, rows], axis=-1))
    assert np.abs(crop[..., :2] - source).max() <= 1.0
    assert (crop[..., 2] == 100).all()


def test_turning_does_not_alias():
    """A fine checkerboard shrunk to a fifth is grey, upright or turned; picking single pixels shows it."""
    rows, columns = np.indices((500, 500))
    board = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    for roll in (0.0, 0.2):
        crop = apply_crop(board, box_matrix((100, 100, 350, 350), 50, roll), 50)
        assert np.abs(crop.astype(float) - 127.5).max() < 40


def test_turned_and_upright_paths_agree():
    """An almost upright crop takes the other path; in a portrait the two differ by next to nothing."""
    face = largest_face(dlib_detector(), portrait("hopper"))
    box = Crop(recipe="square", margin=0.2).box(face, portrait("hopper").shape[:2])
    upright = apply_crop(portrait("hopper"), box_matrix(box, 256), 256).astype(float)
    turned = apply_crop(portrait("hopper"), box_matrix(box, 256, roll=1e-5), 256).astype(float)
    assert np.abs(upright - turned).mean() < 2.0


def test_landmarks_of_the_crop_are_the_crop_of_the_landmarks():
    image = portrait("astronaut")
    face = largest_face(dlib_detector(), image)
    matrix = Crop(256, "square", 0.25, "eyes").matrix(face, image.shape[:2])
    again = largest_face(dlib_detector(), apply_crop(image, matrix, 256))
    assert np.abs(again.landmarks - transform_points(matrix, face.landmarks))[17:].mean() < 6.0
    assert abs(eye_roll(again.landmarks)) < 0.03


def test_whole_is_resizing_and_needs_no_face():
    frame, crop = noise(60, 90), Crop(size=32, recipe="whole")
    assert not crop.needs_face and Crop(recipe="whole", align="eyes").needs_face
    assert np.array_equal(crop.apply(frame, crop.matrix(None, (60, 90))), resize_frame(frame, 32, 32))


def test_gray_is_luma_in_three_channels():
    """ITU-R 601 of the true channels; the released code exchanged red and blue."""
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert np.array_equal(to_gray(colours), np.repeat([[[76], [150], [29], [255]]], 3, axis=2))
    frame, face = noise(50, 50), made_up_face((5, 5, 45, 45))
    crop = Crop(size=40, gray=True)
    matrix = crop.matrix(face, (50, 50))
    assert np.array_equal(crop.apply(frame, matrix), to_gray(apply_crop(frame, matrix, 40)))


def test_crop_options_of_a_command_line():
    parser = argparse.ArgumentParser()
    add_crop_options(parser, recipe="square", margin=0.1)

    def chosen(*words: str) -> Crop:
        return chosen_crop(parser.parse_args(words), 256, "square", 0.1)

    assert chosen() == Crop(256, "square", 0.1, adapt=True)
    assert chosen("--margin", "0") == Crop(256, "square", 0.0, adapt=True)
    assert chosen("--crop", "square") == Crop(256, "square", 0.1)
    assert chosen("--crop", "paper", "--align", "eyes", "--gray") == Crop(align="eyes", gray=True)
    with pytest.raises(ValueError, match="use recipe 'square'"):
        chosen("--crop", "whole", "--margin", "0.1")
    with pytest.raises(ValueError, match="legal are 1 pixel"):
        Crop(size=0)
    with pytest.raises(ValueError, match="use recipe 'square'"):
        Crop(recipe="paper", margin=0.1)  # before any frame is read


# ------------------------------------------------------------------------------------------ the way back
def test_paste_leaves_the_rest_alone_and_fades_in():
    image, crop = np.full((100, 120, 3), 50, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    pasted = paste_crop(image, crop, box_matrix((20, 10, 84, 74), 64), feather=0.25)
    assert (pasted[:10] == 50).all() and (pasted[74:] == 50).all()
    assert (pasted[:, :20] == 50).all() and (pasted[:, 84:] == 50).all()
    assert (pasted[10 + 16 : 74 - 16, 20 + 16 : 84 - 16] == 200).all()
    ramp = pasted[42, 20:37, 0].astype(int)
    assert (np.diff(ramp) >= 0).all() and ramp[0] <= 52 and ramp[-1] == 200
    assert (image == 50).all()  # the photo itself is not written to


def test_hard_paste_of_a_cut_out_is_exact():
    image = noise(100, 120)
    matrix = box_matrix((20, 10, 84, 74), 64)
    assert np.array_equal(paste_crop(image, apply_crop(image, matrix, 64), matrix, feather=0.0), image)


@pytest.mark.parametrize(("size", "roll"), [(256, 0.0), (256, 0.3), (40, 0.3)])
def test_crop_and_paste_give_the_photo_back(size, roll):
    image = portrait("hopper")
    matrix = box_matrix((174, 134, 366, 326), size, roll)
    pasted = paste_crop(image, apply_crop(image, matrix, size), matrix)
    inside = np.abs(pasted.astype(float) - image)[150:310, 190:350].mean()
    assert inside < (3.0 if size == 256 else 12.0)  # a crop of 40 pixels has lost the detail


def test_paste_of_a_crop_that_reaches_outside():
    image = noise(60, 60)
    crop, matrix = np.full((32, 32, 3), 9, np.uint8), box_matrix((-16, 40, 16, 72), 32)
    pasted = paste_crop(image, crop, matrix, feather=0.0)
    assert (pasted[40:, :16] == 9).all()
    assert np.array_equal(pasted[:40], image[:40]) and np.array_equal(pasted[:, 16:], image[:, 16:])
    far = paste_crop(image, np.zeros((8, 8, 3), np.uint8), box_matrix((200, 200, 208, 208), 8))
    assert np.array_equal(far, image)


def test_illegal_pastes():
    image, matrix = noise(20, 20), box_matrix((0, 0, 8, 8), 8)
    with pytest.raises(ValueError, match="feather is 0.7"):
        paste_crop(image, noise(8, 8), matrix, feather=0.7)
    with pytest.raises(ValueError, match="square crop, got 9×8"):
        paste_crop(image, noise(8, 9), matrix)
