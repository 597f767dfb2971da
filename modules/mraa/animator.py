"""Animation of one source by one driving clip in batches, in MRAA's modes; the source is encoded once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.animator import normalize_kp, repeat
from modules.mraa.regions import Regions, as_keypoints, from_keypoints

MODES = ("avd", "relative", "standard")


class RegionAnimator:
    """Animator of the ``mraa`` family; the interface is that of :class:`modules.animator.KeyPointAnimator`.

    Args:
        networks: ``generator`` and ``region_predictor``; ``avd_network`` in mode ``avd``; ``bg_predictor``
            for reconstruction.  In eval mode, on one device.
        mode: ``standard``: the source takes the driving regions as they are; ``relative``: it moves as they
            do from the initial frame on; ``avd``: it takes their pose and keeps its own shape.
        adapt_movement_scale: in mode ``relative``, scale movements by the ratio of the regions' convex hulls.
        reconstruction: driving and source are one clip: mode ``standard`` with the background's motion.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        mode: str = "avd",
        adapt_movement_scale: bool = True,
        reconstruction: bool = False,
    ):
        if mode not in MODES:
            raise ValueError(f"animate_params.mode is {mode!r}; legal: {', '.join(MODES)}")
        self.mode = "standard" if reconstruction else mode
        if self.mode == "avd" and "avd_network" not in networks:
            raise ValueError(
                "animate_params.mode: avd needs the network avd_network, which this model does not have: "
                "train it with --mode train_avd, or set animate_params.mode to relative or standard"
            )
        self.networks, self.adapt_movement_scale = networks, adapt_movement_scale
        self.generator, self.region_predictor = networks["generator"], networks["region_predictor"]
        self.bg_predictor = networks["bg_predictor"] if reconstruction else None

    @torch.inference_mode()
    def start(
        self,
        source: Tensor,
        driving_initial: Tensor,
        keypoint_source: Tensor | None = None,
        keypoint_driving: Tensor | None = None,
    ) -> None:
        """Prepare a pair: source and initial driving frame (1, C, H, W); MRAA has no use for key points."""
        self.source = source
        self.features = self.generator.encode(source)
        self.source_regions = self.region_predictor(source)
        if self.mode == "relative":
            self.initial_regions = self.region_predictor(driving_initial)

    def _carry_over(self, driving: Regions, source: Regions) -> Regions:
        """The regions that the source is to have in these driving frames."""
        if self.mode == "relative":
            keypoints = (as_keypoints(r) for r in (self.source_regions, driving, self.initial_regions))
            return from_keypoints(normalize_kp(*keypoints, self.adapt_movement_scale, True, True))
        if self.mode == "avd":
            return self.networks["avd_network"](x_id=source, x_pose=driving)
        return driving

    @torch.inference_mode()
    def animate(self, driving: Tensor, keypoints: Tensor | None = None) -> dict[str, Tensor]:
        """The next T driving frames (T, C, H, W) → the generator's outputs, with ``kp_source``, ``kp_driving``.

        ``keypoints`` belongs to the interface; MRAA has no use for it.
        """
        frames = driving.shape[0]
        source = repeat(self.source, frames)
        source_regions = {name: repeat(tensor, frames) for name, tensor in self.source_regions.items()}
        regions = self._carry_over(self.region_predictor(driving), source_regions)
        background = None if self.bg_predictor is None else self.bg_predictor(source, driving)
        features = [repeat(level, frames) for level in self.features]
        out = self.generator(source, regions, source_regions, background, features=features)
        out.update(kp_source=as_keypoints(source_regions), kp_driving=as_keypoints(regions))
        return out
