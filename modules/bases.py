"""What the generators and the motion networks of all families have in common, with the names checkpoints use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.coords import resize_grid, warp
from modules.util import (
    AntiAliasInterpolation2d,
    DownBlock2d,
    Hourglass,
    ResBlock2d,
    SameBlock2d,
    UpBlock2d,
    convolve_together,
)


class AppearanceNetwork(nn.Module):
    """The appearance path of a generator: ``first``, ``down_blocks``, ``up_blocks``, ``bottleneck``, ``final``.

    Subclasses register their motion network first and then call :meth:`add_appearance_layers`: the states of
    published optimisers go by this order.
    """

    def add_appearance_layers(
        self,
        *,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        align_corners: bool,
    ) -> None:
        """Make the layers; ``align_corners`` is the sampling convention, see :func:`modules.coords.warp`."""
        self.align_corners = align_corners
        self.first = SameBlock2d(num_channels, block_expansion, kernel_size=7, padding=3)
        widths = [min(max_features, block_expansion * 2**level) for level in range(num_down_blocks + 1)]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.down_blocks = nn.ModuleList(DownBlock2d(i, o) for i, o in pairs)
        self.up_blocks = nn.ModuleList(UpBlock2d(o, i) for i, o in reversed(pairs))
        self.bottleneck = nn.Sequential()
        for index in range(num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{index}", ResBlock2d(widths[-1]))
        self.final = nn.Conv2d(block_expansion, num_channels, 7, padding=3)

    def encode_levels(self, source_image: Tensor) -> list[Tensor]:
        """Features of (B, C, H, W) at every resolution, (B, F, H, W) first, (B, F', H/2^n, W/2^n) last.

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
        return levels

    def deform(self, x: Tensor, deformation: Tensor, padding_mode: str = "zeros", mode: str = "bilinear") -> Tensor:
        """Warp (B, C, H, W) by a deformation of any size (B, h, w, 2)."""
        grid = resize_grid(deformation, x.shape[-2:], self.align_corners)
        return warp(x, grid, self.align_corners, padding_mode, mode)


class MotionNetwork(nn.Module):
    """Mixes candidate motions into one: ``hourglass``, ``mask``, ``occlusion``, ``down``."""

    def add_motion_layers(
        self,
        *,
        in_features: int,
        candidates: int,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        scale_factor: float,
        estimate_occlusion_map: bool,
        align_corners: bool,
        background_bias: float | None,
        occlusion_bias: float | None,
    ) -> None:
        """Make the layers.

        Args:
            in_features: channels of what :meth:`mix` gets.
            candidates: number of motions, the background's first.
            num_channels: C of the images, which are down-sampled by ``scale_factor``.
            align_corners: sampling convention, see :func:`modules.coords.warp`.
            background_bias, occlusion_bias: where the bias of the background's mask logit and of the occlusion
                logit start (None: the layer's own random start).
        """
        self.align_corners, self.scale_factor = align_corners, scale_factor
        self.hourglass = Hourglass(
            block_expansion=block_expansion,
            in_features=in_features,
            max_features=max_features,
            num_blocks=num_blocks,
        )
        self.mask = nn.Conv2d(self.hourglass.out_features, candidates, 7, padding=3)
        self.occlusion: nn.Conv2d | None = None
        if estimate_occlusion_map:
            self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3)
        if background_bias is not None:
            self.mask.bias.data[0] = background_bias
        if occlusion_bias is not None and self.occlusion is not None:
            self.occlusion.bias.data.fill_(occlusion_bias)
        if scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, scale_factor)

    def shrink(self, image: Tensor) -> Tensor:
        """The image at ``scale_factor`` of its size."""
        return self.down(image) if self.scale_factor != 1 else image

    def warp_candidates(self, source: Tensor, motions: Tensor) -> Tensor:
        """(B, C, h, w) warped by each of M motions (B, M, h, w, 2) → (B, M, C, h, w)."""
        candidates = motions.shape[1]
        repeated = source[:, None].expand(-1, candidates, -1, -1, -1).flatten(0, 1)
        return warp(repeated, motions.flatten(0, 1), self.align_corners).unflatten(0, (-1, candidates))

    def mix(
        self, inputs: Tensor, motions: Tensor, favour: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Choose between the motions, pixel by pixel, in float32: half precision rounds by half a pixel.

        Args:
            inputs: (B, in_features, h, w).
            motions: (B, M, h, w, 2).
            favour: (B, M, h, w), or a number, added to the mask's logits.

        Returns:
            mask (B, M, h, w), summing to 1 over the motions; the mixed motion (B, h, w, 2); the occlusion map
            (B, 1, h, w) in [0, 1], or None where it is not estimated.
        """
        features = self.hourglass(inputs)
        heads = [head for head in (self.mask, self.occlusion) if head is not None]
        logits, *occlusion = convolve_together(features, *heads)
        mask = F.softmax(logits.float() + favour, dim=1)
        mixed = (mask[..., None] * motions.float()).sum(1)
        return mask, mixed, torch.sigmoid(occlusion[0].float()) if occlusion else None
