"""Multi-scale PatchGAN discriminator (FOMM, supplementary B), with key point heat maps and spectral norm as options."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from modules.util import keypoints_to_gaussian, scale_name


class PatchBlock2d(nn.Module):
    """4×4 convolution without padding – instance norm – leaky ReLU – 2×2 average pooling."""

    def __init__(self, in_features: int, out_features: int, *, norm: bool, pool: bool, sn: bool):
        super().__init__()
        conv = nn.Conv2d(in_features, out_features, 4)
        self.conv = spectral_norm(conv) if sn else conv
        self.norm = nn.InstanceNorm2d(out_features, affine=True) if norm else None
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.norm is not None:
            out = self.norm(out)
        out = F.leaky_relu(out, 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


class Discriminator(nn.Module):
    """PatchGAN at one scale; the arguments are those of :class:`MultiScaleDiscriminator`."""

    def __init__(
        self,
        *,
        num_channels: int = 3,
        block_expansion: int = 64,
        num_blocks: int = 4,
        max_features: int = 512,
        sn: bool = False,
        use_kp: bool = False,
        num_kp: int = 10,
        kp_variance: float = 0.01,
    ):
        super().__init__()
        self.use_kp, self.kp_variance = use_kp, kp_variance
        widths = [num_channels + (num_kp if use_kp else 0)]
        widths += [min(max_features, block_expansion * 2 ** (level + 1)) for level in range(num_blocks)]
        self.down_blocks = nn.ModuleList(
            PatchBlock2d(i, o, norm=level > 0, pool=level < num_blocks - 1, sn=sn)
            for level, (i, o) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )
        self.least = 2  # height and width that leave 2×2 numbers at the end: of one there is no instance norm
        for block in reversed(self.down_blocks):
            self.least = (2 * self.least if block.pool else self.least) + 3
        conv = nn.Conv2d(widths[-1], 1, 1)
        self.conv = spectral_norm(conv) if sn else conv

    def forward(self, x: Tensor, kp: dict[str, Tensor] | None = None) -> tuple[list[Tensor], Tensor]:
        """(B, C, H, W) and, with ``use_kp``, key points → feature maps of every block and the prediction map.

        Raises:
            ValueError: the image is too small for so many blocks.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.least:
            raise ValueError(
                f"images of {width}×{height} pixels are too small for a discriminator of {len(self.down_blocks)} "
                f"blocks, which needs {self.least}: lower model_params.discriminator_params.num_blocks, or raise its "
                "scales, or raise dataset_params.frame_shape"
            )
        if self.use_kp:
            if kp is None:
                raise ValueError("this discriminator was built with use_kp: pass the driving frame's key points")
            heatmap = keypoints_to_gaussian(kp["value"].float(), x.shape[-2:], self.kp_variance)
            x = torch.cat([x, heatmap.to(x.dtype)], dim=1)
        feature_maps = []
        for block in self.down_blocks:
            x = block(x)
            feature_maps.append(x)
        return feature_maps, self.conv(x)


class MultiScaleDiscriminator(nn.Module):
    """One :class:`Discriminator` a scale of the image pyramid.

    Args:
        scales: of the pyramid, e.g. [1].
        sn: spectral norm on every convolution.
        use_kp: also look at the heat maps of the driving key points.
    """

    def __init__(self, *, scales: list[float] = (1,), **params):
        super().__init__()
        self.scales = list(scales)
        self.discs = nn.ModuleDict({scale_name(scale).replace(".", "-"): Discriminator(**params) for scale in scales})

    def forward(self, x: dict[str, Tensor], kp: dict[str, Tensor] | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Pyramid {'prediction_<scale>': (B, C, h, w)} → ``feature_maps_<scale>``, ``prediction_map_<scale>``."""
        out = {}
        for key, disc in self.discs.items():
            name = key.replace("-", ".")
            features, prediction = disc(x[f"prediction_{name}"], kp)
            out[f"feature_maps_{name}"] = features
            out[f"prediction_map_{name}"] = prediction
        return out
