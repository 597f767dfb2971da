"""Tracks: geometry in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from modules.coords import make_coordinate_grid
from modules.facial_prior import flip_keypoints, template_keypoints
from modules.track import (
    MAX_SLOPE,
    Carrier,
    Track,
    face_turn,
    face_weight,
    field_motion,
    field_slope,
    limit_slope,
    still_lower_lids,
    thin_plate_spline,
)

SIZE = (256, 256)
FACE = template_keypoints(*SIZE)


def grid(cells: int = 33) -> torch.Tensor:
    return (make_coordinate_grid(cells, cells) + 1) * 255 / 2


def bump(places: torch.Tensor, centre: torch.Tensor, move: torch.Tensor, width: float = 30.0) -> torch.Tensor:
    """A smooth movement around ``centre``, pixels."""
    return torch.exp(-0.5 * (places - centre).square().sum(-1, keepdim=True) / width**2) * move


def make_track(face: torch.Tensor = FACE, move: tuple[float, float] = (0.0, -3.0), head: list | None = None) -> Track:
    """Two frames: the onset, and the image-left mouth corner (row 7) moved."""
    move = torch.tensor(move)
    heads = torch.zeros(2, 2, 3)
    if head is not None:
        heads[1] = torch.tensor(head)
    field = torch.stack([torch.zeros(33, 33, 2), bump(grid(), face[7], move)])
    own = torch.stack([torch.zeros(18, 2), bump(face, face[7], move)])
    track = Track(onset=face, points=face + own, field=field, head=heads, size=SIZE)
    return Track(face, track.points + track.head_at(face), field, heads, SIZE)


def turned(points: torch.Tensor, degrees: float, scale: float) -> torch.Tensor:
    angle = math.radians(degrees)
    matrix = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - 128) @ matrix.T + 128, matrix


# ------------------------------------------------------------------------------------------ frames change
def test_mirrored_twice_is_the_same():
    track, mirror, shift = make_track(head=[[0.01, -0.02, 1], [0.02, 0.01, -1]]), torch.diag(
        torch.tensor([-1.0, 1.0])
    ), torch.tensor([255.0, 0.0])
    once = track.affine(mirror, shift, SIZE, mirrored=True)
    assert torch.allclose(once.points, flip_keypoints(track.points, 256))
    assert torch.allclose(once.field, track.field.flip(2) * torch.tensor([-1.0, 1.0]), atol=1e-4)
    twice = once.affine(mirror, shift, SIZE, mirrored=True)
    for name in ("onset", "points", "field", "head"):
        assert torch.allclose(getattr(twice, name), getattr(track, name), atol=1e-4), name


def test_a_resized_track_moves_in_proportion():
    track = make_track(head=[[0.01, -0.02, 1], [0.02, 0.01, -1]])
    small = track.resized((128, 64))
    scale = torch.tensor([0.25, 0.5])
    assert small.size == (128, 64)
    assert torch.allclose(small.points, track.points * scale)
    assert torch.allclose(small.head_at(small.onset), track.head_at(track.onset) * scale, atol=1e-5)
    # The grid spans the frame, whose corner pixels keep their places but for half a pixel.
    assert torch.allclose(small.field, track.field * scale, atol=0.05)
    assert track.resized(SIZE) is track


def test_head_goes_along_with_a_rotation_of_the_frame():
    track = make_track(head=[[0.0, -0.02, 1.5], [0.02, 0.0, -1]])
    _, matrix = turned(FACE, 30, 1.0)
    offset = torch.tensor([128.0, 128.0]) - matrix @ torch.tensor([128.0, 128.0])
    moved = track.affine(matrix, offset, SIZE)
    assert torch.allclose(moved.head_at(moved.onset), track.head_at(FACE) @ matrix.T, atol=1e-4)
    assert torch.allclose(moved.points - moved.onset, (track.points - FACE) @ matrix.T, atol=1e-4)


# ------------------------------------------------------------------------------------------ motion
def test_field_motion_of_shifts():
    driving = torch.zeros(1, 8, 8, 2) + torch.tensor([0.1, -0.05])
    source = torch.zeros(1, 8, 8, 2) + torch.tensor([0.02, 0.03])
    expected = make_coordinate_grid(16, 16) - torch.tensor([0.1, -0.05]) + torch.tensor([0.02, 0.03])
    assert torch.allclose(field_motion(driving, source, (16, 16))[0], expected, atol=1e-6)


def test_field_motion_is_the_inverse():
    """x + driving(x) = z: what arrives at z came from there."""
    displacement = make_track().displacement()[1:]
    came_from = field_motion(displacement, torch.zeros_like(displacement), SIZE)
    places = (came_from + 1) * 255 / 2
    arrived = places + bump(places, FACE[7], torch.tensor([0.0, -3.0]))
    assert (arrived - (make_coordinate_grid(*SIZE) + 1) * 255 / 2).abs().max() < 0.1  # pixels


def test_no_difference_is_no_motion():
    displacement = make_track().displacement()[1:]
    same = field_motion(displacement, displacement, (64, 64))
    assert torch.allclose(same[0], make_coordinate_grid(64, 64), atol=5e-4)


# ------------------------------------------------------------------------------------------ from face to face
def test_the_spline_goes_through_its_points_and_keeps_affine_maps():
    target, matrix = turned(FACE, 20, 0.7)
    assert torch.allclose(thin_plate_spline(FACE, target, FACE), target, atol=1e-2)
    places = torch.rand(5, 7, 2, generator=torch.Generator().manual_seed(0)) * 256
    assert torch.allclose(thin_plate_spline(FACE, target, places), turned(places, 20, 0.7)[0], atol=1e-2)


def test_a_rigid_spline_gives_way_to_the_best_affine_map():
    """Points off an affine map are missed by more, the greater the rigidity: by the least squares' residual at most."""
    target = FACE + torch.randn(18, 2, generator=torch.Generator().manual_seed(0))
    affine = torch.cat([torch.ones(18, 1), FACE], dim=1)
    best = affine @ torch.linalg.lstsq(affine, target).solution
    missed = [(thin_plate_spline(FACE, target, FACE, rigidity) - target).norm() for rigidity in (0, 0.1, 1, 10)]
    assert missed[0] < 1e-2 and all(a < b for a, b in zip(missed[:-1], missed[1:], strict=True))
    assert missed[-1] < (best - target).norm()
    assert torch.allclose(thin_plate_spline(FACE, target, FACE, 1e6), best, atol=1e-2)


