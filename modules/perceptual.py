"""Features of ImageNet networks for the perceptual loss (Johnson et al. 2016): VGG-19, as published, and SqueezeNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

NAMES = ("vgg19", "squeezenet")  # of ``train_params.perceptual_network``
LAYERS = 5  # feature maps that each of them gives
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PerceptualNetwork(nn.Module):
    """Layers of an ImageNet network, frozen.

    Args:
        features: the layers, with the weights to be used.
        ends: index after the last layer of each slice; a slice gives one feature map.
        mean, std: of the channels, taken from the pictures and divided by.
        least: smallest side of a picture, pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, features: nn.Sequential, ends: Sequence[int], mean: Sequence[float], std: Sequence[float], least: int
    ):
        super().__init__()
        bounds = (0, *ends)
        self.slices = nn.ModuleList(nn.Sequential(*features[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.least = least
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), RGB, or (B, 1, H, W) in [0, 1] → five feature maps, finest first.

        Raises:
            ValueError: the images are too small.
        """
        if min(x.shape[-2:]) < self.least:
            raise ValueError(
                f"the perceptual loss is asked of pictures of {x.shape[-1]}×{x.shape[-2]} pixels, and "
                f"{type(self).__name__} needs {self.least}: raise dataset_params.frame_shape, or leave the smallest of "
                "train_params.scales out"
            )
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = (x - self.mean) / self.std
        out = []
        for part in self.slices:
            x = part(x)
            out.append(x)
        return out


class Vgg19(PerceptualNetwork):
    """The first 30 layers of VGG-19: relu1_1 … relu5_1, at 1, 1/2, 1/4, 1/8 and 1/16 of the picture's size.

    Args:
        features: torchvision's ``vgg19().features``.
    """

    def __init__(self, features: nn.Sequential):
        super().__init__(features, (2, 7, 12, 21, 30), IMAGENET_MEAN, IMAGENET_STD, least=16)


class SqueezeNet(PerceptualNetwork):
    """SqueezeNet 1.1 (Iandola et al. 2016): relu1, fire3, fire5, fire7 and fire9, at about 1/2, 1/4, 1/8, 1/16, 1/16.

    Those are the first convolution and the last layer before each change of size, or of width: as the slices of VGG-19
    end where a new size begins.  The maps are divided by `LEVELS`, so that a weight means as much in one layer as in
    another (the weights of Caffe's model are for pictures in grey levels, and its maps differ by a factor of 13).

    Args:
        features: torchvision's ``squeezenet1_1().features`` with the weights of Caffe's model, for RGB.
    """

    MEAN = (123.68, 116.779, 103.939)  # of Caffe's ImageNet, grey levels of 255
    LEVELS = (14.0, 27.0, 19.0, 12.0, 2.0)  # their means over five photos that scikit-image ships, at 227×227

    def __init__(self, features: nn.Sequential):
        mean = [level / 255 for level in self.MEAN]
        super().__init__(features, (2, 5, 8, 11, 13), mean, (1 / 255,) * 3, least=17)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [features / level for features, level in zip(super().forward(x), self.LEVELS, strict=True)]
