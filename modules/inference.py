"""Networks rebuilt for inference: the same function of their inputs in fewer operations.

BatchNorm with fixed statistics is folded into the convolution before it; nearest ×2 and the 3×3 convolution after it
become one transposed convolution, with 4/9 of the multiplications; the last convolution, whose one or three outputs
leave most of a vector register empty, makes 2×2 pixels at once; weights lie channels-last.  What a rebuilt network
returns differs from the original's by rounding alone; its state dict has other names, so a network is rebuilt after
its checkpoint was loaded, and never saved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modules.generator import AppearanceNetwork
from modules.util import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d

# Above so many weights the time goes into moving them, and 16 taps in place of 9 cost more than they save.
LARGEST_TRANSPOSED = 4_000_000


def doubling_weight(weight: Tensor) -> Tensor:
    """Weight of the transposed 4×4 convolution, stride 2 and padding 1, that equals nearest ×2 and a 3×3 convolution.

    A pixel of the doubled map sees 3×3 neighbours there, which are copies of 2×2 pixels of the small map: the weights
    of the copies are added up, which leaves 4/9 of the multiplications.

    Args:
        weight: (out, in, 3, 3) of a convolution with padding 1.

    Returns:
        (in, out, 4, 4).
    """
    flipped = weight.flip(-1, -2).transpose(0, 1)
    return sum(F.pad(flipped, (x, 1 - x, y, 1 - y)) for x in (0, 1) for y in (0, 1))


def four_pixel_weight(weight: Tensor) -> Tensor:
    """Weight (4·out, in, k + 1, k + 1) of :func:`four_pixel_convolution`, of a convolution's (out, in, k, k)."""
    return torch.stack([F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)], dim=1).flatten(0, 1)


def upsampling_convolution(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """Nearest ×2 followed by ``conv`` (3×3, padding 1) as one transposed convolution.

    Raises:
        ValueError: a convolution of another shape.
    """
    if conv.kernel_size != (3, 3) or conv.padding != (1, 1) or conv.stride != (1, 1) or conv.groups != 1:
        raise ValueError(f"only 3×3 convolutions with padding 1, stride 1 and one group can follow; got {conv}")
    out = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
    out.weight, out.bias = nn.Parameter(doubling_weight(conv.weight.detach())), conv.bias
    return out


def four_pixel_convolution(conv: nn.Conv2d) -> nn.Sequential:
    """``conv`` (k×k, k odd, output as large as input) as a (k + 1)×(k + 1) one of stride 2 that makes 2×2 pixels at a
    time, as channels, and a pixel shuffle; for maps whose sides are even.

    Raises:
        ValueError: a convolution of another shape.
    """
    size, padding = conv.kernel_size[0], conv.padding[0]
    if conv.kernel_size != (size, size) or conv.padding != (padding, padding) or size != 2 * padding + 1:
        raise ValueError(f"only k×k convolutions with padding (k - 1) / 2 can make four pixels at once; got {conv}")
    if conv.stride != (1, 1) or conv.dilation != (1, 1) or conv.groups != 1 or conv.bias is None:
        raise ValueError(f"only convolutions with bias, stride 1, one group can make four pixels at once; got {conv}")
    out = nn.Conv2d(conv.in_channels, 4 * conv.out_channels, size + 1, stride=2, padding=padding)
    out.weight = nn.Parameter(four_pixel_weight(conv.weight.detach()))
    out.bias = nn.Parameter(conv.bias.detach().repeat_interleave(4))
    return nn.Sequential(out, nn.PixelShuffle(2))


class FoldedResBlock2d(nn.Module):
    """:class:`~modules.util.ResBlock2d` with its second BatchNorm folded into its first convolution."""

    def __init__(self, block: ResBlock2d):
        super().__init__()
        self.norm, self.conv1, self.conv2 = block.norm1, fuse_conv_bn_eval(block.conv1, block.norm2), block.conv2

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.conv1.weight.dtype)
        out = self.conv1(F.relu_(self.norm(x)))
        return self.conv2(F.relu_(out)).add_(x)


def _rebuilt(block: nn.Module) -> nn.Module | None:
    """A block in fewer operations; None for a module that is no block of ours."""
    if isinstance(block, ResBlock2d):
        return FoldedResBlock2d(block)
    if not isinstance(block, SameBlock2d):
        return None
    conv, relu = fuse_conv_bn_eval(block.conv, block.norm), nn.ReLU(inplace=True)
    if isinstance(block, UpBlock2d):
        if conv.weight.numel() > LARGEST_TRANSPOSED:
            return nn.Sequential(nn.UpsamplingNearest2d(scale_factor=2), conv, relu)
        return nn.Sequential(upsampling_convolution(conv), relu)
    if isinstance(block, DownBlock2d):
        return nn.Sequential(conv, relu, nn.AvgPool2d(2))
    return nn.Sequential(conv, relu)


def _rebuild_children(module: nn.Module, dtype: torch.dtype) -> None:
    for name, child in module.named_children():
        block = _rebuilt(child)
        if isinstance(module, AppearanceNetwork) and child is module.final:
            block = four_pixel_convolution(child) if len(module.up_blocks) else child  # without them: sides of any size
        if block is None:
            _rebuild_children(child, dtype)
            continue
        for layer in block.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.to(dtype)
        setattr(module, name, block)


def _match_dtype(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].to(layer.weight.dtype),)


def prepare_for_inference(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Rebuild a network in eval mode, in place, for inference alone.

    Args:
        network: with its weights loaded; a block itself stays as it is, what it consists of is rebuilt.
        dtype: in which the blocks and the generator's last convolution compute; bfloat16 or float32.  Heat maps,
            masks, Jacobians, coordinates and warps stay in float32: a micro-expression moves less than bfloat16
            rounds (see :func:`modules.util.full_precision`).

    Returns:
        ``network``, without gradients; images and key points go in and come out in float32 as before.

    Raises:
        ValueError: the network is in train mode: its BatchNorm has no fixed statistics.
    """
    if network.training:
        raise ValueError("the network is in train mode: call eval() before it is rebuilt for inference")
    with torch.no_grad():
        _rebuild_children(network, dtype)
    if dtype != torch.float32:
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                layer.register_forward_pre_hook(_match_dtype)
    return network.requires_grad_(False).to(memory_format=torch.channels_last)