def test_turn_and_scale_between_faces():
    other, matrix = turned(FACE, 20, 0.7)
    assert torch.allclose(face_turn(other, FACE), matrix, atol=1e-3)
    assert torch.allclose(face_turn(other, FACE, rescale=False), matrix / 0.7, atol=1e-3)
    with pytest.raises(ValueError, match="both eyes are in one place"):
        face_turn(torch.zeros(18, 2), FACE)


def test_weight_covers_the_face_and_nothing_far_from_it():
    inside = face_weight(FACE, FACE)
    assert torch.equal(inside, torch.ones(18))
    corners = torch.tensor([[0.0, 0.0], [255.0, 0.0], [0.0, 255.0], [255.0, 255.0]])
    assert face_weight(FACE * 0.5 + 64, corners).abs().max() == 0


def test_a_movement_is_carried_to_a_turned_and_smaller_face():
    """The same place of the other face moves, in its own axes and size."""
    other, matrix = turned(FACE, 20, 0.7)
    track = make_track()
    carrier = Carrier(other, (200, 280), track)
    units = torch.tensor([279.0, 199.0]) / 2
    moved = carrier.points(track)[1]
    assert torch.allclose(moved, (track.points[1] - FACE) @ matrix.T, atol=1e-3)
    field = carrier.field(track)
    assert not field[0].any()
    pixels = field[1] * units
    row, column = divmod(int(pixels.norm(dim=-1).argmax()), 33)
    places = (make_coordinate_grid(33, 33) + 1) * units
    assert torch.allclose(places[row, column], other[7], atol=8.0)  # the nearest cell
    largest = pixels[row, column]
    assert torch.allclose(largest, torch.tensor([0.0, -3.0]) @ matrix.T, atol=0.15)


