"""Occlusion-aware generator: warp the source's features by the dense motion and paint what was hidden (FOMM §3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from modules.coords import make_coordinate_grid, resize_grid, resize_map, warp
from modules.dense_motion import DenseMotionNetwork
from modules.util import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d


class AppearanceNetwork(nn.Module):
    """What the generators of all families have in common: the appearance path.

    Args:
        name, motion: the motion network and what checkpoints call it; None for no motion.  It is registered before the
            appearance layers: the states of published optimisers go by this order.
        block_expansion, max_features: channels of the first level, and the most that any level has.
        num_down_blocks: n; the features are at H/2^n, W/2^n.
        align_corners: sampling convention, see :func:`modules.coords.warp`.
    """

    skips = False  # whether the decoder uses the features of every resolution, or the last ones alone

    def __init__(
        self,
        name: str,
        motion: nn.Module | None,
        *,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        align_corners: bool = False,
    ):
        super().__init__()
        self.add_module(name, motion)
        self.align_corners = align_corners
        self.first = SameBlock2d(num_channels, block_expansion, kernel_size=7, padding=3)
        widths = [min(max_features, block_expansion * 2**level) for level in range(num_down_blocks + 1)]
        self.down_blocks = nn.ModuleList(DownBlock2d(i, o) for i, o in pairwise(widths))
        self.up_blocks = nn.ModuleList(UpBlock2d(i, o) for i, o in pairwise(reversed(widths)))
        self.bottleneck = nn.Sequential()
        for index in range(num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{index}", ResBlock2d(widths[-1]))
        self.final = nn.Conv2d(block_expansion, num_channels, 7, padding=3)

    def encode(self, source_image: Tensor) -> list[Tensor]:
        """Features of a source (B, C, H, W): constant for a pair, so worth keeping.

        Returns:
            (B, F, H/2^n, W/2^n) alone, or with ``skips`` those of every resolution, (B, F', H, W) first.

        Raises:
            ValueError: the frame cannot be halved n times.
        """
        (height, width), multiple = source_image.shape[-2:], 2 ** len(self.down_blocks)
        if height % multiple or width % multiple:
            raise ValueError(
                f"frames of {width}×{height} pixels do not go through {len(self.down_blocks)} down-sampling "
                f"blocks: width and height must be multiples of {multiple}. Change dataset_params.frame_shape."
            )
        levels = [self.first(source_image)]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels if self.skips else levels[-1:]

    def deform(self, x: Tensor, deformation: Tensor, padding_mode: str = "zeros", mode: str = "bilinear") -> Tensor:
        """Warp (B, C, H, W) by a deformation of any size (B, h, w, 2)."""
        grid = resize_grid(deformation, x.shape[-2:], self.align_corners)
        return warp(x, grid, self.align_corners, padding_mode, mode)


class OcclusionAwareGenerator(AppearanceNetwork):
    """Source image and two sets of key points → the source with the driving motion.

    Args:
        dense_motion_params: arguments of :class:`~modules.dense_motion.DenseMotionNetwork`; None: no motion at all.
        blend_source: where the occlusion map calls the source visible, show the warped source itself, sampled
            bicubically to stay sharp, and what the decoder paints elsewhere; MRAA's generator does alike.  False, as
            published: all is painted.
        layers: arguments of :class:`AppearanceNetwork`.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_kp: int,
        estimate_occlusion_map: bool = False,
        dense_motion_params: dict | None = None,
        align_corners: bool = False,
        blend_source: bool = False,
        **layers: int,
    ):
        if blend_source and not (estimate_occlusion_map and dense_motion_params):
            raise ValueError(
                "generator_params.blend_source: True needs estimate_occlusion_map: True and dense_motion_params: "
                "the occlusion map says where the source is shown"
            )
        common = {"num_channels": num_channels, "align_corners": align_corners}
        motion: DenseMotionNetwork | None = None
        if dense_motion_params is not None:
            motion = DenseMotionNetwork(
                num_kp=num_kp, estimate_occlusion_map=estimate_occlusion_map, **common, **dense_motion_params
            )
        super().__init__("dense_motion_network", motion, **common, **layers)
        self.blend_source = blend_source

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
        prediction = self.decode(self.encode(source_image)[-1], motion)
        return {"prediction": prediction, "deformed": self.deform(source_image, motion["deformation"]), **motion}

    def forward(
        self,
        source_image: Tensor,
        kp_source: dict[str, Tensor],
        kp_driving: dict[str, Tensor],
        features: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Animate.

        Args:
            source_image: (B, C, H, W) in [0, 1].
            kp_source, kp_driving: see :func:`modules.dense_motion.sparse_motions`.
            features: :meth:`encode` of the source, where it is at hand already.

        Returns:
            the dense motion's outputs, ``deformed`` (the warped source) and ``prediction``, both (B, C, H, W).
        """
        features = features or self.encode(source_image)
        if self.dense_motion_network is None:
            return {"prediction": self.decode(features[-1], {})}
        motion = self.dense_motion_network(source_image, kp_driving=kp_driving, kp_source=kp_source)
        painted = self.decode(features[-1], motion)
        if not self.blend_source:
            return {**motion, "deformed": self.deform(source_image, motion["deformation"]), "prediction": painted}
        deformed = self.deform(source_image, motion["deformation"], "border", "bicubic").clamp(0, 1)
        visible = resize_map(motion["occlusion_map"], deformed.shape[-2:], self.align_corners)
        return {**motion, "deformed": deformed, "prediction": torch.lerp(painted, deformed, visible)}
