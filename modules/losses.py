"""Loss terms of the full models, one function each; every one returns an unweighted or weighted scalar tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modules.coords import resize_map
from modules.util import matmul_2x2


def l1(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean |a − b|; with ``weight`` (B, 1, h, w), resized to a's size, the weighted mean."""
    difference = (a - b).abs()
    if weight is None:
        return difference.mean()
    weight = resize_map(weight, difference.shape[-2:]).expand_as(difference)
    return (difference * weight).sum() / weight.sum().clamp_min(1e-8)


def pyramid_l1(a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
    """Sum over the scales of mean |a − b|."""
    return torch.stack([l1(a[key], b[key]) for key in a]).sum()


def perceptual(
    generated: Sequence[Tensor], real: Sequence[Tensor], weights: Sequence[float], region: Tensor | None = None
) -> Tensor:
    """Σ_i w_i · mean |VGG_i(generated) − VGG_i(real)| over the layers with a weight, optionally under a map."""
    terms = [w * l1(a, b.detach(), region) for a, b, w in zip(generated, real, weights, strict=True) if w]
    return torch.stack(terms).sum()


def lsgan_generator(prediction_maps: Sequence[Tensor]) -> Tensor:
    """Σ over scales of mean (1 − D(generated))²."""
    return torch.stack([(1 - p.float()).square().mean() for p in prediction_maps]).sum()


def lsgan_discriminator(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Σ over scales of mean ((1 − D(real))² + D(generated)²)."""
    terms = [
        (1 - r.float()).square().mean() + g.float().square().mean() for r, g in zip(real, generated, strict=True)
    ]
    return torch.stack(terms).sum()


def feature_matching(real: Sequence[Tensor], generated: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ_i w_i · mean |D_i(real) − D_i(generated)| over the discriminator's blocks with a weight."""
    pairs = zip(real, generated, weights, strict=True)
    terms = [w * l1(g.float(), r.float().detach()) for r, g, w in pairs if w]
    return torch.stack(terms).sum()


def equivariance_jacobian(driving: Tensor, transformed: Tensor) -> Tensor:
    """mean |I − J_driving⁻¹ · ∇T · J_transformed|; takes J_driving⁻¹ and the product, both (B, K, 2, 2)."""
    identity = torch.eye(2, device=driving.device, dtype=driving.dtype)
    return (identity - matmul_2x2(driving, transformed)).abs().mean()
