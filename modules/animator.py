"""Animation of one source by one driving clip in batches; the source is encoded once (spec §4)."""

from __future__ import annotations

import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor, nn

from modules.util import inverse_2x2

KeyPoints = dict[str, Tensor]


def convex_hull_area(points: Tensor) -> float:
    """Area of the convex hull of (K, 2) points, in their squared units; 0 where they lie on a line."""
    try:
        return float(ConvexHull(points.detach().cpu().double().numpy()).volume)  # SciPy's volume is an area in 2-D
    except QhullError:
        return 0.0


def movement_scale(source: Tensor, driving: Tensor) -> Tensor:
    """s = sqrt(hull area of the source / of the driving points), a batch item each: (B, K, 2) twice → (B, 1, 1)."""
    ratios = []
    for source_points, driving_points in zip(source, driving, strict=True):
        area = convex_hull_area(driving_points)
        if area <= 0:
            raise ValueError("the driving key points lie on a line: adapt_movement_scale has no scale to adapt to")
        ratios.append((convex_hull_area(source_points) / area) ** 0.5)
    return torch.tensor(ratios, dtype=source.dtype, device=source.device).view(-1, 1, 1)


def normalize_kp(
    kp_source: KeyPoints,
    kp_driving: KeyPoints,
    kp_driving_initial: KeyPoints,
    adapt_movement_scale: bool = False,
    use_relative_movement: bool = False,
    use_relative_jacobian: bool = False,
) -> KeyPoints:
    """Driving key points carried over to the source (FOMM Eq. 12; spec §4).

    With ``use_relative_movement``: value = source + s·(driving − initial), s the movement scale or 1; and with
    ``use_relative_jacobian`` too: jacobian = driving·initial⁻¹·source.  Otherwise the driving's own.

    Args:
        kp_source, kp_driving_initial: ``value`` (1 or B, K, 2), ``jacobian`` (1 or B, K, 2, 2).
        kp_driving: the same with B frames.
    """
    out = dict(kp_driving)
    if not use_relative_movement:
        return out
    movement = kp_driving["value"] - kp_driving_initial["value"]
    if adapt_movement_scale:
        movement = movement * movement_scale(kp_source["value"], kp_driving_initial["value"])
    out["value"] = kp_source["value"] + movement
    if use_relative_jacobian and "jacobian" in kp_driving:
        relative = kp_driving["jacobian"] @ inverse_2x2(kp_driving_initial["jacobian"])
        out["jacobian"] = relative @ kp_source["jacobian"]
    return out


def repeat(tensor: Tensor | None, frames: int) -> Tensor | None:
    """(1, ...) → (frames, ...), without copying; None stays None."""
    return None if tensor is None else tensor.expand(frames, *tensor.shape[1:])


class KeyPointAnimator:
    """Animator of the ``fpb_fomm``, ``fpb_tracked`` and ``fomm`` families.

    Args:
        networks: ``generator`` and ``kp_detector``, in eval mode, on one device.
        normalization: flags of :func:`normalize_kp`; None for reconstruction, where driving and source are one clip.
    """

    def __init__(self, networks: dict[str, nn.Module], normalization: dict | None):
        self.generator, self.detector = networks["generator"], networks["kp_detector"]
        self.normalization = normalization

    def _regions(self, keypoint: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        return self.detector.region_map(keypoint, *size) if self.detector.facial_prior else None

    @torch.inference_mode()
    def start(
        self,
        source: Tensor,
        driving_initial: Tensor,
        keypoint_source: Tensor | None = None,
        keypoint_driving: Tensor | None = None,
    ) -> None:
        """Prepare a pair: source and initial (onset) driving frame (1, C, H, W); key points (1, 18, 2) in pixels."""
        size = source.shape[-2:]
        self.source = source
        self.features = self.generator.encode(source)
        self.kp_source = self.detector(source, keypoint_source, self._regions(keypoint_source, size))
        self.keypoint_driving = keypoint_driving
        self.regions = self._regions(keypoint_driving, size)
        self.kp_initial = self.detector(driving_initial, keypoint_driving, self.regions)

    @torch.inference_mode()
    def animate(self, driving: Tensor, keypoints: Tensor | None = None) -> dict[str, Tensor]:
        """Animate with the next T driving frames.

        Args:
            driving: (T, C, H, W) in [0, 1].
            keypoints: (T, 18, 2), pixels, the prior of each frame, where it follows the movement.

        Returns:
            the generator's outputs, ``prediction`` (T, C, H, W) among them, with ``kp_source``, ``kp_driving``.
        """
        frames = driving.shape[0]
        if keypoints is None:
            keypoints, regions = repeat(self.keypoint_driving, frames), repeat(self.regions, frames)
        else:
            regions = self._regions(keypoints, driving.shape[-2:])
        kp_driving = self.detector(driving, keypoints, regions)
        if self.normalization is not None:
            kp_driving = normalize_kp(self.kp_source, kp_driving, self.kp_initial, **self.normalization)
        kp_source = {name: repeat(tensor, frames) for name, tensor in self.kp_source.items()}
        features = repeat(self.features, frames)
        out = self.generator(repeat(self.source, frames), kp_source, kp_driving, features=features)
        out.update(kp_source=kp_source, kp_driving=kp_driving)
        return out
