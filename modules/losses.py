"""Loss terms of the full models, one function each, and those on the generated image, which all families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modules.coords import resize_map
from modules.util import ImagePyramid

Losses = dict[str, Tensor]
Batch = dict[str, Tensor]


def active(weight: float | Sequence[float] | None) -> bool:
    """Is a loss weight, a number or a list of them, anything but zero?"""
    return any(weight) if isinstance(weight, Sequence) else bool(weight)


def l1(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean |a − b|; with ``weight`` (B, 1, h, w), resized to a's size, the weighted mean."""
    difference = (a - b).abs()
    if weight is None:
        return difference.mean()
    weight = resize_map(weight, difference.shape[-2:]).expand_as(difference)
    return (difference * weight).sum() / weight.sum().clamp_min(1e-8)


def perceptual(
    generated: Sequence[Tensor], real: Sequence[Tensor], weights: Sequence[float], region: Tensor | None = None
) -> Tensor:
    """Σ_i w_i · mean |φ_i(generated) − φ_i(real)| over the feature maps with a weight, optionally under a map."""
    terms = [w * l1(a, b.detach(), region) for a, b, w in zip(generated, real, weights, strict=True) if w]
    return torch.stack(terms).sum()


def lsgan_generator(prediction_maps: Sequence[Tensor]) -> Tensor:
    """Σ over scales of mean (1 − D(generated))²."""
    return torch.stack([(1 - p.float()).square().mean() for p in prediction_maps]).sum()


def lsgan_discriminator(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Σ over scales of mean ((1 − D(real))² + D(generated)²)."""
    terms = [(1 - r.float()).square().mean() + g.float().square().mean() for r, g in zip(real, generated, strict=True)]
    return torch.stack(terms).sum()


def feature_matching(real: Sequence[Tensor], generated: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ_i w_i · mean |D_i(real) − D_i(generated)| over the discriminator's blocks with a weight."""
    return perceptual([g.float() for g in generated], [r.float() for r in real], weights)


def equivariance_jacobian(ratio: Tensor) -> Tensor:
    """mean |I − J_driving⁻¹ · ∇T · J_transformed|, of the product (B, K, 2, 2)."""
    return l1(torch.eye(2, device=ratio.device, dtype=ratio.dtype), ratio)


def layered_weights(weights: dict) -> dict[str, Sequence[float]]:
    """Of ``loss_weights`` those of layers, a number each: terms that need a perceptual network."""
    names = ("perceptual", "facial_prior")
    return {name: weights[name] for name in names if isinstance(weights.get(name), Sequence) and active(weights[name])}


class ImageLosses(nn.Module):
    """The terms of ``loss_weights`` that compare the generated image with the target.

    Args:
        train_params: the YAML's ``train_params``: ``scales`` and ``loss_weights``.
        num_channels: C of the images.
        network: a :class:`~modules.perceptual.PerceptualNetwork`; required by the perceptual terms.
    """

    def __init__(self, train_params: dict, num_channels: int, network: nn.Module | None = None):
        super().__init__()
        self.weights, self.network = train_params["loss_weights"], network
        self.pyramid = ImagePyramid(train_params["scales"], num_channels)
        self.layered = layered_weights(self.weights)
        if self.layered and network is None:
            raise ValueError("the loss weights ask for the perceptual loss: pass network")

    def forward(self, target: Tensor, generated: dict[str, Tensor], regions: Tensor | None = None) -> Losses:
        """Compare.

        Args:
            target: (B, C, H, W) in [0, 1].
            generated: ``prediction`` and ``deformed``, of the target's shape.
            regions: region map (B, 1, h, w) of the facial prior terms.

        Returns:
            the weighted losses by log name.
        """
        weights, prediction = self.weights, generated["prediction"]
        pyramid_real, pyramid_generated = self.pyramid(target), self.pyramid(prediction)
        values = self._perceptual_losses(pyramid_real, pyramid_generated, regions)
        if active(weights.get("facial_prior")) and "facial_prior" not in self.layered:
            values["facial_prior"] = weights["facial_prior"] * l1(prediction, target, regions)
        if active(weights.get("reconstruction")):
            terms = [l1(pyramid_generated[key], pyramid_real[key]) for key in pyramid_real]
            values["reconstruction"] = weights["reconstruction"] * torch.stack(terms).sum()
        if active(weights.get("deformed")):
            values["deformed"] = weights["deformed"] * l1(generated["deformed"], target)
        return values

    def _perceptual_losses(self, real: Batch, generated: Batch, regions: Tensor | None) -> Losses:
        if not self.layered:
            return {}
        maps = {"perceptual": None, "facial_prior": regions}
        terms: dict[str, list[Tensor]] = {name: [] for name in self.layered}
        for key in real:
            with torch.no_grad():
                features_real = self.network(real[key])
            features = self.network(generated[key])
            for name, weights in self.layered.items():
                terms[name].append(perceptual(features, features_real, weights, maps[name]))
        return {name: torch.stack(values).sum() for name, values in terms.items()}
