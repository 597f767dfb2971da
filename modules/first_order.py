"""The families ``fpb_fomm`` (the paper), ``fomm`` (its baseline), ``fpb_tracked`` (the prior that moves): one code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from modules.animator import KeyPointAnimator, TrackedAnimator
from modules.dense_motion import DenseMotionNetwork
from modules.discriminator import Discriminator, MultiScaleDiscriminator
from modules.family import Family, Phase, keyword_names, pick, section
from modules.generator import OcclusionAwareGenerator
from modules.keypoint_detector import KPDetector
from modules.model import DiscriminatorFullModel, GeneratorFullModel, active
from modules.motion_control import motion_control

COMMON = ("num_kp", "num_channels", "estimate_jacobian", "align_corners")
NORMALIZATION = ("adapt_movement_scale", "use_relative_movement", "use_relative_jacobian")


class GeneratorPhase(nn.Module):
    """Adapter: :class:`GeneratorFullModel` as the first phase of a step."""

    def __init__(self, full_model: GeneratorFullModel):
        super().__init__()
        self.full_model = full_model

    def set_step(self, step: int) -> None:
        self.full_model.set_step(step)

    def forward(self, batch: dict, generated: dict) -> tuple[dict, dict]:
        return self.full_model(batch)


class DiscriminatorPhase(nn.Module):
    """Adapter: :class:`DiscriminatorFullModel` as the second phase, left out while only the appearance is trained."""

    def __init__(self, full_model: DiscriminatorFullModel):
        super().__init__()
        self.full_model = full_model

    def forward(self, batch: dict, generated: dict) -> tuple[dict, dict]:
        return self.full_model(batch, generated), generated


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
        def leaves(names: set[str]) -> dict:
            return dict.fromkeys(sorted(names))

        generator = keyword_names(OcclusionAwareGenerator.__init__) - {"num_kp", "num_channels", "align_corners"}
        dense = keyword_names(DenseMotionNetwork.__init__) - {"num_kp", "num_channels", "align_corners"}
        if not self.uses_tracks:
            dense -= {"field_bias"}  # there is no field without a track
        detector = keyword_names(KPDetector.__init__) - {"num_kp", "num_channels", "facial_prior"}
        discriminator = keyword_names(Discriminator.__init__) - {"num_kp", "num_channels"}
        return {
            "common_params": leaves(set(COMMON)),
            "kp_detector_params": leaves(detector),
            "generator_params": {**leaves(generator), "dense_motion_params": leaves(dense)},
            "discriminator_params": leaves(discriminator | {"scales"}),
        }

    def build(self, config: dict) -> dict[str, nn.Module]:
        params = config["model_params"]
        common = section(params, "common_params")
        sizes = pick(common, ("num_kp", "num_channels"))
        corners = pick(common, ("align_corners",))
        discriminator = params.get("discriminator_params")
        networks = {
            "generator": OcclusionAwareGenerator(**sizes, **corners, **section(params, "generator_params")),
            "kp_detector": KPDetector(
                **sizes,
                **pick(common, ("estimate_jacobian",)),
                **section(params, "kp_detector_params"),
                facial_prior=self.uses_prior,
            ),
        }
        if discriminator is not None:
            networks["discriminator"] = MultiScaleDiscriminator(**sizes, **discriminator)
        return networks

    def train_keys(self) -> dict:
        own = {"lr_generator": None, "lr_discriminator": None, "lr_kp_detector": None, "appearance_steps": None}
        names = ("perceptual", "generator_gan", "discriminator_gan", "feature_matching", "reconstruction", "deformed")
        weights = dict.fromkeys([*names, "equivariance_value", "equivariance_jacobian"])
        if self.uses_prior:
            own["equivariance_prior"] = None
            weights["facial_prior"] = None
        return {"train_params": {**own, "loss_weights": weights}}

    def needs_vgg(self, config: dict, mode: str = "train") -> bool:
        weights = config["train_params"]["loss_weights"]
        prior = weights.get("facial_prior")
        return active(weights.get("perceptual")) or (isinstance(prior, Sequence) and active(prior))

    def phases(
        self, networks: dict[str, nn.Module], config: dict, vgg: nn.Module | None = None, mode: str = "train"
    ) -> list[Phase]:
        train_params = config["train_params"]
        weights = train_params["loss_weights"]
        discriminator = networks.get("discriminator")
        full = GeneratorFullModel(networks["kp_detector"], networks["generator"], discriminator, train_params, vgg)
        phases = [
            Phase(
                GeneratorPhase(full),
                {
                    "generator": (("generator",), "lr_generator"),
                    "kp_detector": (("kp_detector",), "lr_kp_detector"),
                },
            )
        ]
        if discriminator is not None and active(weights.get("generator_gan")):
            model = DiscriminatorFullModel(discriminator, train_params, self.num_channels(config))
            optimizers = {"discriminator": (("discriminator",), "lr_discriminator")}
            phases.append(Phase(DiscriminatorPhase(model), optimizers, needs=("kp_driving",)))
        return phases

    def animator(
        self, networks: dict[str, nn.Module], config: dict, reconstruction: bool = False
    ) -> KeyPointAnimator:
        params = config.get("animate_params") or {}
        normalization = None if reconstruction else pick(params.get("normalization_params") or {}, NORMALIZATION)
        control = None if reconstruction else motion_control(params)
        if not self.uses_tracks:
            return KeyPointAnimator(networks, normalization, control)
        if not reconstruction:
            normalization = {**dict.fromkeys(NORMALIZATION, True), **normalization}
            if not normalization["use_relative_movement"]:
                raise ValueError(
                    "animate_params.normalization_params.use_relative_movement is False, but model: "
                    f"{self.name} moves the source by the driving face's motion since its reference frame: set it to "
                    "True, or use model: fpb_fomm"
                )
        return TrackedAnimator(networks, normalization, control, keep_head=params.get("head") == "keep")
