"""Tiny MRAA networks, inputs and training settings shared by the tests."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from modules import build_networks

SIZES = {"block_expansion": 4, "max_features": 16}
FLOW = {
    **SIZES, "num_blocks": 3, "scale_factor": 0.25,
    "use_deformed_source": True, "use_covar_heatmap": True, "estimate_occlusion_map": True,
}  # fmt: skip
TINY = {
    "model": "mraa",
    "model_params": {
        "num_regions": 10, "num_channels": 3, "estimate_affine": True, "revert_axis_swap": True,
        "region_predictor_params": {
            **SIZES, "num_blocks": 3, "temperature": 0.1, "scale_factor": 0.25, "pca_based": True, "fast_svd": False,
        },
        "bg_predictor_params": {**SIZES, "num_blocks": 3, "bg_type": "affine"},
        "generator_params": {
            **SIZES, "num_down_blocks": 2, "num_bottleneck_blocks": 2, "skips": True,
            "pixelwise_flow_predictor_params": FLOW,
        },
        "avd_network_params": {"id_bottle_size": 8, "pose_bottle_size": 8},
    },
}  # fmt: skip
TRAIN_PARAMS = {
    "scales": [1, 0.5],
    "loss_weights": {
        "reconstruction": 10,
        "deformed": 5,
        "equivariance_shift": 10,
        "equivariance_affine": 10,
    },
    "transform_params": {"sigma_affine": 0.05, "sigma_tps": 0.005, "points_tps": 5},
    "lr": 2e-4,
}
AVD_PARAMS = {"lambda_shift": 1, "lambda_affine": 1, "random_scale": 0.25, "lr": 1e-3}


def tiny_config(**sections: dict) -> dict:
    """The golden file's configuration (spec §5), with changes by section; ``flow`` is the flow predictor's."""
    config = copy.deepcopy({**TINY, "train_params": TRAIN_PARAMS, "train_avd_params": AVD_PARAMS})
    params = config["model_params"]
    params["generator_params"]["pixelwise_flow_predictor_params"].update(sections.pop("flow", {}))
    params.update(sections.pop("top", {}))
    for name, changes in sections.items():
        params[name].update(changes)
    return config


def tiny_networks(seed: int = 0, train: bool = False, **sections: dict) -> dict[str, nn.Module]:
    """Networks of :func:`tiny_config` with seeded weights."""
    torch.manual_seed(seed)
    networks = build_networks(tiny_config(**sections))
    for network in networks.values():
        network.train(train)
    return networks


def images(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> Tensor:
    """Smooth random pictures (count, 3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
