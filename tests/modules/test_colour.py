"""Luminance and chrominance: known colours, the way there and back."""

from __future__ import annotations

import torch

from modules.colour import chrominance, combine, luminance, to_grey


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(seed))


def test_known_colours():
    """ITU-R BT.601: white, red, blue."""
    colours = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 1]]).view(3, 3, 1, 1)
    assert torch.allclose(luminance(colours).flatten(), torch.tensor([1.0, 0.299, 0.114]))
    expected = torch.tensor([[0.0, 0.0], [-0.168736, 0.5], [0.5, -0.081312]])
    assert torch.allclose(chrominance(colours).flatten(1), expected, atol=1e-6)


def test_there_and_back():
    images = pictures()
    assert torch.allclose(combine(luminance(images), chrominance(images)), images, atol=1e-6)


def test_grey_has_no_chrominance():
    grey = to_grey(pictures())
    assert torch.allclose(grey[:, 0], grey[:, 2])
    assert torch.allclose(chrominance(grey), torch.zeros(2, 2, 8, 9), atol=1e-6)
    assert torch.allclose(luminance(grey), luminance(pictures()), atol=1e-6)


def test_combining_takes_luminance_from_one_and_colour_from_the_other():
    light, coloured = pictures(1) * 0.2 + 0.4, pictures(2) * 0.2 + 0.4  # nothing is clipped
    out = combine(luminance(light), chrominance(coloured))
    assert torch.allclose(luminance(out), luminance(light), atol=1e-6)
    assert torch.allclose(chrominance(out), chrominance(coloured), atol=1e-6)


def test_results_stay_in_range():
    out = combine(torch.ones(1, 1, 2, 2), torch.full((1, 2, 2, 2), 0.5))
    assert out.max() == 1 and out.min() >= 0
