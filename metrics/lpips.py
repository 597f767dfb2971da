"""LPIPS, the learned perceptual distance of two pictures (Zhang et al., CVPR 2018), version 0.1 on AlexNet.

The weights are other people's and come with none of this project's dependencies: :class:`Lpips` is given them, and
without them the figure is absent.  Both sides are made grey first, as for every figure of `metrics.image`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .canonical import MetricError, to_grey

# AlexNet's convolutions (torchvision's features.<number>): stride, padding; and where 3×3 pooling of stride 2 precedes.
LAYERS = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
POOLED = (3, 6)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10
BATCH = 16


class Lpips:
    """The distance, with its weights.

    Args:
        alexnet: state dict of torchvision's AlexNet (``features.0.weight`` …), ImageNet weights.
        linear: state dict of the linear layers (``lin0.model.1.weight`` …), as the package ``lpips`` has them.

    Raises:
        MetricError: entries are missing.
    """

    def __init__(self, alexnet: Mapping[str, Tensor], linear: Mapping[str, Tensor]):
        try:
            self._layers = [(n, alexnet[f"features.{n}.weight"], alexnet[f"features.{n}.bias"]) for n in LAYERS]
            self._linear = [linear[f"lin{i}.model.1.weight"] for i in range(len(LAYERS))]
        except KeyError as error:
            raise MetricError(f"these are no LPIPS weights: {error} is missing") from error

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] → features after each ReLU, of length 1 at every place."""
        x = (pictures - pictures.new_tensor(SHIFT).view(1, 3, 1, 1)) / pictures.new_tensor(SCALE).view(1, 3, 1, 1)
        found = []
        for number, weight, bias in self._layers:
            if number in POOLED:
                x = F.max_pool2d(x, 3, 2)
            stride, padding = LAYERS[number]
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPS))
        return found

    @torch.inference_mode()
    def pictures(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance (B,) of pictures (B, 3, H, W) in [-1, 1]; 0 = equal."""
        total = first.new_zeros(len(first))
        for weight, a, b in zip(self._linear, self._features(first), self._features(second), strict=True):
            total += F.conv2d((a - b).square(), weight).mean(dim=(1, 2, 3))
        return total

    def __call__(self, generated: np.ndarray, truth: np.ndarray) -> float:
        """Mean distance of two clips uint8 (T ≥ 2, H, W, 3), both made grey, over frames 1 … T − 1.

        Raises:
            MetricError: clips of different sizes or lengths, or of one frame.
        """
        if generated.shape[:3] != truth.shape[:3] or len(generated) < 2:
            raise MetricError(f"two clips of one size are needed, got {generated.shape} and {truth.shape}")
        parts = [
            self.pictures(_grey(generated[start : start + BATCH]), _grey(truth[start : start + BATCH]))
            for start in range(1, len(generated), BATCH)
        ]
        return float(torch.cat(parts).mean())


def _grey(frames: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W) in [-1, 1], all channels the grey one."""
    grey = np.stack([to_grey(frame) for frame in frames])
    return (torch.from_numpy(grey).float() / 127.5 - 1.0)[:, None].expand(-1, 3, -1, -1)
