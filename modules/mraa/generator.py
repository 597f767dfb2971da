"""Generator with skips: what is visible is warped, what is hidden painted (MRAA, "Image generation")."""

from __future__ import annotations

import torch
from torch import Tensor

from modules.bases import AppearanceNetwork
from modules.coords import resize_map
from modules.mraa.flow_predictor import PixelwiseFlowPredictor
from modules.mraa.regions import Regions


class Generator(AppearanceNetwork):
    """Source image and two sets of regions → the source with the driving motion.

    Args:
        pixelwise_flow_predictor_params: arguments of
            :class:`~modules.mraa.flow_predictor.PixelwiseFlowPredictor`.
        skips: the warped features of every resolution, and the warped image, take part in the result.
        revert_axis_swap: see :func:`modules.mraa.regions.revert_swap`.
        align_corners: sampling convention, see :func:`modules.coords.warp`.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_regions: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        pixelwise_flow_predictor_params: dict,
        skips: bool = False,
        revert_axis_swap: bool = False,
        align_corners: bool = False,
    ):
        super().__init__()
        if skips and not pixelwise_flow_predictor_params.get("estimate_occlusion_map"):
            raise ValueError(
                "generator_params.skips: True needs pixelwise_flow_predictor_params.estimate_occlusion_map: True; "
                "without it nothing the decoder paints would be seen"
            )
        self.skips = skips
        self.pixelwise_flow_predictor = PixelwiseFlowPredictor(
            num_regions=num_regions,
            num_channels=num_channels,
            revert_axis_swap=revert_axis_swap,
            align_corners=align_corners,
            **pixelwise_flow_predictor_params,
        )
        self.add_appearance_layers(
            num_channels=num_channels,
            block_expansion=block_expansion,
            max_features=max_features,
            num_down_blocks=num_down_blocks,
            num_bottleneck_blocks=num_bottleneck_blocks,
            align_corners=align_corners,
        )

    def encode(self, source_image: Tensor) -> list[Tensor]:
        """Features of the source at every resolution, finest first: constant for a pair, so worth keeping."""
        return self.encode_levels(source_image)

    def blend(self, warped: Tensor, painted: Tensor | None, occlusion: Tensor | None) -> Tensor:
        """warped·occlusion + painted·(1 − occlusion), (B, F, H, W).

        Args:
            warped: what is visible in the source.
            painted: what the decoder made; None: nothing yet.
            occlusion: (B, 1, h, w) of any size; None: all is visible.
        """
        if occlusion is None:
            return warped
        visible = resize_map(occlusion, warped.shape[-2:], self.align_corners)
        return warped * visible if painted is None else warped * visible + painted * (1 - visible)

    def decode(self, deformed: Tensor, features: list[Tensor], motion: dict[str, Tensor]) -> Tensor:
        """Warped image (B, C, H, W), features and flow → image (B, C, H, W) in [0, 1]."""
        occlusion = motion.get("occlusion_map")
        used = features if self.skips else features[-1:]
        warped = [self.deform(level, motion["optical_flow"]) for level in used]
        out = self.bottleneck(self.blend(warped[-1], None, occlusion))
        for index, block in enumerate(self.up_blocks):
            out = block(self.blend(warped[-1 - index], out, occlusion) if self.skips else out)
        if not self.skips:
            return torch.sigmoid(self.final(out).float())
        out = torch.sigmoid(self.final(self.blend(warped[0], out, occlusion)).float())
        return self.blend(deformed, out, occlusion)

    def forward(
        self,
        source_image: Tensor,
        driving_region_params: Regions,
        source_region_params: Regions,
        bg_params: Tensor | None = None,
        features: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Animate.

        Args:
            source_image: (B, C, H, W) in [0, 1].
            driving_region_params, source_region_params: see :mod:`modules.mraa.regions`.
            bg_params: background motion (B, 3, 3); None (animation): the background stands still.
            features: :meth:`encode` of the source, where they are at hand already.

        Returns:
            the flow predictor's outputs, ``deformed`` (the warped source) and ``prediction`` (B, C, H, W).
        """
        if features is None:
            features = self.encode(source_image)
        regions = driving_region_params, source_region_params
        motion = self.pixelwise_flow_predictor(source_image, *regions, bg_params)
        deformed = self.deform(source_image, motion["optical_flow"])
        return {**motion, "deformed": deformed, "prediction": self.decode(deformed, features, motion)}
