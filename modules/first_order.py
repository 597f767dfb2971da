"""The families ``fpb_fomm`` (the paper), ``fomm`` (its baseline), ``fpb_tracked`` (the prior that moves): one code."""

from __future__ import annotations

from torch import nn

from modules.animator import KeyPointAnimator, TrackedAnimator
from modules.dense_motion import DenseMotionNetwork
from modules.discriminator import Discriminator, MultiScaleDiscriminator
from modules.family import Family, Phase, construct, leaves, pick, section
from modules.generator import OcclusionAwareGenerator
from modules.keypoint_detector import KPDetector
from modules.model import DiscriminatorFullModel, GeneratorFullModel
from modules.motion_control import MotionControl

COMMON = ("num_kp", "num_channels", "estimate_jacobian", "align_corners")


class FirstOrderFamily(Family):
    """Builder of these families.

    Args:
        name: ``fpb_fomm``, ``fpb_tracked`` or ``fomm``.
        facial_prior: whether the key points come from the prior.
        tracked: whether the prior follows the movement, frame by frame.
    """

    networks = ("generator", "discriminator", "kp_detector")
    inference_networks = ("generator", "kp_detector")

    def __init__(self, name: str, facial_prior: bool, tracked: bool = False):
        self.name, self.uses_prior, self.uses_tracks = name, facial_prior, tracked
        self.animation_keys = {"head": ("remove", "keep")} if tracked else {}

    def model_keys(self) -> dict:
        sizes = ("num_kp", "num_channels")
        # There is no field without a track.
        dense = leaves(DenseMotionNetwork, (*sizes, "align_corners", *(() if self.uses_tracks else ("field_bias",))))
        return {
            "common_params": dict.fromkeys(sorted(COMMON)),
            "kp_detector_params": leaves(KPDetector, (*sizes, "facial_prior")),
            "generator_params": {
                **leaves(OcclusionAwareGenerator, (*sizes, "align_corners")),
                "dense_motion_params": dense,
            },
            "discriminator_params": dict.fromkeys(sorted({*leaves(Discriminator, sizes), "scales"})),
        }

    def build(self, config: dict) -> dict[str, nn.Module]:
        params = config["model_params"]
        common = section(params, "common_params")
        networks = {
            "generator": construct(OcclusionAwareGenerator, common, section(params, "generator_params")),
            "kp_detector": construct(
                KPDetector, common, section(params, "kp_detector_params"), facial_prior=self.uses_prior
            ),
        }
        if params.get("discriminator_params") is not None:
            sizes = pick(common, ("num_kp", "num_channels"))
            networks["discriminator"] = MultiScaleDiscriminator(**sizes, **params["discriminator_params"])
        return networks

    def train_keys(self) -> dict:
        own = {"lr_generator": None, "lr_discriminator": None, "lr_kp_detector": None, "appearance_steps": None}
        names = ("perceptual", "generator_gan", "discriminator_gan", "feature_matching", "reconstruction", "deformed")
        weights = dict.fromkeys([*names, "equivariance_value", "equivariance_jacobian"])
        if self.uses_prior:
            own["equivariance_prior"] = None
            weights["facial_prior"] = None
        return {"train_params": {**own, "loss_weights": weights}}

    def phases(
        self, networks: dict[str, nn.Module], config: dict, perceptual: nn.Module | None = None, mode: str = "train"
    ) -> list[Phase]:
        train_params = config["train_params"]
        discriminator = networks.get("discriminator")
        full = GeneratorFullModel(
            networks["kp_detector"], networks["generator"], discriminator, train_params, perceptual
        )
        names = ("generator", "kp_detector")
        phases = [Phase(full, {name: ((name,), f"lr_{name}") for name in names})]
        if discriminator is not None and full.adversarial:
            model = DiscriminatorFullModel(discriminator, train_params, networks["generator"].final.out_channels)
            optimizers = {"discriminator": (("discriminator",), "lr_discriminator")}
            phases.append(Phase(model, optimizers, needs=("kp_driving",)))
        return phases

    def animator(self, networks: dict[str, nn.Module], config: dict, reconstruction: bool = False) -> KeyPointAnimator:
        params = config.get("animate_params") or {}
        normalization = None if reconstruction else pick(params.get("normalization_params") or {}, self.normalization)
        control = None if reconstruction else MotionControl(params.get("amplify"), params.get("regions"))
        if not self.uses_tracks:
            return KeyPointAnimator(networks, normalization, control)
        if not reconstruction:
            normalization = {**dict.fromkeys(self.normalization, True), **normalization}
            if not normalization["use_relative_movement"]:
                raise ValueError(
                    "animate_params.normalization_params.use_relative_movement is False, but model: "
                    f"{self.name} moves the source by the driving face's motion since its reference frame: set it to "
                    "True, or use model: fpb_fomm"
                )
        return TrackedAnimator(networks, normalization, control, keep_head=params.get("head") == "keep")
