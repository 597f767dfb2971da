"""Luminance and chrominance of pictures (ITU-R BT.601, full range), for colour results of models of grey faces."""

from __future__ import annotations

import torch
from torch import Tensor

RED, GREEN, BLUE = 0.299, 0.587, 0.114


def luminance(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] → (B, 1, H, W) in [0, 1]."""
    return (image * image.new_tensor([RED, GREEN, BLUE]).view(3, 1, 1)).sum(-3, keepdim=True)


def to_grey(image: Tensor) -> Tensor:
    """Three equal channels of luminance: (B, 3, H, W) → the same shape."""
    return luminance(image).expand_as(image)


def chrominance(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] → Cb, Cr (B, 2, H, W) in [-0.5, 0.5]; 0 for grey."""
    red, _, blue = image.unbind(-3)
    luma = luminance(image).squeeze(-3)
    return torch.stack([0.5 * (blue - luma) / (1 - BLUE), 0.5 * (red - luma) / (1 - RED)], dim=-3)


def combine(luma: Tensor, chroma: Tensor) -> Tensor:
    """Luminance (B, 1, H, W) and Cb, Cr (B, 2, H, W) → RGB (B, 3, H, W), clipped to [0, 1]."""
    luma = luma.squeeze(-3)
    blue_difference, red_difference = chroma.unbind(-3)
    red = luma + 2 * (1 - RED) * red_difference
    blue = luma + 2 * (1 - BLUE) * blue_difference
    green = (luma - RED * red - BLUE * blue) / GREEN
    return torch.stack([red, green, blue], dim=-3).clamp(0, 1)
