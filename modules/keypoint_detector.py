"""Key point detector: the facial prior's (paper §3.1) and, without prior, FOMM's (NeurIPS 2019, §3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules import util
from modules.coords import make_coordinate_grid, normalize_keypoints
from modules.facial_prior import NUM_KEYPOINTS, region_map


class KPDetector(nn.Module):
    """Key points and their local affine motion (Jacobians) of an image.

    Args:
        num_kp: K; 18 with the facial prior.
        num_channels: channels of the image.
        temperature: of the softmax over space.
        scale_factor: the image is down-sampled by it first.
        estimate_jacobian: without it there is no ``jacobian`` in the output.
        single_jacobian_map: one Jacobian map shared by all key points.
        facial_prior: take the key points from the prior (paper); False finds them in the heat maps (FOMM).
    """

    def __init__(
        self,
        *,
        block_expansion: int,
        num_kp: int,
        num_channels: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_jacobian: bool = False,
        scale_factor: float = 1,
        single_jacobian_map: bool = False,
        pad: int = 0,
        facial_prior: bool = True,
    ):
        super().__init__()
        if facial_prior and num_kp != NUM_KEYPOINTS:
            raise ValueError(
                f"num_kp is {num_kp}, but the facial prior has {NUM_KEYPOINTS} key points. "
                f"Set model_params.common_params.num_kp: {NUM_KEYPOINTS}, or model: fomm for learned key points."
            )
        self.num_kp, self.temperature, self.facial_prior = num_kp, temperature, facial_prior
        self.predictor = util.Hourglass(block_expansion, num_channels + int(facial_prior), num_blocks, max_features)
        self.kp = nn.Conv2d(self.predictor.out_features, num_kp, 7, padding=pad)
        self.jacobian: nn.Conv2d | None = None
        if estimate_jacobian:
            maps = 1 if single_jacobian_map else num_kp
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4 * maps, 7, padding=pad)
            nn.init.zeros_(self.jacobian.weight)
            self.jacobian.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(maps))
        self.down = util.AntiAliasInterpolation2d(num_channels, scale_factor)

    def extra_repr(self) -> str:
        return f"num_kp={self.num_kp}, facial_prior={self.facial_prior}, temperature={self.temperature}"

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the down-sampled image, and so of the region map, for a height×width frame."""
        return -(-height // self.down.stride), -(-width // self.down.stride)

    def region_map(self, keypoint: Tensor, height: int, width: int) -> Tensor:
        """Region map (B, 1, h, w) of key points (B, 18, 2) in pixels; constant for a clip, so worth keeping."""
        return region_map(keypoint, (height, width), self.map_size(height, width))

    def forward(self, x: Tensor, keypoint: Tensor | None = None, regions: Tensor | None = None) -> dict[str, Tensor]:
        """Detect.

        Args:
            x: (B, C, H, W) in [0, 1].
            keypoint: facial prior (B, 18, 2), (x, y) in pixels; required with ``facial_prior``, unused without.
            regions: :meth:`region_map` of ``keypoint``, where it is at hand already.

        Raises:
            ValueError: a frame that is too small, or no key points with ``facial_prior``.

        Returns:
            ``value`` (B, K, 2), (x, y) normalised, and ``jacobian`` (B, K, 2, 2) if estimated.
        """
        height, width = x.shape[-2:]
        x = self.down(x)
        if self.facial_prior:
            if keypoint is None:
                raise ValueError("this detector takes its key points from the facial prior: pass keypoint (B, 18, 2)")
            expected = (x.shape[0], self.num_kp, 2)
            if keypoint.shape != expected:
                raise ValueError(f"keypoint should have shape {expected}, got {tuple(keypoint.shape)}")
            if regions is None:
                regions = self.region_map(keypoint, height, width)
            x = torch.cat([x, regions.to(x.dtype)], dim=1)
        least = self.kp.kernel_size[0] - 2 * self.kp.padding[0]
        if min(x.shape[-2:]) < least:
            raise ValueError(
                f"frames of {width}×{height} pixels are too small for the key point detector, which works on "
                f"{x.shape[-1]}×{x.shape[-2]} of them and needs {least}: raise dataset_params.frame_shape, or "
                "model_params.kp_detector_params.scale_factor"
            )
        features = self.predictor(x)
        with util.full_precision(features):
            heads = [head for head in (self.kp, self.jacobian) if head is not None]
            logits, *jacobian = util.convolve_together(features.float(), *heads)
            heatmap = util.spatial_softmax(logits, self.temperature)  # (B, K, h', w')
            out = {"value": self._values(heatmap, keypoint, height, width)}
            if jacobian:
                out["jacobian"] = util.pooled_maps(jacobian[0], heatmap)
        return out

    def _values(self, heatmap: Tensor, keypoint: Tensor | None, height: int, width: int) -> Tensor:
        if self.facial_prior:
            return normalize_keypoints(keypoint.to(heatmap.dtype), height, width)
        grid = make_coordinate_grid(*heatmap.shape[-2:], like=heatmap)
        return torch.einsum("bkhw,hwc->bkc", heatmap, grid)
