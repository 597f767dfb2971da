"""Singular value decomposition of symmetric 2×2 matrices: closed form, batched, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-8  # least singular value of a covariance; its root is 1/80 pixel at 256×256
BROADENING = 1e-3  # the gradient of U is halved where the singular values are this fraction off their mean


def _principal_angle(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """½·atan2(y, x), with a gradient that stays finite at x = y = 0.

    The exact gradient is (x·dy − y·dx) / 2(x² + y²); a small constant is added to the denominator, as in the
    Lorentzian broadening of differentiable tensor networks (Liao et al., PRX 2019).  The value is exact.
    """
    x0, y0 = x.detach(), y.detach()
    width = (BROADENING * scale.detach()).clamp_min(1e-12)
    slope = (x0 * y - y0 * x) / (2 * (x0.square() + y0.square() + width.square()))
    return 0.5 * torch.atan2(y0, x0) + (slope - slope.detach())


def symmetric_svd_2x2(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """U and S of symmetric positive semi-definite matrices M = U·diag(S)·Uᵀ.

    The columns of U have the signs that LAPACK's ``gesdd`` gives them, with determinant −1: the published AVD
    networks have learnt them.  Where the singular values coincide any orthonormal U is right: it is
    diag(−1, 1) then, and its gradient is finite.

    Args:
        matrix: (..., 2, 2), covariances in normalised units.

    Returns:
        U (..., 2, 2), its columns the singular vectors, and S (..., 2), larger first, at least ``SMALLEST``;
        both float32.
    """
    matrix = matrix.float()
    a, b, c = matrix[..., 0, 0], 0.5 * (matrix[..., 0, 1] + matrix[..., 1, 0]), matrix[..., 1, 1]
    mean, x = 0.5 * (a + c), 0.5 * (a - c)
    radius = (x.square() + b.square()).clamp_min(1e-30).sqrt()
    s = torch.stack([mean + radius, mean - radius], dim=-1).clamp_min(SMALLEST)
    angle = _principal_angle(x, b, mean)  # in (−π/2, π/2]
    cos, sin = torch.cos(angle), torch.sin(angle)
    sign = _lapack_sign(a, b, c, sin)
    first = torch.stack([cos, sin], dim=-1) * sign[..., None]
    second = torch.stack([sin, -cos], dim=-1) * sign[..., None]
    return torch.stack([first, second], dim=-1), s


def _lapack_sign(a: Tensor, b: Tensor, c: Tensor, sin: Tensor) -> Tensor:
    """Sign of (cos, sin) in LAPACK's first column.

    ``gebrd`` reflects the first column (a, b) onto −√(a² + b²)·e₁, which leaves an upper triangle with the
    diagonal (−√(a² + b²), det/√(a² + b²)); ``lasv2`` then turns by the angle with positive cosine, after
    exchanging the diagonal if its second entry is the larger.  Carried through, U₀₀ < 0 without the exchange
    and U₁₀ > 0 with it.
    """
    exchanged = a * c - b.square() > a.square() + b.square()
    return torch.where(exchanged & (sin > 0), torch.ones_like(a), -torch.ones_like(a))
