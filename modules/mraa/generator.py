"""Generator with skips: what is visible is warped, what is hidden painted (MRAA, "Image generation")."""

from __future__ import annotations

import torch
from torch import Tensor

from modules.coords import resize_map
from modules.generator import AppearanceNetwork
from modules.mraa.flow_predictor import PixelwiseFlowPredictor
from modules.mraa.regions import Regions


class Generator(AppearanceNetwork):
    """Source image and two sets of regions → the source with the driving motion.

    Args:
        pixelwise_flow_predictor_params: arguments of
            :class:`~modules.mraa.flow_predictor.PixelwiseFlowPredictor`.
        skips: the warped features of every resolution, and the warped image, take part in the result.
        revert_axis_swap: see :func:`modules.mraa.regions.revert_swap`.
        layers: arguments of :class:`~modules.generator.AppearanceNetwork`.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_regions: int,
        pixelwise_flow_predictor_params: dict,
        skips: bool = False,
        revert_axis_swap: bool = False,
        align_corners: bool = False,
        **layers: int,
    ):
        if skips and not pixelwise_flow_predictor_params.get("estimate_occlusion_map"):
            raise ValueError(
                "generator_params.skips: True needs pixelwise_flow_predictor_params.estimate_occlusion_map: True; "
                "without it nothing the decoder paints would be seen"
            )
        common = {"num_channels": num_channels, "align_corners": align_corners}
        flow = PixelwiseFlowPredictor(
            num_regions=num_regions, revert_axis_swap=revert_axis_swap, **common, **pixelwise_flow_predictor_params
        )
        super().__init__("pixelwise_flow_predictor", flow, **common, **layers)
        self.skips = skips

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
        warped = [self.deform(level, motion["optical_flow"]) for level in features]
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
        regions = driving_region_params, source_region_params
        motion = self.pixelwise_flow_predictor(source_image, *regions, bg_params)
        deformed = self.deform(source_image, motion["optical_flow"])
        features = features or self.encode(source_image)
        return {**motion, "deformed": deformed, "prediction": self.decode(deformed, features, motion)}
