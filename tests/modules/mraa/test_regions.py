"""The closed-form SVD of symmetric 2×2 matrices against LAPACK's."""

from __future__ import annotations

import pytest
import torch

from modules.mraa.regions import SMALLEST, symmetric_svd_2x2


def covariances(count: int = 5000, scale: float = 1.0) -> torch.Tensor:
    factors = torch.randn(count, 2, 2, generator=torch.Generator().manual_seed(0))
    return scale * factors @ factors.mT + 1e-3 * scale * torch.eye(2)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_matches_lapack_with_its_signs(scale):
    matrices = covariances(scale=scale)
    u, s = symmetric_svd_2x2(matrices)
    expected_u, expected_s, _ = torch.linalg.svd(matrices)
    assert torch.allclose(u, expected_u, atol=1e-4)
    assert torch.allclose(s, expected_s, rtol=1e-3, atol=1e-6 * scale)
    assert torch.allclose(torch.linalg.det(u), -torch.ones(len(u)), atol=1e-5)


def test_both_of_lapacks_sign_rules_occur():
    """The larger variance along x gives U₀₀ < 0; far larger along y gives U₁₀ > 0."""
    u, _ = symmetric_svd_2x2(torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 9.0]]]))
    assert u[0, 0, 0] < 0
    assert u[1, 1, 0] > 0
    assert u[1, 0, 0] < 0


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 0.0], [0.0, 1.0]],
        [[2.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [0.0, 2.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[0.0, 0.0], [0.0, 0.0]],
    ],
    ids=["coinciding", "along x", "along y", "singular", "zero"],
)
def test_degenerate_matrices_are_rebuilt_with_finite_gradients(matrix):
    matrix = torch.tensor([matrix], requires_grad=True)
    u, s = symmetric_svd_2x2(matrix)
    assert torch.allclose(u @ torch.diag_embed(s) @ u.mT, matrix, atol=2 * SMALLEST + 1e-6)
    assert torch.allclose(u @ u.mT, torch.eye(2).expand_as(u), atol=1e-6)
    (u * s.sqrt()[..., None, :]).square().sum().add((u * torch.rand(2, 2)).sum()).backward()
    assert torch.isfinite(matrix.grad).all()


def test_gradients_match_lapack():
    """d affine / d covariance where the singular values differ."""
    matrices = covariances(200)
    singular = torch.linalg.svdvals(matrices)
    matrices = matrices[(singular[:, 0] - singular[:, 1]) / singular[:, 0] > 0.2]
    weight = torch.randn(2, 2, generator=torch.Generator().manual_seed(1))
    gradients = []
    for svd in (symmetric_svd_2x2, torch.linalg.svd):
        leaf = matrices.clone().requires_grad_()
        u, s = svd(0.5 * (leaf + leaf.mT))[:2]
        (weight * u * s.sqrt()[..., None, :]).sum().backward()
        gradients.append(leaf.grad)
    error = (gradients[0] - gradients[1]).abs() / gradients[1].abs().amax((1, 2), keepdim=True)
    assert len(matrices) > 100
    assert error.max() < 1e-3


def test_gradient_is_bounded_near_coincidence():
    """Nearly round regions: the exact gradient of U grows without bound, ours does not."""
    for difference in (1e-3, 1e-5, 1e-7):
        matrix = torch.tensor([[[0.01 * (1 + difference), 0.0], [0.0, 0.01]]], requires_grad=True)
        u, _ = symmetric_svd_2x2(matrix)
        u[0, 1, 0].backward()
        assert torch.isfinite(matrix.grad).all()
        assert matrix.grad.abs().max() < 1e5
