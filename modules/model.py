"""The full models: networks and losses of one training step in one module."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from modules import losses
from modules.coords import denormalize_keypoints, normalize_keypoints
from modules.losses import Batch, ImageLosses, Losses, active
from modules.transform import Transform
from modules.util import ImagePyramid, inverse_2x2, matmul_2x2, scale_name


def prior_points(x: Batch, frame: str) -> Tensor | None:
    """The facial prior (B, 18, 2) of ``source`` or ``driving``: the frame's own where there is one, or the clip's."""
    return x.get(f"keypoint_{frame}", x.get("keypoint"))


class ReconstructingModel(nn.Module):
    """What the generator's models of all families have in common: losses on the image, and of equivariance.

    Args:
        generator: the network.
        train_params: the YAML's ``train_params``: ``scales``, ``loss_weights``, ``transform_params``.
        network: of the perceptual terms, which require it.
    """

    equivariance = ("equivariance_value", "equivariance_jacobian")  # the weights' names

    def __init__(self, generator: nn.Module, train_params: dict, network: nn.Module | None):
        super().__init__()
        self.generator, self.train_params, self.loss_weights = generator, train_params, train_params["loss_weights"]
        self.image_losses = ImageLosses(train_params, generator.final.out_channels, network)

    def equivariance_losses(
        self, x: Batch, generated: dict, detect: Callable[[Tensor, Transform], dict], transform: Transform | None
    ) -> Losses:
        """How far the key points are from moving along with the driving frame (FOMM §3.1).

        Args:
            x: as in the full models' ``forward``.
            generated: has ``kp_driving``; gains ``transformed_frame`` and ``transformed_kp``.
            detect: the key points of the transformed frame.
            transform: drawn at random when None.
        """
        value, jacobian = (self.loss_weights.get(name) or 0 for name in self.equivariance)
        if not value and not jacobian:
            return {}
        frame, kp_driving = x["driving"], generated["kp_driving"]
        if transform is None:
            transform = Transform(len(frame), **self.train_params["transform_params"], rows=x.get("rows"))
        moved_frame = transform.transform_frame(frame, self.generator.align_corners)
        kp_moved = detect(moved_frame, transform)
        generated.update(transformed_frame=moved_frame, transformed_kp=kp_moved)
        values: Losses = {}
        if value:
            warped = transform.warp_coordinates(kp_moved["value"])
            values[self.equivariance[0]] = value * losses.l1(kp_driving["value"], warped)
        if jacobian and "jacobian" in kp_driving:
            warped = matmul_2x2(transform.jacobian(kp_moved["value"]), kp_moved["jacobian"])
            ratio = self.signed(matmul_2x2(inverse_2x2(kp_driving["jacobian"]), warped))
            values[self.equivariance[1]] = jacobian * losses.equivariance_jacobian(ratio)
        return values

    def signed(self, ratio: Tensor) -> Tensor:
        """J_driving⁻¹·∇T·J_transformed (B, K, 2, 2) with the sign it is known up to: its own, where it is known."""
        return ratio


class GeneratorFullModel(ReconstructingModel):
    """Generator and key point losses (FOMM §3.3, paper §3.2).

    Args:
        kp_extractor, generator, discriminator: the networks; the discriminator may be None where no loss needs it.
        train_params: as above, and optionally ``equivariance_prior`` (``unmoved``, as released, or ``warped``) and
            ``appearance_steps``.
        network: as above.
    """

    def __init__(
        self,
        kp_extractor: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module | None,
        train_params: dict,
        network: nn.Module | None = None,
    ):
        super().__init__(generator, train_params, network)
        self.kp_extractor, self.discriminator = kp_extractor, discriminator
        self.appearance_steps = int(train_params.get("appearance_steps") or 0)
        self.appearance_only = False
        # FOMM's first stage (generator_gan: 0) has feature matching weights in its YAML and uses neither.
        self.adversarial = active(self.loss_weights.get("generator_gan"))
        if self.adversarial and discriminator is None:
            raise ValueError("the loss weights ask for adversarial losses: pass a discriminator")

    def set_step(self, step: int) -> None:
        """Tell the model how many optimiser steps were made; the first ``appearance_steps`` train no motion."""
        self.appearance_only = step < self.appearance_steps

    def forward(
        self, x: Batch, generated: dict | None = None, transform: Transform | None = None
    ) -> tuple[Losses, dict[str, Tensor]]:
        """One step's losses.

        Args:
            x: ``source``, ``driving`` (B, C, H, W) in [0, 1]; with the facial prior ``keypoint`` (B, 18, 2), pixels,
                of both frames, or ``keypoint_source`` and ``keypoint_driving`` of one each, with the displacements
                ``field_source`` and ``field_driving`` (B, h, w, 2), see :func:`modules.track.field_motion`;
                ``rows`` where it is a part of a larger batch, see :class:`modules.transform.Transform`.
            generated: not used, this is the first phase of a step.
            transform: of the equivariance losses; drawn at random when None.

        Returns:
            weighted losses by log name, and the generator's outputs with ``kp_source``, ``kp_driving``.
        """
        if self.appearance_only:
            return self._appearance_step(x, transform)
        regions = self._regions(x, "driving")
        regions_source = self._regions(x, "source") if "keypoint_source" in x else regions
        kp_source = self.kp_extractor(x["source"], prior_points(x, "source"), regions_source)
        kp_driving = self.kp_extractor(x["driving"], prior_points(x, "driving"), regions)
        if "field_source" in x:
            kp_source["field"], kp_driving["field"] = x["field_source"], x["field_driving"]
        generated = self.generator(x["source"], kp_source=kp_source, kp_driving=kp_driving)
        generated.update(kp_source=kp_source, kp_driving=kp_driving)
        values = self.image_losses(x["driving"], generated, regions)
        values.update(self._adversarial_losses(x["driving"], generated))
        values.update(self.equivariance_losses(x, generated, partial(self._transformed, x, regions), transform))
        return values, generated

    def _appearance_step(self, x: Batch, transform: Transform | None) -> tuple[Losses, dict[str, Tensor]]:
        """The appearance path by the image, the detector by equivariance: both apart, before they need each other."""
        generated = self.generator.reconstruct(x["source"])
        values = self.image_losses(x["source"], generated, self._regions(x, "source"))
        values.pop("deformed", None)  # nothing to learn: the identity is given
        if any(self.loss_weights.get(name) for name in self.equivariance):
            regions = self._regions(x, "driving")
            detected = {"kp_driving": self.kp_extractor(x["driving"], prior_points(x, "driving"), regions)}
            values.update(self.equivariance_losses(x, detected, partial(self._transformed, x, regions), transform))
        return values, generated

    def _regions(self, x: Batch, frame: str) -> Tensor | None:
        if not self.kp_extractor.facial_prior:
            return None
        return self.kp_extractor.region_map(prior_points(x, frame), *x[frame].shape[-2:])

    def _adversarial_losses(self, target: Tensor, generated: dict[str, Tensor]) -> Losses:
        if not self.adversarial:
            return {}
        kp = {name: tensor.detach() for name, tensor in generated["kp_driving"].items()}
        maps_generated = self.discriminator(self.image_losses.pyramid(generated["prediction"]), kp=kp)
        with torch.no_grad():
            maps_real = self.discriminator(self.image_losses.pyramid(target), kp=kp)
        scales = [scale_name(scale) for scale in self.discriminator.scales]
        weights = self.loss_weights
        predictions = [maps_generated[f"prediction_map_{scale}"] for scale in scales]
        values = {"gen_gan": weights["generator_gan"] * losses.lsgan_generator(predictions)}
        if active(weights.get("feature_matching")):
            terms = [
                losses.feature_matching(
                    maps_real[f"feature_maps_{scale}"],
                    maps_generated[f"feature_maps_{scale}"],
                    weights["feature_matching"],
                )
                for scale in scales
            ]
            values["feature_matching"] = torch.stack(terms).sum()
        return values

    def _transformed(self, x: Batch, regions: Tensor | None, frame: Tensor, transform: Transform) -> dict[str, Tensor]:
        """Key points of the transformed driving frame; the prior stays where it is, or moves along."""
        prior = prior_points(x, "driving")
        if self.train_params.get("equivariance_prior", "unmoved") == "warped" and regions is not None:
            size = frame.shape[-2:]
            moved = transform.inverse_coordinates(normalize_keypoints(prior.float(), *size))
            prior, regions = denormalize_keypoints(moved, *size), None
        return self.kp_extractor(frame, prior, regions)


class DiscriminatorFullModel(nn.Module):
    """Discriminator losses (LSGAN) on the generator's detached prediction."""

    def __init__(self, discriminator: nn.Module, train_params: dict, num_channels: int = 3):
        super().__init__()
        self.discriminator = discriminator
        self.pyramid = ImagePyramid(discriminator.scales, num_channels)
        self.weight = train_params["loss_weights"].get("discriminator_gan", 1)

    def forward(self, x: Batch, generated: dict[str, Tensor]) -> tuple[Losses, dict[str, Tensor]]:
        """``x['driving']`` against ``generated['prediction']``, both (B, C, H, W) → {'disc_gan': scalar}, generated."""
        kp = {name: tensor.detach() for name, tensor in generated["kp_driving"].items()}
        maps_real = self.discriminator(self.pyramid(x["driving"]), kp=kp)
        maps_generated = self.discriminator(self.pyramid(generated["prediction"].detach()), kp=kp)
        keys = [f"prediction_map_{scale_name(scale)}" for scale in self.discriminator.scales]
        loss = losses.lsgan_discriminator([maps_real[k] for k in keys], [maps_generated[k] for k in keys])
        return {"disc_gan": self.weight * loss}, generated
