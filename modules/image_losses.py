"""Losses on the generated image (spec §3), shared by all families: perceptual, facial prior, L1, deformed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modules import losses
from modules.util import ImagePyramid

Losses = dict[str, Tensor]
Batch = dict[str, Tensor]


def active(weight: float | Sequence[float] | None) -> bool:
    """Is a loss weight, a number or a list of them, anything but zero?"""
    return any(weight) if isinstance(weight, Sequence) else bool(weight)


class ImageLosses(nn.Module):
    """The terms of ``loss_weights`` that compare the generated image with the target.

    Args:
        train_params: the YAML's ``train_params``: ``scales`` and ``loss_weights``.
        num_channels: C of the images.
        vgg: :class:`modules.vgg.Vgg19`; required by the perceptual terms.
    """

    def __init__(self, train_params: dict, num_channels: int, vgg: nn.Module | None = None):
        super().__init__()
        self.weights, self.vgg = train_params["loss_weights"], vgg
        self.pyramid = ImagePyramid(train_params["scales"], num_channels)
        prior = self.weights.get("facial_prior")
        self.layered_prior = isinstance(prior, Sequence) and active(prior)
        self.perceptual = active(self.weights.get("perceptual"))
        if (self.perceptual or self.layered_prior) and vgg is None:
            raise ValueError("the loss weights ask for the perceptual loss: pass vgg")

    def forward(self, target: Tensor, generated: dict[str, Tensor], regions: Tensor | None = None) -> Losses:
        """Compare.

        Args:
            target: (B, C, H, W) in [0, 1].
            generated: ``prediction`` and ``deformed``, of the target's shape.
            regions: region map (B, 1, h, w) of the facial prior terms.

        Returns:
            the weighted losses by log name.
        """
        values: Losses = {}
        weights = self.weights
        prediction = generated["prediction"]
        pyramid_real, pyramid_generated = self.pyramid(target), self.pyramid(prediction)
        if self.perceptual or self.layered_prior:
            values.update(self._perceptual_losses(pyramid_real, pyramid_generated, regions))
        if active(weights.get("facial_prior")) and not self.layered_prior:
            values["facial_prior"] = weights["facial_prior"] * losses.l1(prediction, target, regions)
        if active(weights.get("reconstruction")):
            term = losses.pyramid_l1(pyramid_generated, pyramid_real)
            values["reconstruction"] = weights["reconstruction"] * term
        if active(weights.get("deformed")):
            values["deformed"] = weights["deformed"] * losses.l1(generated["deformed"], target)
        return values

    def _perceptual_losses(self, real: Batch, generated: Batch, regions: Tensor | None) -> Losses:
        values: dict[str, list[Tensor]] = {}
        for key in real:
            with torch.no_grad():
                features_real = self.vgg(real[key])
            features = self.vgg(generated[key])
            if self.perceptual:
                term = losses.perceptual(features, features_real, self.weights["perceptual"])
                values.setdefault("perceptual", []).append(term)
            if self.layered_prior:
                term = losses.perceptual(features, features_real, self.weights["facial_prior"], regions)
                values.setdefault("facial_prior", []).append(term)
        return {name: torch.stack(terms).sum() for name, terms in values.items()}
