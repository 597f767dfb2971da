"""Random affine + thin-plate transform for the equivariance losses (FOMM §3.1, supplementary A)."""

from __future__ import annotations

import torch
from torch import Tensor

from modules.coords import make_coordinate_grid, warp
from modules.util import matmul_2x2

EPSILON = 1e-6


class Transform:
    """T(z) = theta·(z, 1) + Σ_j c_j·r_j²·log(r_j + 1e-6), r_j the L1 distance to the j-th control point.

    The same thin-plate offset is added to x and y, as in the released code.

    Args:
        bs: batch size B.
        sigma_affine: standard deviation of theta around the identity.
        sigma_tps: standard deviation of the control parameters; None for no thin-plate part.
        points_tps: P; the control points are a P×P grid over the image.
        rows: (first, total) where the B items are rows of a larger batch that is worked on in parts: the numbers are
            those of the whole batch's.

    Attributes:
        theta: (B, 2, 3).
        control_params: (B, 1, P²).

    The numbers are drawn on the CPU, so that every device gets the same transform for the same seed; the tensors
    move to the device of whatever they are applied to.
    """

    def __init__(
        self,
        bs: int,
        sigma_affine: float,
        sigma_tps: float | None = None,
        points_tps: int | None = None,
        rows: tuple[int, int] | None = None,
    ):
        self.bs = bs
        first, total = rows or (0, bs)
        own = slice(first, first + bs)
        self.theta = torch.eye(2, 3).expand(bs, 2, 3) + sigma_affine * torch.randn(total, 2, 3)[own]
        self.control_points: Tensor | None = None
        self.control_params: Tensor | None = None
        if sigma_tps is not None and points_tps is not None:
            self.control_points = make_coordinate_grid(points_tps, points_tps).view(1, -1, 2)  # (1, P², 2)
            self.control_params = sigma_tps * torch.randn(total, 1, points_tps**2)[own]

    def _offsets(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        difference = coordinates[:, :, None] - self.control_points.to(coordinates)  # (B, N, P², 2)
        return difference, difference.abs().sum(-1)

    def warp_coordinates(self, coordinates: Tensor) -> Tensor:
        """T of normalised coordinates (B, N, 2) → (B, N, 2)."""
        theta = self.theta.to(coordinates)
        out = matmul_2x2(theta[:, None, :, :2], coordinates[..., None]).squeeze(-1) + theta[:, None, :, 2]
        if self.control_params is not None:
            _, distance = self._offsets(coordinates)
            kernel = distance.square() * torch.log(distance + EPSILON)
            out = out + (kernel * self.control_params.to(coordinates)).sum(-1, keepdim=True)
        return out

    def jacobian(self, coordinates: Tensor) -> Tensor:
        """∇T at normalised coordinates (B, N, 2), in closed form → (B, N, 2, 2); rows are outputs."""
        linear = self.theta.to(coordinates)[:, None, :, :2].expand(-1, coordinates.shape[1], -1, -1)
        if self.control_params is None:
            return linear
        difference, r = self._offsets(coordinates)
        slope = 2 * r * torch.log(r + EPSILON) + r.square() / (r + EPSILON)  # d(r² log(r + ε)) / dr
        gradient = ((slope * self.control_params.to(coordinates))[..., None] * difference.sign()).sum(2)
        return linear + gradient[:, :, None, :]

    def transform_frame(self, frame: Tensor, align_corners: bool = False) -> Tensor:
        """frame(T(z)) for (B, C, H, W), with reflection padding."""
        height, width = frame.shape[-2:]
        grid = make_coordinate_grid(height, width).to(frame.device).view(1, -1, 2).expand(self.bs, -1, -1)
        grid = self.warp_coordinates(grid).view(self.bs, height, width, 2)
        return warp(frame, grid, align_corners, padding_mode="reflection")

    def inverse_coordinates(self, coordinates: Tensor, iterations: int = 20) -> Tensor:
        """Where points (B, N, 2) of a frame are in the transformed frame: z with T(z) = coordinates (fixed point)."""
        result = coordinates
        for _ in range(iterations):
            result = result + (coordinates - self.warp_coordinates(result))
        return result
