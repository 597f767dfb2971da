"""Pixel-wise flow: from regions and background motion to a sampling grid and an occlusion map (MRAA, §3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.coords import make_coordinate_grid
from modules.dense_motion import MotionNetwork
from modules.mraa.regions import Regions, region_gaussians, relative_affine
from modules.util import matmul_2x2

NEAREST_HORIZON = 1e-3  # smallest homogeneous coordinate: a perspective does not turn the picture inside out


def background_motion(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Identity grid of ``size`` (h, w) moved by a 3×3 matrix (B, 3, 3) on (x, y, 1) → (B, h, w, 2)."""
    grid = make_coordinate_grid(*size, like=matrix)
    homogeneous = F.pad(grid, (0, 1), value=1.0)  # (h, w, 3)
    moved = (matrix[:, None, None] * homogeneous[..., None, :]).sum(-1)  # (B, h, w, 3)
    return moved[..., :2] / moved[..., 2:].clamp_min(NEAREST_HORIZON)


def region_motions(driving: Regions, source: Regions, size: tuple[int, int], revert_axis_swap: bool) -> Tensor:
    """Backward motions A_source·A_driving⁻¹·(z − shift_driving) + shift_source: (B, K, h, w, 2)."""
    grid = make_coordinate_grid(*size, like=driving["shift"])
    motion = grid - driving["shift"][:, :, None, None, :]  # (B, K, h, w, 2)
    if "affine" in driving:
        affine = relative_affine(source["affine"], driving["affine"], revert_axis_swap)
        motion = matmul_2x2(affine[:, :, None, None], motion[..., None]).squeeze(-1)
    return motion + source["shift"][:, :, None, None, :]


class PixelwiseFlowPredictor(MotionNetwork):
    """Mixes the motions of K regions and of the background into one flow, at ``scale_factor`` of the image.

    Args:
        region_var: variance of the heat maps, in normalised units, without ``use_covar_heatmap``.
        use_covar_heatmap: heat maps have the regions' own covariances.
        use_deformed_source: the network also sees the source warped by every motion.
        revert_axis_swap: see :func:`modules.mraa.regions.revert_swap`.
        layers: arguments of :class:`~modules.dense_motion.MotionNetwork`.
    """

    def __init__(
        self,
        *,
        num_regions: int,
        num_channels: int,
        region_var: float = 0.01,
        use_covar_heatmap: bool = False,
        use_deformed_source: bool = True,
        revert_axis_swap: bool = False,
        **layers: float | None,
    ):
        in_features = (num_regions + 1) * (1 + num_channels * use_deformed_source)
        super().__init__(num_regions + 1, in_features, num_channels=num_channels, **layers)
        self.num_regions = num_regions
        self.variance = None if use_covar_heatmap else region_var
        self.use_deformed_source, self.revert_axis_swap = use_deformed_source, revert_axis_swap

    def extra_repr(self) -> str:
        variance = "covariances" if self.variance is None else self.variance
        return f"num_regions={self.num_regions}, variance={variance}, align_corners={self.align_corners}"

    def heatmap_differences(self, driving: Regions, source: Regions, size: tuple[int, int]) -> Tensor:
        """Heat maps of the driving minus those of the source, 0 for the background: (B, K + 1, h, w)."""
        there, here = (region_gaussians(regions, size, self.variance) for regions in (driving, source))
        return F.pad(there - here, (0, 0, 0, 0, 1, 0))

    def sparse_motions(
        self, driving: Regions, source: Regions, bg_params: Tensor | None, size: tuple[int, int]
    ) -> Tensor:
        """The K + 1 candidates, background first: (B, K + 1, h, w, 2), float32."""
        motions = region_motions(driving, source, size, self.revert_axis_swap)
        if bg_params is None:
            background = make_coordinate_grid(*size, like=motions).expand(motions.shape[0], -1, -1, -1)
        else:
            background = background_motion(bg_params, size)
        return torch.cat([background[:, None], motions], dim=1)

    def forward(
        self,
        source_image: Tensor,
        driving_region_params: Regions,
        source_region_params: Regions,
        bg_params: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Estimate the flow.

        Args:
            source_image: (B, C, H, W).
            driving_region_params, source_region_params: see :mod:`modules.mraa.regions`.
            bg_params: background motion (B, 3, 3), driving to source; None: the background stands still.

        Returns:
            ``mask`` (B, K+1, h, w) summing to 1, background first, ``optical_flow`` (B, h, w, 2), where each
            pixel comes from, normalised (x, y), and ``occlusion_map`` (B, 1, h, w) in [0, 1] if estimated.
        """
        source = self.down(source_image)
        size = tuple(source.shape[-2:])
        motions = self.sparse_motions(driving_region_params, source_region_params, bg_params, size)
        heatmaps = self.heatmap_differences(driving_region_params, source_region_params, size)
        inputs = heatmaps[:, :, None]  # (B, K+1, 1, h, w)
        if self.use_deformed_source:
            inputs = torch.cat([inputs, self.warp_candidates(source, motions)], dim=2)
        flow, maps = self.mix(inputs.flatten(1, 2), motions)
        return {"optical_flow": flow, **maps}
