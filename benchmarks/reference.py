"""The reference paths: this project's modules, put together the way the published code works.

Frame by frame, batch 1, the source encoded again for every frame, the region map in NumPy on the host for every
call, the visualiser run and its picture discarded; samples decoded in the training process and augmented in float64;
losses brought to the host in every step; float32 in PyTorch's default memory layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from animation.pairs import Pair
from animation.results import write_result
from frames_dataset import ClipFolder, to_frames, to_tensor
from logger import Visualizer
from media import read_image
from modules.animator import normalize_kp
from modules.facial_prior import REGION_SIGMA
from modules.model import DiscriminatorFullModel, GeneratorFullModel


def region_map(keypoints: np.ndarray, frame_size: tuple[int, int], map_size: tuple[int, int]) -> np.ndarray:
    """:func:`modules.facial_prior.region_map` in NumPy, float64, point by point: (B, K, 2) → (B, 1, h, w)."""
    height, width = map_size
    columns, rows = np.meshgrid(np.arange(1, width + 1), np.arange(1, height + 1))
    out = []
    for points in keypoints:
        total = np.zeros(map_size)
        for x, y in points:
            distance = np.abs(rows - y * height / frame_size[0]) + np.abs(columns - x * width / frame_size[1])
            one = np.exp(-np.sqrt(distance) / (2 * REGION_SIGMA**2))
            one = one / one.max()
            one[one < one.mean()] = 0
            total += one
        out.append(total / total.max())
    return np.stack(out)[:, None]


def host_regions(detector: nn.Module, keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """The region map from the host, on the key points' device."""
    maps = region_map(keypoints.cpu().numpy(), size, detector.map_size(*size))
    return torch.from_numpy(maps).float().to(keypoints.device)


@torch.no_grad()
def animate_frames(
    networks: dict[str, nn.Module], config: dict, clips: ClipFolder, pair: Pair, device: torch.device
) -> Iterator[np.ndarray]:
    """The frames of a pair, uint8 (H, W, 3), one by one."""
    generator, detector = networks["generator"], networks["kp_detector"]
    normalization = config["animate_params"]["normalization_params"]
    visualizer = Visualizer(**config["visualizer_params"])
    video = np.stack([clips.fit(frame) for frame in clips.open(pair.driving)]) / 255  # float64
    source = to_tensor(clips.fit(clips.open(pair.source).read_all()[0])[None]).to(device)
    size = tuple(source.shape[-2:])
    points_source = clips.keypoints(pair.source, size)[None].to(device)
    points_driving = clips.keypoints(pair.driving, size)[None].to(device)
    kp_source = detector(source, points_source, host_regions(detector, points_source, size))
    initial = None
    for image in video:
        frame = torch.from_numpy(image).permute(2, 0, 1)[None].float().to(device)
        kp_driving = detector(frame, points_driving, host_regions(detector, points_driving, size))
        initial = initial or kp_driving
        kp = normalize_kp(kp_source, kp_driving, initial, **normalization)
        out = generator(source, kp_source=kp_source, kp_driving=kp)
        out.update(kp_source=kp_source, kp_driving=kp)
        visualizer.visualize({"source": source, "driving": frame}, out)
        yield to_frames(out["prediction"])[0]


def animate_clip(
    networks: dict[str, nn.Module], config: dict, clips: ClipFolder, pair: Pair, device: torch.device, out: Path
) -> None:
    """The same, written to files as the project writes them."""
    frames = list(animate_frames(networks, config, clips, pair, device))
    write_result(iter(frames), out / "a.mp4", out / "png" / "a", 100)


# ------------------------------------------------------------------------------------------ training
def load_sample(clips: ClipFolder, name: str, rng: np.random.Generator, hue: float) -> dict[str, Tensor]:
    """Two frames of a folder of PNG files, augmented in float64 with the paper's settings: flips and hue."""
    files = clips.open(name).files
    chosen = sorted(rng.choice(len(files), size=2, replace=True))
    video = np.stack([read_image(files[index]) / 255.0 for index in chosen])  # (2, H, W, 3) float64
    if rng.random() < 0.5:
        video = video[::-1]
    if rng.random() < 0.5:
        video = video[:, :, ::-1]
    factor = float(rng.uniform(-hue, hue))
    turned = [_turn_hue(frame, factor) for frame in video]
    images = [torch.from_numpy(frame.transpose(2, 0, 1).astype(np.float32)) for frame in turned]
    return {"source": images[0], "driving": images[1], "keypoint": clips.keypoints(name, video.shape[1:3])}


def _turn_hue(frame: np.ndarray, factor: float) -> np.ndarray:
    """Through an 8-bit picture and back, as the published jitter does: float64 (H, W, 3) in [0, 1]."""
    picture = TF.to_pil_image((frame * 255).round().astype(np.uint8))
    return np.asarray(TF.adjust_hue(picture, factor)) / 255.0


class TrainingStep:
    """One step: generator and detector, then the discriminator.

    Args:
        networks: ``generator``, ``kp_detector``, ``discriminator``, in train mode.
        train_params: the YAML's section.
        vgg: :class:`modules.perceptual.Vgg19`.
    """

    def __init__(self, networks: dict[str, nn.Module], train_params: dict, vgg: nn.Module | None):
        self.networks, self.params = networks, train_params
        detector, generator, discriminator = (networks[n] for n in ("kp_detector", "generator", "discriminator"))
        self.generator_model = GeneratorFullModel(detector, generator, discriminator, train_params, vgg)
        self.discriminator_model = DiscriminatorFullModel(discriminator, train_params)
        device = next(generator.parameters()).device
        self.generator_model.to(device)
        self.discriminator_model.to(device)
        detector.region_map = lambda points, height, width: host_regions(detector, points, (height, width))
        self.optimizers = {
            name: torch.optim.Adam(
                networks[name].parameters(), train_params[f"lr_{name}"], betas=(0.5, 0.999), foreach=False, fused=False
            )
            for name in networks
        }

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, float]:
        losses, generated = self.generator_model(batch)
        self._update(losses, "generator", "kp_detector")
        values = {name: float(loss.detach().cpu().numpy()) for name, loss in losses.items()}
        losses, _ = self.discriminator_model(batch, generated)
        self._update(losses, "discriminator")
        return values | {name: float(loss.detach().cpu().numpy()) for name, loss in losses.items()}

    def _update(self, losses: dict[str, Tensor], *names: str) -> None:
        torch.stack(list(losses.values())).sum().backward()
        for name in names:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        if "discriminator" not in names:  # the generator's loss has left gradients there
            self.optimizers["discriminator"].zero_grad()
