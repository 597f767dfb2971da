"""Region predictor: the moving parts, their centres and axes (MRAA, "PCA-based motion estimation")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.mraa.regions import Regions, affine_covariance, symmetric_svd_2x2, weighted_covariance, weighted_mean
from modules.util import AntiAliasInterpolation2d, Hourglass, pooled_maps, spatial_softmax


class RegionPredictor(nn.Module):
    """Regions of an image.

    Args:
        num_regions: K.
        num_channels: channels of the image.
        temperature: of the softmax over space.
        estimate_affine: without it there is no ``affine`` in the output.
        pca_based: take the affines from the covariances of the heat maps; False regresses them.
        scale_factor: the image is down-sampled by it first.
        pad: padding of the 7×7 convolution that makes the heat maps; 3 keeps the map's size.
    """

    def __init__(
        self,
        *,
        block_expansion: int,
        num_regions: int,
        num_channels: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_affine: bool = False,
        scale_factor: float = 1,
        pca_based: bool = False,
        pad: int = 3,
    ):
        super().__init__()
        self.num_regions, self.temperature = num_regions, temperature
        self.estimate_affine, self.pca_based = estimate_affine, pca_based
        self.predictor = Hourglass(block_expansion, num_channels, num_blocks, max_features)
        self.regions = nn.Conv2d(self.predictor.out_features, num_regions, 7, padding=pad)
        self.jacobian: nn.Conv2d | None = None
        if estimate_affine and not pca_based:
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4, 7, padding=pad)
            nn.init.zeros_(self.jacobian.weight)
            self.jacobian.bias.data.copy_(torch.eye(2).flatten())
        self.down = AntiAliasInterpolation2d(num_channels, scale_factor)

    def extra_repr(self) -> str:
        return f"num_regions={self.num_regions}, pca_based={self.pca_based}, temperature={self.temperature}"

    def forward(self, x: Tensor) -> Regions:
        """Find the regions.

        Args:
            x: (B, C, H, W) in [0, 1].

        Returns:
            ``shift``, ``covar``, ``heatmap``, and if estimated ``affine`` (from PCA also ``u`` and ``d``);
            shapes and units in :mod:`modules.mraa.regions`.
        """
        features = self.predictor(self.down(x))
        heatmap = spatial_softmax(self.regions(features), self.temperature)  # (B, K, h, w)
        shift = weighted_mean(heatmap)
        regions = {"shift": shift, "heatmap": heatmap}
        if self.jacobian is not None:
            affine = pooled_maps(self.jacobian(features), heatmap)
            return {**regions, "affine": affine, "covar": affine_covariance(affine)}
        regions["covar"] = weighted_covariance(heatmap, shift)
        if self.estimate_affine:
            u, s = symmetric_svd_2x2(regions["covar"])
            root = s.sqrt()
            regions |= {"affine": u * root[..., None, :], "u": u, "d": torch.diag_embed(root)}
        return regions
