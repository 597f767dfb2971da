"""Regions: dictionaries of tensors that say where the parts of a picture are, and helpers on them.

``shift`` (B, K, 2): centres, (x, y) normalised; ``covar`` (B, K, 2, 2): covariances; ``affine`` (B, K, 2, 2):
local axes, affine·affineᵀ = covar; from the region predictor also ``heatmap`` (B, K, h, w) and, from PCA,
``u`` and ``d`` (B, K, 2, 2), affine = u·d.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modules.coords import make_coordinate_grid
from modules.util import inverse_2x2, keypoints_to_gaussian, matmul_2x2

Regions = dict[str, Tensor]

SMALLEST = 1e-8  # least singular value of a covariance; its root is 1/80 pixel at 256×256
BROADENING = 1e-3  # the gradient of U is halved where the singular values are this fraction off their mean


def as_keypoints(regions: Regions) -> dict[str, Tensor]:
    """Regions in FOMM's terms: ``value`` is the shift, ``jacobian`` the affine."""
    names = {"value": "shift", "jacobian": "affine"}
    return {keypoint: regions[region] for keypoint, region in names.items() if region in regions}


def from_keypoints(keypoints: dict[str, Tensor]) -> Regions:
    """Inverse of :func:`as_keypoints`; the covariance is that of the affine."""
    regions = {"shift": keypoints["value"]}
    if "jacobian" in keypoints:
        regions |= {"affine": keypoints["jacobian"], "covar": affine_covariance(keypoints["jacobian"])}
    return regions


def affine_covariance(affine: Tensor) -> Tensor:
    """affine·affineᵀ of (..., 2, 2)."""
    return matmul_2x2(affine, affine.transpose(-1, -2))


def weighted_mean(heatmap: Tensor) -> Tensor:
    """Mean position (B, K, 2), normalised (x, y), of heat maps (B, K, h, w) that sum to 1."""
    grid = make_coordinate_grid(*heatmap.shape[-2:], like=heatmap)
    return (heatmap[..., None] * grid).sum((2, 3))


def weighted_covariance(heatmap: Tensor, shift: Tensor) -> Tensor:
    """Covariance (B, K, 2, 2) of heat maps (B, K, h, w) around their means (B, K, 2)."""
    grid = make_coordinate_grid(*heatmap.shape[-2:], like=heatmap)
    offset = grid - shift[:, :, None, None, :]  # (B, K, h, w, 2)
    weighted = heatmap[..., None] * offset
    rows = [(weighted * offset[..., axis : axis + 1]).sum((2, 3)) for axis in range(2)]
    return torch.stack(rows, dim=-2)


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
    """U and S of symmetric positive semi-definite matrices M = U·diag(S)·Uᵀ, in closed form and differentiable.

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


def revert_swap(affine: Tensor) -> Tensor:
    """(..., 2, 2) multiplied by the sign of its own [0, 0] entry (0 counts as positive).

    The columns of an SVD's U have no sign of their own: with one consistent determinant, a ratio of two
    affines is known up to ±1.  Parts turn by less than 90 degrees, so the sign is the one that makes [0, 0]
    positive.
    """
    return torch.where(affine[..., :1, :1] < 0, -affine, affine)


def align_swap(source: Tensor, driving: Tensor) -> Tensor:
    """``driving`` (..., 2, 2) times the sign that makes driving·source⁻¹ a turn by less than 90 degrees; see
    :func:`revert_swap`."""
    ratio = matmul_2x2(driving.float(), inverse_2x2(source))
    return torch.where(ratio[..., :1, :1] < 0, -driving, driving)


def relative_affine(source: Tensor, driving: Tensor, revert_axis_swap: bool) -> Tensor:
    """source·driving⁻¹ of (B, K, 2, 2), with :func:`revert_swap` if asked for."""
    ratio = matmul_2x2(source.float(), inverse_2x2(driving))
    return revert_swap(ratio) if revert_axis_swap else ratio


def region_gaussians(regions: Regions, size: tuple[int, int], variance: float | None) -> Tensor:
    """Heat maps exp(−½ (z − shift)ᵀ covar⁻¹ (z − shift)) of regions → (B, K, h, w).

    Args:
        regions: ``shift``, and ``covar`` where it is used.
        size: (h, w).
        variance: takes the place of the covariance; None: use ``covar``.
    """
    shift = regions["shift"].float()
    if variance is not None:
        return keypoints_to_gaussian(shift, size, variance)
    x, y = (make_coordinate_grid(*size, like=shift) - shift[:, :, None, None, :]).unbind(-1)  # (B, K, h, w)
    a, b, _, c = regions["covar"].float().flatten(-2)[:, :, None, None].unbind(-1)  # (B, K, 1, 1)
    a, c = a + SMALLEST, c + SMALLEST  # a region of a single cell has covariance 0
    determinant = torch.maximum(a * c - b * b, SMALLEST * (a + c) / 2)  # its lower bound, but for rounding
    return torch.exp(-0.5 * (c * x * x - 2 * b * x * y + a * y * y) / determinant)
