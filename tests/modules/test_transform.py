"""The random transform: closed-form Jacobian, inverse, devices of chance."""

from __future__ import annotations

import torch

from modules.transform import Transform


def test_jacobian_is_the_derivative():
    torch.manual_seed(0)
    transform = Transform(2, 0.05, 0.05, 5)
    points = (torch.rand(2, 7, 2, dtype=torch.float64) * 2 - 1).requires_grad_(True)
    warped = transform.warp_coordinates(points)
    rows = [torch.autograd.grad(warped[..., i].sum(), points, retain_graph=True)[0] for i in range(2)]
    assert torch.allclose(transform.jacobian(points), torch.stack(rows, dim=2), atol=1e-6)


def test_jacobian_asks_nothing_of_its_input():
    transform = Transform(1, 0.05, 0.005, 5)
    assert not transform.jacobian(torch.zeros(1, 3, 2)).requires_grad


def test_inverse():
    torch.manual_seed(1)
    transform = Transform(3, 0.05, 0.005, 5)
    points = torch.rand(3, 18, 2) * 1.6 - 0.8
    assert torch.allclose(transform.warp_coordinates(transform.inverse_coordinates(points)), points, atol=1e-4)


def test_no_noise_is_the_identity():
    transform = Transform(2, 0.0, 0.0, 5)
    frame = torch.rand(2, 3, 16, 24)
    assert torch.allclose(transform.transform_frame(frame, align_corners=True), frame, atol=1e-5)
    assert torch.allclose(transform.warp_coordinates(torch.ones(2, 1, 2)), torch.ones(2, 1, 2))


def test_a_part_of_a_batch_gets_the_whole_batchs_numbers():
    torch.manual_seed(2)
    whole = Transform(3, 0.05, 0.005, 5)
    torch.manual_seed(2)
    part = Transform(1, 0.05, 0.005, 5, rows=(1, 3))
    assert torch.equal(part.theta, whole.theta[1:2])
    assert torch.equal(part.control_params, whole.control_params[1:2])


def test_affine_alone():
    transform = Transform(2, 0.1)
    assert transform.control_params is None
    assert torch.equal(transform.jacobian(torch.zeros(2, 4, 2))[:, 0], transform.theta[:, :, :2])