def test_head_motion_is_left_behind_or_kept():
    head = [[0.0, -0.02, 4.0], [0.02, 0.0, -1.0]]
    still = make_track(move=(0.0, 0.0), head=head)
    removed = Carrier(FACE, SIZE, still)
    assert removed.points(still)[1].abs().max() < 1e-4
    assert not removed.field(still).any()
    kept = Carrier(FACE, SIZE, still, keep_head=True)
    assert torch.allclose(kept.points(still)[1], still.head_at(FACE)[1], atol=1e-4)
    assert torch.allclose(kept.field(still)[1] * 255 / 2, still.head_at(grid())[1], atol=1e-3)


def test_without_rescaling_pixels_stay_pixels():
    other, _ = turned(FACE, 0, 0.5)
    track = make_track()
    moved = Carrier(other, SIZE, track, rescale=False).points(track)[1]
    assert torch.allclose(moved, track.points[1] - FACE, atol=1e-3)


# ------------------------------------------------------------------------------------------ folds
def lids(move: tuple[float, float], rows: tuple[int, ...] = (3, 4)) -> tuple[torch.Tensor, torch.Tensor]:
    """What is changed of a movement about the key points ``rows``: at the left eye's upper and lower lid."""
    upper, lower = FACE[3].round(), FACE[4].round()
    places = (make_coordinate_grid(256, 256) + 1) * 255 / 2
    moved = sum(bump(places, FACE[row], torch.tensor(move), width=6.0) for row in rows)[None]
    left = still_lower_lids(moved, FACE, places)[0] - moved[0]
    return left[int(upper[1]), int(upper[0])], left[int(lower[1]), int(lower[0])]


def test_a_blink_leaves_the_lower_lid_where_it_is():
    upper, lower = lids((0.0, 6.0))
    assert upper.norm() < 0.1
    assert lower[1] < -5.9  # all of its fall
    assert lower[0].abs() < 0.4  # along the face's own axes: its eyes are a degree off the horizontal


@pytest.mark.parametrize("move", [(0.0, -6.0), (4.0, 0.0)])
def test_lower_lids_may_rise_and_go_aside(move):
    upper, lower = lids(move)
    assert upper.norm() < 0.2 and lower.norm() < 0.2


def test_a_lower_lid_may_fall_alone():
    fallen = torch.zeros(1, 256, 256, 2)
    fallen[0, round(float(FACE[4, 1])) :, :, 1] = 3.0
    places = (make_coordinate_grid(256, 256) + 1) * 255 / 2
    assert torch.equal(still_lower_lids(fallen, FACE, places), fallen)


def test_slope_of_known_fields():
    """A stretch, a shear, a turn: the largest singular value of the derivative."""
    places = make_coordinate_grid(17, 9)[None]
    for matrix in ([[0.3, 0.0], [0.0, -0.5]], [[0.0, 0.7], [0.0, 0.0]], [[0.0, -0.2], [0.2, 0.0]]):
        matrix = torch.tensor(matrix)
        expected = torch.linalg.matrix_norm(matrix, 2)
        assert torch.allclose(field_slope(places @ matrix.T), expected, atol=1e-3)


def test_movements_of_skin_are_left_as_they_are():
    field = make_track(move=(0.0, -6.0)).field / 127.5
    assert limit_slope(field) is field


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_closing_lid_does_not_fold(factor):
    """Displacements that jump from cell to cell are smoothed until they can be inverted, and nothing else is."""
    field = make_track(move=(0.0, -3.0)).field / 127.5  # the mouth
    lid = torch.zeros_like(field)
    lid[1, 9:12, 6:12, 1] = factor * 0.2  # 25 pixels down, next to nothing
    assert field_slope(lid).max() > 1.5 * factor
    out = limit_slope(field + lid)
    assert field_slope(out).max() <= MAX_SLOPE + 1e-4
    assert torch.equal(out[0], field[0])
    assert torch.equal(out[1, 20:], field[1, 20:]), "the mouth moves as before"
    assert out[1, 9:12, 6:12, 1].mean() > 0.03, "the lid still moves"
    arrived = field_motion(out, torch.zeros_like(out), (33, 33))
    forth = arrived + torch.nn.functional.grid_sample(
        out.permute(0, 3, 1, 2), arrived, align_corners=True, padding_mode="border"
    ).permute(0, 2, 3, 1)
    assert (forth - make_coordinate_grid(33, 33)).abs().max() < 0.02, "there and back"
