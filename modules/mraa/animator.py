"""Animation of one source by one driving clip in batches, in MRAA's modes; the source is encoded once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.animator import NO_REGIONS, Animator, KeyPoints, interpolate, normalize_kp, repeat, repeat_all
from modules.motion_control import MotionControl
from modules.mraa.regions import Regions, align_swap, as_keypoints, from_keypoints

MODES = ("avd", "relative", "standard")


class RegionAnimator(Animator):
    """Animator of the ``mraa`` family.

    Args:
        networks: ``generator`` and ``region_predictor``; ``avd_network`` in mode ``avd``; ``bg_predictor``
            for reconstruction.  In eval mode, on one device.
        mode: ``standard``: the source takes the driving regions as they are; ``relative``: it moves as they
            do from the initial frame on; ``avd``: it takes their pose and keeps its own shape.
        adapt_movement_scale: in mode ``relative``, scale movements by the ratio of the regions' convex hulls.
        reconstruction: driving and source are one clip: mode ``standard`` with the background's motion.
        control: strength of the movement, in mode ``relative`` alone; MRAA's regions have no fixed place on the
            face, so it cannot be asked for some of them.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        mode: str = "avd",
        adapt_movement_scale: bool = True,
        reconstruction: bool = False,
        control: MotionControl | None = None,
    ):
        super().__init__(networks["generator"], control)
        if self.control.regions:
            raise ValueError(NO_REGIONS)
        if mode not in MODES:
            raise ValueError(f"animate_params.mode is {mode!r}; legal: {', '.join(MODES)}")
        self.mode = "standard" if reconstruction else mode
        if self.mode == "avd" and "avd_network" not in networks:
            raise ValueError(
                "animate_params.mode: avd needs the network avd_network, which this model does not have: "
                "train it with --mode train_avd, or set animate_params.mode to relative or standard"
            )
        if self.control and self.mode != "relative":
            raise ValueError(
                f"animate_params.amplify changes the movement since the onset, which mode {self.mode!r} does not "
                "know: set animate_params.mode: relative"
            )
        self.networks, self.adapt_movement_scale = networks, adapt_movement_scale
        self.region_predictor = networks["region_predictor"]
        self.bg_predictor = networks["bg_predictor"] if reconstruction else None

    @torch.inference_mode()
    def start(self, source: Tensor, driving_initial: Tensor, *keypoints: Tensor | None) -> None:
        """Prepare a pair: source and initial driving frame (1, C, H, W); MRAA has no use for key points."""
        self.encode(source)
        self.kp_source = self.region_predictor(source)
        if self.mode == "relative":
            self.initial_regions = self.region_predictor(driving_initial)

    def _carry_over(self, driving: Regions, source: Regions) -> Regions:
        """The regions that the source is to have in these driving frames."""
        if self.mode == "relative":
            keypoints = (as_keypoints(r) for r in (self.kp_source, driving, self.initial_regions))
            return self._controlled(self.control, normalize_kp(*keypoints, self.adapt_movement_scale, True, True))
        if self.mode == "avd":
            return self.networks["avd_network"](x_id=source, x_pose=driving)
        return driving

    def _controlled(self, control: MotionControl, keypoints: KeyPoints) -> Regions:
        """Regions from key points, after the control; signs that mean no movement are taken out first."""
        source = as_keypoints(self.kp_source)
        if control and "jacobian" in keypoints:
            keypoints = {**keypoints, "jacobian": align_swap(source["jacobian"], keypoints["jacobian"])}
        return from_keypoints(control(source, keypoints))

    @property
    def is_relative(self) -> bool:
        return self.mode == "relative"

    def magnify(self, motion: Regions, times: float) -> Regions:
        return self._controlled(MotionControl(times), as_keypoints(motion))

    @torch.inference_mode()
    def motion(self, driving: Tensor) -> Regions:
        """The regions that the source is to have in the next T driving frames (T, C, H, W)."""
        regions = self._carry_over(self.region_predictor(driving), repeat_all(self.kp_source, len(driving)))
        if self.bg_predictor is not None:
            regions["background"] = self.bg_predictor(repeat(self.source, len(driving)), driving)
        return regions

    def generate(self, source: Tensor, kp_source: Regions, kp_driving: Regions, features: list[Tensor]) -> dict:
        out = self.generator(source, kp_driving, kp_source, kp_driving.get("background"), features)
        return {**out, "kp_source": as_keypoints(kp_source), "kp_driving": as_keypoints(kp_driving)}

    def interpolate(self, regions: Regions, positions: Tensor) -> Regions:
        """:func:`modules.animator.interpolate` of regions, whose affines may change sign from frame to frame."""
        regions = {name: regions[name] for name in ("shift", "affine", "covar", "background") if name in regions}
        if "affine" in regions:
            regions["affine"] = align_swap(regions["affine"][:1], regions["affine"])
        return interpolate(regions, positions)
