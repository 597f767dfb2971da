"""The prior: closed-form checks of selection, mirror and region map beyond the golden numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modules.facial_prior import (
    FLIP_PERMUTATION,
    flip_keypoints,
    region_map,
    select_keypoints,
    template_keypoints,
)

# The 68-landmark scheme mirrored: which landmark takes whose place (iBUG annotation).
MIRROR_68 = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip


def reference_region_map(points: np.ndarray, size: int, sigma: float = 0.75) -> np.ndarray:
    """Spec §1, word by word, one cell at a time."""
    total = np.zeros((size, size))
    for x, y in points:
        single = np.zeros((size, size))
        for row in range(1, size + 1):
            for column in range(1, size + 1):
                single[row - 1, column - 1] = math.exp(-math.sqrt(abs(row - y) + abs(column - x)) / (2 * sigma**2))
        single /= single.max()
        single[single < single.mean()] = 0
        total += single
    return total / total.max()


def test_region_map_word_by_word():
    points = torch.tensor([[[10.0, 20.0], [30.5, 7.25], [50.0, 60.0]]])
    expected = reference_region_map(points[0].numpy() * 16 / 64, 16)
    assert np.abs(region_map(points, (64, 64), (16, 16))[0, 0].numpy() - expected).max() < 1e-6


def test_region_map_scales_both_axes_apart():
    points = torch.rand(2, 18, 2) * torch.tensor([320.0, 160.0])
    assert region_map(points, (160, 320), (20, 40)).shape == (2, 1, 20, 40)
    square = points / torch.tensor([2.0, 1.0])
    assert torch.allclose(region_map(points, (160, 320), (40, 40)), region_map(square, (160, 160), (40, 40)))


def test_region_map_is_batched_and_bounded():
    points = torch.rand(3, 18, 2) * 256
    maps = region_map(points, (256, 256), (64, 64))
    assert maps.min() >= 0
    assert torch.allclose(maps.amax((-1, -2)), torch.ones(3, 1))
    for index in range(3):
        assert torch.allclose(maps[index : index + 1], region_map(points[index : index + 1], (256, 256), (64, 64)))


def test_mirrored_selection_is_the_mirror_of_the_selection():
    """Selecting from mirrored landmarks equals mirroring the selection: order, offsets, permutation at once."""
    rng = np.random.default_rng(0)
    landmarks = torch.tensor(rng.integers(20, 230, (68, 2)), dtype=torch.float32)
    mirrored = landmarks[MIRROR_68].clone()
    mirrored[:, 0] = 255 - mirrored[:, 0]
    left = flip_keypoints(select_keypoints(landmarks), 256)
    right = select_keypoints(mirrored)
    # Rows whose landmark has a mirror among the 18 agree; 24 ↔ 19, 38 ↔ 43 and so on.
    for row, landmark in enumerate([19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59]):
        if MIRROR_68[landmark] in (19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59):
            assert torch.equal(left[row], right[row]), f"row {row}"


def test_flip_twice_is_the_identity():
    points = torch.rand(18, 2) * 256
    assert torch.allclose(flip_keypoints(flip_keypoints(points, 256), 256), points, atol=1e-4)
    assert sorted(FLIP_PERMUTATION) == list(range(18))


def test_template():
    points = template_keypoints(256, 256)
    assert points[[0, 8, 17]].tolist() == [[71, 36], [175, 165], [201, 165]]  # spec §1
    assert (flip_keypoints(points, 256) - points).abs().max() < 20, "a face: both halves alike"
    assert torch.allclose(template_keypoints(512, 128), points * torch.tensor([0.5, 2.0]))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="68, 2"):
        select_keypoints(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"\(B, K, 2\)"):
        region_map(torch.zeros(18, 2), (256, 256), (64, 64))
