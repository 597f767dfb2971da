"""The canonical face frame."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.canonical import (
    EYE_CENTRES,
    IOD,
    REGIONS,
    canonical_frame,
    disc,
    eye_centres,
    fit_stretch,
    locate_face,
    region_centres,
)


def test_eyes_land_where_the_definition_puts_them_even_on_a_tilted_face(smile):
    angle = np.deg2rad(12.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = smile.landmarks @ turn.T * 1.7 + [20.0, -5.0]
    face = locate_face(landmarks, 600, 600)
    assert eye_centres(face.landmarks) == pytest.approx(EYE_CENTRES, abs=1e-6)
    assert face.iod_px == pytest.approx(1.7 * smile.iod, rel=0.02)
    linear = face.matrix[:, :2]
    assert linear @ linear.T == pytest.approx(np.eye(2) * (IOD / face.iod_px) ** 2)  # no shear, no squeeze
    assert np.linalg.det(linear) > 0


def test_the_picture_follows_its_landmarks(smile):
    face = locate_face(smile.landmarks, *smile.frames.shape[1:3])
    marked = smile.frames[0].copy()
    x, y = np.round(smile.landmarks[30]).astype(int)
    marked[y - 3 : y + 4, x - 3 : x + 4] = 255
    difference = canonical_frame(marked, face).astype(int) - canonical_frame(smile.frames[0], face)
    rows, columns = np.nonzero(difference > 30)
    assert np.array([columns.mean(), rows.mean()]) == pytest.approx(face.landmarks[30], abs=1.5)


def test_regions_lie_on_their_sides(smile):
    face = locate_face(smile.landmarks, *smile.frames.shape[1:3])
    centres = dict(zip(REGIONS, region_centres(face.landmarks), strict=True))
    for name, centre in centres.items():
        if name.endswith("_L"):
            assert centre[0] < centres[f"{name[:-2]}_R"][0]
    assert centres["brow_mid_L"][1] < centres["lid_L"][1] < centres["infra_L"][1] < centres["mouth_L"][1]
    assert centres["chin"][1] - centres["lip_lo"][1] == pytest.approx(0.28 * IOD)


def test_disc_area():
    assert disc(np.array([128.0, 144.0]), 12.48).sum() == pytest.approx(np.pi * 12.48**2, rel=0.02)


def test_stretch_maps_the_face_to_20_235(smile):
    face = locate_face(smile.landmarks, *smile.frames.shape[1:3])
    onset = canonical_frame(smile.frames[0], face)
    stretch = fit_stretch(onset, face)
    low, high = np.percentile(onset[face.hull()], [1, 99])
    assert (stretch.low, stretch.high) == (low, high)
    flat = np.full((288, 256), int(high), np.uint8)
    assert stretch.apply(flat).mean() == pytest.approx(235, abs=1.5)
    assert stretch.apply(np.zeros((288, 256), np.uint8)).min() == 20  # clipped
