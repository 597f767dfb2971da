"""VGG-19 features for the perceptual loss (Johnson et al. 2016), on relu1_1 … relu5_1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Index after the ReLU that ends each slice, in torchvision's vgg19().features.
SLICES = (2, 7, 12, 21, 30)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Vgg19(nn.Module):
    """The first 30 layers of VGG-19, frozen.

    Args:
        features: torchvision's ``vgg19().features``, with the weights to be used.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential):
        super().__init__()
        bounds = (0, *SLICES)
        self.slices = nn.ModuleList(nn.Sequential(*features[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [0, 1] → five feature maps, finest first."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = (x - self.mean) / self.std
        out = []
        for part in self.slices:
            x = part(x)
            out.append(x)
        return out
