"""Dense motion: from key points and Jacobians to a sampling grid and an occlusion map (FOMM §3.2, Eq. 4-7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules import util
from modules.coords import make_coordinate_grid, warp
from modules.track import field_motion


def sparse_motions(kp_driving: dict[str, Tensor], kp_source: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """One backward motion a key point, T_k(z) = J_source·J_driving⁻¹·(z − p_driving) + p_source, and the identity.

    Args:
        kp_driving, kp_source: ``value`` (B, K, 2) normalised, optionally ``jacobian`` (B, K, 2, 2).
        size: (h, w) of the map.

    Returns:
        (B, K + 1, h, w, 2), the identity (background) first, float32.
    """
    driving, source = kp_driving["value"].float(), kp_source["value"].float()
    identity = make_coordinate_grid(*size, like=driving)  # (h, w, 2)
    motion = identity - driving[:, :, None, None, :]  # (B, K, h, w, 2)
    if "jacobian" in kp_driving:
        with util.full_precision(driving):
            jacobian = kp_source["jacobian"].float() @ util.inverse_2x2(kp_driving["jacobian"])  # (B, K, 2, 2)
            motion = torch.einsum("bkij,bkhwj->bkhwi", jacobian, motion)
    motion = motion + source[:, :, None, None, :]
    background = identity.expand(motion.shape[0], 1, *identity.shape)
    return torch.cat([background, motion], dim=1)


class MotionNetwork(nn.Module):
    """What the motion networks of all families have in common: it mixes candidate motions into one.

    Args:
        candidates: number of motions, the background's first.
        in_features: channels of what :meth:`mix` gets.
        num_channels: C of the images, which are down-sampled by ``scale_factor``.
        estimate_occlusion_map: also predict where the warped source cannot be used.
        align_corners: sampling convention, see :func:`modules.coords.warp`.
        background_bias, occlusion_bias: where the bias of the background's mask logit and of the occlusion logit
            start (None: the layer's own random start).  A negative background bias keeps the masks from collapsing
            to "no motion" while the movements are small.
    """

    def __init__(
        self,
        candidates: int,
        in_features: int,
        *,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        scale_factor: float = 1,
        estimate_occlusion_map: bool = False,
        align_corners: bool = False,
        background_bias: float | None = None,
        occlusion_bias: float | None = None,
    ):
        super().__init__()
        self.align_corners = align_corners
        self.hourglass = util.Hourglass(block_expansion, in_features, num_blocks, max_features)
        self.mask = nn.Conv2d(self.hourglass.out_features, candidates, 7, padding=3)
        self.occlusion: nn.Conv2d | None = None
        if estimate_occlusion_map:
            self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3)
        if background_bias is not None:
            self.mask.bias.data[0] = background_bias
        if occlusion_bias is not None and self.occlusion is not None:
            self.occlusion.bias.data.fill_(occlusion_bias)
        self.down = util.AntiAliasInterpolation2d(num_channels, scale_factor)

    def warp_candidates(self, source: Tensor, motions: Tensor) -> Tensor:
        """(B, C, h, w) warped by each of M motions (B, M, h, w, 2) → (B, M, C, h, w)."""
        candidates = motions.shape[1]
        repeated = source[:, None].expand(-1, candidates, -1, -1, -1).flatten(0, 1)
        return warp(repeated, motions.flatten(0, 1), self.align_corners).unflatten(0, (-1, candidates))

    def mix(self, inputs: Tensor, motions: Tensor, favour: Tensor | float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose between the motions, pixel by pixel, in float32: half precision rounds by half a pixel.

        Args:
            inputs: (B, in_features, h, w).
            motions: (B, M, h, w, 2).
            favour: (B, M, h, w), or a number, added to the mask's logits.

        Returns:
            the mixed motion (B, h, w, 2); and by name ``mask`` (B, M, h, w), summing to 1 over the motions, and
            ``occlusion_map`` (B, 1, h, w) in [0, 1] where it is estimated.
        """
        features = self.hourglass(inputs)
        heads = [head for head in (self.mask, self.occlusion) if head is not None]
        logits, *occlusion = util.convolve_together(features, *heads)
        mask = F.softmax(logits.float() + favour, dim=1)
        maps = {"mask": mask}
        if occlusion:
            maps["occlusion_map"] = torch.sigmoid(occlusion[0].float())
        return (mask[..., None] * motions.float()).sum(1), maps


class DenseMotionNetwork(MotionNetwork):
    """Mixes the K + 1 sparse motions into one deformation, at ``scale_factor`` of the image's size.

    With ``field_bias`` there is one motion more, the last: the measured field of a track, carried over to the source.

    Args:
        kp_variance: variance of the heat maps, in normalised units.
        locality: None, as published, leaves it to the masks where each motion rules.  A variance, in normalised
            units, adds −½‖z − p_k‖²/locality to the k-th logit and starts the mask layer at zero: the masks begin as
            an interpolation of the key points' motions, each around its point, and the network learns the rest.
        field_bias: where the mask logit of the measured field starts; None, as published: there is no such motion.
            Well above 0, the network starts as a plain warp by the field, and learns where something else is better.
        layers: arguments of :class:`MotionNetwork`.
    """

    def __init__(
        self,
        *,
        num_kp: int,
        num_channels: int,
        kp_variance: float = 0.01,
        background_bias: float | None = None,
        locality: float | None = None,
        field_bias: float | None = None,
        **layers: float | None,
    ):
        motions = num_kp + (1 if field_bias is None else 2)
        sizes = {"num_channels": num_channels, "background_bias": background_bias}
        super().__init__(motions, motions * (num_channels + 1), **sizes, **layers)
        self.num_kp, self.kp_variance = num_kp, kp_variance
        self.locality, self.with_field = locality, field_bias is not None
        if locality is not None:
            nn.init.zeros_(self.mask.weight)
            nn.init.zeros_(self.mask.bias[0 if background_bias is None else 1 :])
        if field_bias is not None:
            self.mask.bias.data[-1] = field_bias

    def extra_repr(self) -> str:
        return f"num_kp={self.num_kp}, kp_variance={self.kp_variance}, align_corners={self.align_corners}"

    def heatmap_differences(self, kp_driving: Tensor, kp_source: Tensor, size: tuple[int, int]) -> Tensor:
        """Gaussians at the driving minus at the source key points, zero for the other motions: (B, M, h, w)."""
        there, here = (util.keypoints_to_gaussian(kp.float(), size, self.kp_variance) for kp in (kp_driving, kp_source))
        return F.pad(there - here, self._others)

    @property
    def _others(self) -> tuple[int, ...]:
        """Padding that adds the background before the key points' maps, and the field behind them."""
        return (0, 0, 0, 0, 1, int(self.with_field))

    def _candidates(self, kp_driving: dict[str, Tensor], kp_source: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """All motions (B, M, h, w, 2): background, key points, field."""
        motions = sparse_motions(kp_driving, kp_source, size)
        if not self.with_field:
            return motions
        if "field" not in kp_driving or "field" not in kp_source:
            raise ValueError("with field_bias the motion network needs the measured field of a track: kp['field']")
        with util.full_precision(motions):
            measured = field_motion(kp_driving["field"], kp_source["field"], size)
        return torch.cat([motions, measured[:, None]], dim=1)

    def _nearness(self, kp_driving: Tensor, size: tuple[int, int]) -> Tensor | float:
        """What ``locality`` adds to the mask logits: (B, M, h, w), 0 for the motions without a place; 0 without it."""
        if self.locality is None:
            return 0.0
        distance = make_coordinate_grid(*size, like=kp_driving) - kp_driving[:, :, None, None]
        return F.pad(-0.5 * distance.square().sum(-1) / self.locality, self._others)

    def forward(
        self, source_image: Tensor, kp_driving: dict[str, Tensor], kp_source: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Estimate the dense motion.

        Args:
            source_image: (B, C, H, W).
            kp_driving, kp_source: see :func:`sparse_motions`; with ``field_bias`` also ``field`` (B, h', w', 2), the
                displacement from the source face's rest, see :func:`modules.track.field_motion`.

        Returns:
            ``sparse_deformed`` (B, M, C, h, w), M = K + 1 or, with the field, K + 2; ``mask`` (B, M, h, w) summing to
            1, ``deformation`` (B, h, w, 2) normalised (x, y), and ``occlusion_map`` (B, 1, h, w) in [0, 1] if
            estimated.
        """
        source = self.down(source_image)
        size = tuple(source.shape[-2:])
        motions = self._candidates(kp_driving, kp_source, size)  # (B, M, h, w, 2)
        deformed = self.warp_candidates(source, motions)
        heatmaps = self.heatmap_differences(kp_driving["value"], kp_source["value"], size)
        inputs = torch.cat([heatmaps[:, :, None], deformed], dim=2).flatten(1, 2)
        deformation, maps = self.mix(inputs, motions, self._nearness(kp_driving["value"].float(), size))
        return {"sparse_deformed": deformed, "deformation": deformation, **maps}
