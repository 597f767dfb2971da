"""Networks that train on a processor: the same function of the same parameters, in fewer operations and copies.

Layers take another class, which computes what the original does, up to rounding, from the same parameters under the
same names; so states, optimisers and :func:`modules.inference.prepare_for_inference` do not see a difference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.generator import AppearanceNetwork
from modules.inference import doubling_weight, four_pixel_weight
from modules.util import UpBlock2d

# Above so many weights, making 16 taps of 9 and moving them in every step costs more than it saves.
LARGEST_DOUBLING = 1_000_000


class DoublingBlock2d(UpBlock2d):
    """Nearest ×2 and the 3×3 convolution as one transposed one, see :func:`~modules.inference.doubling_weight`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.conv.weight.numel() > LARGEST_DOUBLING:
            return super().forward(x)
        out = F.conv_transpose2d(x, doubling_weight(self.conv.weight), self.conv.bias, stride=2, padding=1)
        return F.relu(self.norm(out))


class FourPixelConv2d(nn.Conv2d):
    """k×k convolution to few channels, 2×2 pixels at a time, see :func:`~modules.inference.four_pixel_convolution`."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = four_pixel_weight(self.weight), self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, weight, bias, stride=2, padding=self.padding), 2)


class SampleNorm2d(nn.InstanceNorm2d):
    """Instance norm as one BatchNorm a sample: PyTorch's own copies channels-last maps, and their gradients, twice."""

    def forward(self, x: Tensor) -> Tensor:
        normed = [F.batch_norm(one, None, None, self.weight, self.bias, True, 0.0, self.eps) for one in x.split(1)]
        return torch.cat(normed)


def prepare_for_training(network: nn.Module) -> nn.Module:
    """Change the layers of a network for training on a processor, in place.

    Returns:
        ``network``, with the parameters, buffers and names it had.
    """
    kinds = {UpBlock2d: DoublingBlock2d, nn.InstanceNorm2d: SampleNorm2d}
    for module in network.modules():
        module.__class__ = kinds.get(type(module), type(module))
        if isinstance(module, AppearanceNetwork) and len(module.up_blocks):  # without them: sides of any size
            module.final.__class__ = FourPixelConv2d
    return network
