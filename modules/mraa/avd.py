"""The source's shape in the driving's pose (MRAA, "Animation via disentanglement")."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from modules.mraa.regions import Regions, affine_covariance, align_swap
from modules.util import full_precision

WIDTHS = (256, 512, 1024)
NUMBERS = 6  # of a region: shift (2) and affine (4)


def _perceptron(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def flatten_regions(regions: Regions) -> Tensor:
    """``shift`` and ``affine`` of K regions → (B, 6·K)."""
    return torch.cat([regions["shift"], regions["affine"].flatten(-2)], dim=-1).flatten(1)


def unflatten_regions(numbers: Tensor) -> Regions:
    """Inverse of :func:`flatten_regions`, with ``covar``."""
    numbers = numbers.unflatten(1, (-1, NUMBERS))
    affine = numbers[..., 2:].unflatten(-1, (2, 2))
    return {"shift": numbers[..., :2], "affine": affine, "covar": affine_covariance(affine)}


class AVDNetwork(nn.Module):
    """Regions with the shape of one body in the pose of another.

    Args:
        num_regions: K.
        id_bottle_size, pose_bottle_size: numbers that code a shape and a pose.
        revert_axis_swap: see :func:`modules.mraa.regions.revert_swap`.
    """

    def __init__(
        self,
        *,
        num_regions: int,
        id_bottle_size: int = 64,
        pose_bottle_size: int = 64,
        revert_axis_swap: bool = False,
    ):
        super().__init__()
        self.num_regions, self.revert_axis_swap = num_regions, revert_axis_swap
        size = NUMBERS * num_regions
        self.id_encoder = _perceptron([size, *WIDTHS, id_bottle_size])
        self.pose_encoder = _perceptron([size, *WIDTHS, pose_bottle_size])
        self.decoder = _perceptron([pose_bottle_size + id_bottle_size, *reversed(WIDTHS), size])

    def extra_repr(self) -> str:
        return f"num_regions={self.num_regions}, revert_axis_swap={self.revert_axis_swap}"

    def forward(self, x_id: Regions, x_pose: Regions) -> Regions:
        """Regions of the body to move, and of the body in the pose → ``shift``, ``affine``, ``covar``."""
        if self.revert_axis_swap:
            x_id = {**x_id, "affine": align_swap(x_pose["affine"], x_id["affine"])}
        numbers = flatten_regions(x_pose), flatten_regions(x_id)
        with full_precision(numbers[0]):
            pose, identity = self.pose_encoder(numbers[0].float()), self.id_encoder(numbers[1].float())
            return unflatten_regions(self.decoder(torch.cat([pose, identity], dim=1)))
