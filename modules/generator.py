"""Occlusion-aware generator: warp the source's features by the dense motion and paint what was hidden (FOMM §3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from modules.bases import AppearanceNetwork
from modules.coords import make_coordinate_grid, resize_map
from modules.dense_motion import DenseMotionNetwork


class OcclusionAwareGenerator(AppearanceNetwork):
    """Source image and two sets of key points → the source with the driving motion.

    Args:
        dense_motion_params: arguments of :class:`~modules.dense_motion.DenseMotionNetwork`; None: no motion at all.
        align_corners: sampling convention, see :func:`modules.coords.warp`.
        blend_source: where the occlusion map calls the source visible, show the warped source itself, sampled
            bicubically to stay sharp, and what the decoder paints elsewhere; MRAA's generator does alike.  False, as
            published: all is painted.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_kp: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        estimate_occlusion_map: bool = False,
        dense_motion_params: dict | None = None,
        align_corners: bool = False,
        blend_source: bool = False,
    ):
        super().__init__()
        if blend_source and not (estimate_occlusion_map and dense_motion_params):
            raise ValueError(
                "generator_params.blend_source: True needs estimate_occlusion_map: True and dense_motion_params: "
                "the occlusion map says where the source is shown"
            )
        self.blend_source = blend_source
        self.dense_motion_network: DenseMotionNetwork | None = None
        if dense_motion_params is not None:
            self.dense_motion_network = DenseMotionNetwork(
                num_kp=num_kp,
                num_channels=num_channels,
                estimate_occlusion_map=estimate_occlusion_map,
                align_corners=align_corners,
                **dense_motion_params,
            )
        self.add_appearance_layers(
            num_channels=num_channels,
            block_expansion=block_expansion,
            max_features=max_features,
            num_down_blocks=num_down_blocks,
            num_bottleneck_blocks=num_bottleneck_blocks,
            align_corners=align_corners,
        )

    def encode(self, source_image: Tensor) -> Tensor:
        """Features of the source (B, F, H/2^n, W/2^n): constant for a pair, so worth keeping."""
        return self.encode_levels(source_image)[-1]

    def decode(self, features: Tensor, motion: dict[str, Tensor]) -> Tensor:
        """Features and dense motion → image (B, C, H, W) in [0, 1]."""
        if "deformation" in motion:
            features = self.deform(features, motion["deformation"])
        if "occlusion_map" in motion:
            features = features * resize_map(motion["occlusion_map"], features.shape[-2:], self.align_corners)
        out = self.bottleneck(features)
        for block in self.up_blocks:
            out = block(out)
        return torch.sigmoid(self.final(out).float())

    def reconstruct(self, source_image: Tensor) -> dict[str, Tensor]:
        """The appearance path alone: nothing moves and nothing is hidden.  Same keys as :meth:`forward`."""
        grid = make_coordinate_grid(*source_image.shape[-2:], like=source_image)
        motion = {"deformation": grid.expand(source_image.shape[0], -1, -1, -1)}
        prediction = self.decode(self.encode(source_image), motion)
        return {"prediction": prediction, "deformed": self.deform(source_image, motion["deformation"]), **motion}

    def forward(
        self,
        source_image: Tensor,
        kp_source: dict[str, Tensor],
        kp_driving: dict[str, Tensor],
        features: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Animate.

        Args:
            source_image: (B, C, H, W) in [0, 1].
            kp_source, kp_driving: see :func:`modules.dense_motion.sparse_motions`.
            features: :meth:`encode` of the source, where it is at hand already.

        Returns:
            the dense motion's outputs, ``deformed`` (the warped source) and ``prediction``, both (B, C, H, W).
        """
        if features is None:
            features = self.encode(source_image)
        if self.dense_motion_network is None:
            return {"prediction": self.decode(features, {})}
        motion = self.dense_motion_network(source_image, kp_driving=kp_driving, kp_source=kp_source)
        painted = self.decode(features, motion)
        if not self.blend_source:
            return {**motion, "deformed": self.deform(source_image, motion["deformation"]), "prediction": painted}
        deformed = self.deform(source_image, motion["deformation"], "border", "bicubic").clamp(0, 1)
        visible = resize_map(motion["occlusion_map"], deformed.shape[-2:], self.align_corners)
        return {**motion, "deformed": deformed, "prediction": torch.lerp(painted, deformed, visible)}
