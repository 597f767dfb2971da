"""Building blocks shared by all networks.  Parameter names are those of the published checkpoints."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.coords import make_coordinate_grid


class SameBlock2d(nn.Module):
    """Convolution – BatchNorm – ReLU at constant resolution."""

    def __init__(self, in_features: int, out_features: int, *, kernel_size: int = 3, padding: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=padding)
        self.norm = nn.BatchNorm2d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class DownBlock2d(SameBlock2d):
    """3×3 convolution – BatchNorm – ReLU – 2×2 average pooling: (B, C, H, W) → (B, out, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock2d(SameBlock2d):
    """Nearest ×2 – 3×3 convolution – BatchNorm – ReLU: (B, C, H, W) → (B, out, 2H, 2W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResBlock2d(nn.Module):
    """Pre-activation residual block: BN – ReLU – 3×3 conv – BN – ReLU – 3×3 conv, plus the input."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(features)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.norm1(x)))
        out = self.conv2(F.relu(self.norm2(out)))
        return out + x


def _width(block_expansion: int, max_features: int, level: int) -> int:
    return min(max_features, block_expansion * 2**level)


class Encoder(nn.Module):
    """``num_blocks`` DownBlocks; returns the input and every level, deepest last."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        widths = [in_features] + [_width(block_expansion, max_features, i + 1) for i in range(num_blocks)]
        self.down_blocks = nn.ModuleList(DownBlock2d(i, o) for i, o in pairwise(widths))
        self.out_features = widths[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """``num_blocks`` UpBlocks, each followed by the skip of its resolution, concatenated."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        blocks = []
        for level in reversed(range(num_blocks)):
            below = _width(block_expansion, max_features, level + 1)
            inputs = below if level == num_blocks - 1 else 2 * below
            blocks.append(UpBlock2d(inputs, _width(block_expansion, max_features, level)))
        self.up_blocks = nn.ModuleList(blocks)
        self.out_features = block_expansion + in_features

    def forward(self, levels: list[Tensor]) -> Tensor:
        out = levels[-1]
        for block, skip in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            out = torch.cat([block(out), skip], dim=1)
        return out


class Hourglass(nn.Module):
    """Encoder and decoder with skips: (B, in_features, H, W) → (B, block_expansion + in_features, H, W).

    Maps whose sides are no multiples of 2^num_blocks (small or non-square frames) are extended by edge replication
    on the right and below, and the result is cut back; others pass untouched, as in the published network.
    """

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        self.encoder = Encoder(block_expansion, in_features, num_blocks, max_features)
        self.decoder = Decoder(block_expansion, in_features, num_blocks, max_features)
        self.out_features = self.decoder.out_features
        self.multiple = 2**num_blocks

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        return self.decoder(self.encoder(x))[..., :height, :width]


class AntiAliasInterpolation2d(nn.Module):
    """Fixed Gaussian blur, then every (1/scale)-th pixel: (B, C, H, W) → (B, C, ⌈H·scale⌉, ⌈W·scale⌉).

    Args:
        channels: C.
        scale: 1 / an integer; sigma = (1/scale − 1)/2, kernel 2·round(4·sigma) + 1, zero padding.  With 1 the image
            passes untouched, and there is no kernel, as in the published checkpoints.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.channels, self.stride = channels, round(1 / scale)
        if self.stride < 1 or abs(self.stride * scale - 1) > 1e-6:
            raise ValueError(
                f"a scale_factor, or one of scales, is {scale}; legal: 1 divided by a whole number (1, 0.5, 0.25 …)"
            )
        if self.stride == 1:
            return
        sigma = (self.stride - 1) / 2
        self.padding = round(4 * sigma)
        offsets = torch.arange(-self.padding, self.padding + 1, dtype=torch.float32)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = kernel[:, None] * kernel[None, :]
        kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1)
        self.register_buffer("weight", kernel.contiguous())

    def extra_repr(self) -> str:
        return f"channels={self.channels}, stride={self.stride}"

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        return F.conv2d(x, self.weight.to(x.dtype), stride=self.stride, padding=self.padding, groups=self.channels)


class ImagePyramid(nn.Module):
    """Anti-aliased copies of an image at several scales: {'prediction_<scale>': (B, C, H·scale, W·scale)}."""

    def __init__(self, scales: list[float], channels: int):
        super().__init__()
        self.scales = list(scales)
        self.downs = nn.ModuleList(AntiAliasInterpolation2d(channels, scale) for scale in scales)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {f"prediction_{scale_name(s)}": down(x) for s, down in zip(self.scales, self.downs, strict=True)}


def scale_name(scale: float) -> str:
    """'1' for 1 and 1.0, '0.5' for 0.5: the name of a scale in dictionaries."""
    return f"{scale:g}"


def keypoints_to_gaussian(keypoints: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """Gaussians exp(−½‖z − p‖²/variance) around normalised key points (B, K, 2) → (B, K, h, w)."""
    grid = make_coordinate_grid(*size, like=keypoints)  # (h, w, 2)
    difference = grid - keypoints[:, :, None, None, :]
    return torch.exp(-0.5 * difference.square().sum(-1) / variance)


def full_precision(like: Tensor) -> torch.autocast:
    """Context in which autocast is off: coordinates and Jacobians must not be rounded.

    bfloat16 has 8 significant bits: near ±1 it moves a sampling grid by up to half a pixel of 256, and a Jacobian by
    0.4 %, more than a micro-expression moves.
    """
    return torch.autocast(like.device.type, enabled=False)


def inverse_2x2(matrix: Tensor, floor: float = 1e-6) -> Tensor:
    """Closed-form inverse of (..., 2, 2) in float32; |determinant| is kept ≥ ``floor``, with its sign.

    A network is free to output singular Jacobians (users report NaN after some epochs); the floor keeps the result
    finite, and its gradient too.
    """
    with full_precision(matrix):
        a, b, c, d = matrix.float().flatten(-2).unbind(-1)
        determinant = a * d - b * c
        limit = torch.where(determinant < 0, -floor, floor)
        determinant = torch.where(determinant.abs() < floor, limit, determinant)
        adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
        return adjugate / determinant[..., None, None]


def matmul_2x2(a: Tensor, b: Tensor) -> Tensor:
    """Product of (..., 2, 2) with (..., 2, n), element by element: exact under autocast, unlike ``@``."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def pooled_maps(maps: Tensor, heatmap: Tensor) -> Tensor:
    """Average each of M·4 or 4 maps under K heat maps.

    Args:
        maps: (B, M·4, h, w), M = K or 1 (one map shared by all).
        heatmap: (B, K, h, w), summing to 1 over space.

    Returns:
        (B, K, 2, 2).
    """
    maps = maps.float().unflatten(1, (-1, 4)).flatten(-2)  # (B, M, 4, hw)
    weights = heatmap.float().flatten(-2)  # (B, K, hw)
    with full_precision(maps):
        if maps.shape[1] == 1:
            pooled = torch.einsum("bkn,bcn->bkc", weights, maps[:, 0])
        else:
            pooled = torch.einsum("bkn,bkcn->bkc", weights, maps)
    return pooled.unflatten(-1, (2, 2))


def convolve_together(x: Tensor, *layers: nn.Conv2d) -> tuple[Tensor, ...]:
    """Outputs of convolutions that share their input and their shape, but for the channels they make.

    Without gradients they are made as of one convolution: a map or nineteen cost a processor as much as the next
    multiple of a vector register.  In training its rounding would move the first steps of the golden networks by 2.5 %.
    """
    if torch.is_grad_enabled():
        return tuple(layer(x) for layer in layers)
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    if not torch.is_autocast_enabled(x.device.type):
        x = x.to(weight.dtype)
    return F.conv2d(x, weight, bias, padding=layers[0].padding).split([layer.out_channels for layer in layers], dim=1)


def spatial_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Softmax over space of (B, K, h, w), in float32."""
    return F.softmax(logits.float().flatten(-2) / temperature, dim=-1).view_as(logits)
