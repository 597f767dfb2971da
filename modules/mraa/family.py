"""The family ``mraa`` for the engines: keys, networks, phases of training, animator."""

from __future__ import annotations

from torch import nn

from modules.family import Family, Phase, construct, leaves, pick, section
from modules.motion_control import MotionControl
from modules.mraa.animator import MODES, RegionAnimator
from modules.mraa.avd import AVDNetwork
from modules.mraa.bg_predictor import BGMotionPredictor
from modules.mraa.flow_predictor import PixelwiseFlowPredictor
from modules.mraa.generator import Generator
from modules.mraa.model import AVDModel, ReconstructionModel
from modules.mraa.region_predictor import RegionPredictor

COMMON = ("num_regions", "num_channels", "estimate_affine", "revert_axis_swap", "align_corners")
# Published files have it: it chose between two implementations of one SVD, and there is only one now.
RETIRED = {"fast_svd"}


class MraaFamily(Family):
    """Builder of MRAA."""

    name = "mraa"
    networks = ("generator", "region_predictor", "bg_predictor", "avd_network")
    inference_networks = ("generator", "region_predictor", "bg_predictor", "avd_network")
    animation_modes = MODES
    normalization = ("adapt_movement_scale",)  # the mode says the rest
    training_sections = {"train": "train_params", "train_avd": "train_avd_params"}
    epoch_keys = {"train": "epoch_reconstruction", "train_avd": "epoch_avd"}
    later_networks = {"avd_network": "train_avd"}

    def model_keys(self) -> dict:
        flow = leaves(PixelwiseFlowPredictor, COMMON)
        return {
            **dict.fromkeys(COMMON),
            "region_predictor_params": {**leaves(RegionPredictor, COMMON), **dict.fromkeys(RETIRED)},
            "bg_predictor_params": leaves(BGMotionPredictor, COMMON),
            "generator_params": {**leaves(Generator, COMMON), "pixelwise_flow_predictor_params": flow},
            "avd_network_params": leaves(AVDNetwork, COMMON),
        }

    def build(self, config: dict) -> dict[str, nn.Module]:
        params = config["model_params"]
        common = pick(params, COMMON)
        regions = {k: v for k, v in section(params, "region_predictor_params").items() if k not in RETIRED}
        networks = {
            "generator": construct(Generator, common, section(params, "generator_params")),
            "region_predictor": construct(RegionPredictor, common, regions),
            "bg_predictor": construct(BGMotionPredictor, common, section(params, "bg_predictor_params")),
        }
        if common.get("estimate_affine"):
            networks["avd_network"] = construct(AVDNetwork, common, params.get("avd_network_params") or {})
        return networks

    def train_keys(self) -> dict:
        weights = ("perceptual", "equivariance_shift", "equivariance_affine", "reconstruction", "deformed")
        return {
            "train_params": {"lr": None, "loss_weights": dict.fromkeys(weights)},
            "train_avd_params": dict.fromkeys(("lr", "lambda_shift", "lambda_affine", "random_scale")),
        }

    def phases(
        self, networks: dict[str, nn.Module], config: dict, perceptual: nn.Module | None = None, mode: str = "train"
    ) -> list[Phase]:
        if mode == "train_avd":
            if "avd_network" not in networks:
                raise ValueError("--mode train_avd needs model_params.estimate_affine: True")
            avd = AVDModel(networks["region_predictor"], networks["avd_network"], config["train_avd_params"])
            return [Phase(avd, {"avd": (("avd_network",), "lr")})]
        names = ("generator", "region_predictor", "bg_predictor")
        full = ReconstructionModel(*(networks[name] for name in names), config["train_params"], perceptual)
        return [Phase(full, {"reconstruction": (names, "lr")})]

    def animator(self, networks: dict[str, nn.Module], config: dict, reconstruction: bool = False) -> RegionAnimator:
        params = config.get("animate_params") or {}
        normalization = {k: v for k, v in (params.get("normalization_params") or {}).items() if v is not None}
        foreign = sorted(set(normalization) - {"adapt_movement_scale"})
        if foreign and not reconstruction:
            raise ValueError(
                f"animate_params.normalization_params.{foreign[0]} means nothing to model: mraa, whose "
                f"movements are ruled by animate_params.mode ({', '.join(MODES)}): remove it"
            )
        scale = normalization.get("adapt_movement_scale", True)
        control = None if reconstruction else MotionControl(params.get("amplify"), params.get("regions"))
        return RegionAnimator(networks, params.get("mode") or MODES[0], scale, reconstruction, control)
