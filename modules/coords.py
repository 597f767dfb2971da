"""Pixel ↔ normalised coordinates and sampling grids: the only place where the convention lives.

Normalised coordinates are (x, y) in [-1, 1], -1 and +1 at the centres of the first and last pixel.
Key point values are the one exception, kept from the released model: 2·p/size − 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def make_coordinate_grid(height: int, width: int, like: Tensor | None = None) -> Tensor:
    """Identity sampling grid.

    Args:
        height, width: size of the map in cells.
        like: tensor whose device and dtype the grid takes; float32 on the CPU by default.

    Returns:
        (height, width, 2), (x, y) in [-1, 1].
    """
    options = {} if like is None else {"device": like.device, "dtype": like.dtype}
    x = torch.arange(width, **options) * (2.0 / max(width - 1, 1)) - 1.0
    y = torch.arange(height, **options) * (2.0 / max(height - 1, 1)) - 1.0
    grid_y, grid_x = torch.meshgrid(y.to(x.dtype), x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1)  # (H, W, 2)


def normalize_keypoints(points: Tensor, height: int, width: int) -> Tensor:
    """Pixels (..., 2) (x, y) of a height×width frame → 2·p/size − 1, as the released detector does."""
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    return 2.0 * points / size - 1.0


def denormalize_keypoints(values: Tensor, height: int, width: int) -> Tensor:
    """Inverse of :func:`normalize_keypoints`."""
    size = torch.tensor([width, height], dtype=values.dtype, device=values.device)
    return (values + 1.0) * size / 2.0


def warp(
    image: Tensor, grid: Tensor, align_corners: bool = False, padding_mode: str = "zeros", mode: str = "bilinear"
) -> Tensor:
    """Sample ``image`` (B, C, H, W) at ``grid`` (B, h, w, 2), (x, y) in [-1, 1] → (B, C, h, w), in float32.

    The default is PyTorch's since 1.3, which the published weights were trained with: the identity grid then
    magnifies slightly.  ``align_corners=True`` makes it exact.  Half precision would round the
    grid by more than a micro-expression moves, so it is never used here, autocast or not.
    """
    with torch.autocast(image.device.type, enabled=False):
        return F.grid_sample(image.float(), grid.float(), mode, padding_mode, align_corners)


def resize_map(x: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear resize of (B, C, H, W) to ``size`` = (h, w); returns ``x`` itself when it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def resize_grid(grid: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear resize of a sampling grid (B, H, W, 2) to (B, h, w, 2)."""
    return resize_map(grid.permute(0, 3, 1, 2), size, align_corners).permute(0, 2, 3, 1)
