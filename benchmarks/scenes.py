"""What the benchmarks work on: full-size settings and networks, and clips of sample faces."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmarks.sample_clips import sample_clip
from faces.keypoint_files import save_keypoints
from media import write_frame_folder
from modules import build_networks
from modules.facial_prior import template_keypoints
from modules.perceptual import Vgg19
from settings import load_config

CONFIG = Path(__file__).parent.parent / "config" / "base.yaml"
SIZE = 256


def make_folders(root: Path, clips: int, frames: int, split: str = "test") -> Path:
    """``clips`` folders of PNG frames, 256×256, in ``root/<split>``, and key points of each in ``root/keypoints``."""
    made = {seed: sample_clip(seed=seed, frames=frames).frames for seed in range(min(clips, 4))}
    for index in range(clips):
        write_frame_folder(root / split / f"clip{index}", made[index % len(made)])
        save_keypoints(root / "keypoints", f"clip{index}", template_keypoints(SIZE, SIZE))
    return root


def settings(root: Path, config: str | Path = CONFIG, overrides: list[str] | None = None) -> dict:
    """Checked settings of ``config`` on the clips of :func:`make_folders`."""
    own = [f"dataset_params.root_dir={root}", f"dataset_params.keypoint_folder={root / 'keypoints'}"]
    return load_config(config, own + (overrides or []))


def random_networks(config: dict, device: torch.device, seed: int = 0) -> dict[str, nn.Module]:
    """Networks whose untrained outputs are no constants: statistics, masks and Jacobians are spread out."""
    torch.manual_seed(seed)
    networks = build_networks(config)
    for network in networks.values():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
        network.to(device)
    nn.init.normal_(networks["generator"].final.weight, 0, 0.1)
    nn.init.normal_(networks["generator"].dense_motion_network.mask.weight, 0, 0.05)
    nn.init.normal_(networks["kp_detector"].jacobian.weight, 0, 0.003)
    return networks


def random_vgg(device: torch.device, seed: int = 0) -> Vgg19:
    """VGG-19 with random weights: as much work as the real one, and nothing to download."""
    import torchvision

    torch.manual_seed(seed)
    return Vgg19(torchvision.models.vgg19(weights=None).features[:30]).to(device)
