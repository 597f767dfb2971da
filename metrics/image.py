"""Picture quality of a generated clip against the true one: L1, PSNR, SSIM, and sharpness without a truth.

Clips are uint8 (T, H, W, 3) RGB or (T, H, W) grey; both sides are made grey by the ITU-R 601 weights before they are
compared, so a colour result and a grey truth are compared fairly.  Frame 0 is the picture both clips start from and
is never counted.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .canonical import MetricError, to_grey

PEAK = 255.0
ROUNDING_MSE = 1.0 / 12.0  # of 8-bit pictures; keeps the PSNR of equal pictures finite, at 58.9 dB
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5  # an 11×11 Gaussian window
SSIM_K1, SSIM_K2 = 0.01, 0.03


def _grey_clips(generated: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if generated.shape[:3] != truth.shape[:3]:
        sizes = [f"{len(clip)} frames of {clip.shape[2]}×{clip.shape[1]}" for clip in (generated, truth)]
        raise MetricError(
            f"the generated clip has {sizes[0]} (width × height), the truth {sizes[1]}. They must agree; "
            "resize or re-cut one of them."
        )
    if len(generated) < 2:
        raise MetricError("a clip of one frame has nothing to compare: frame 0 is never counted")
    first, second = (np.stack([to_grey(frame) for frame in clip[1:]]).astype(np.float32) for clip in (generated, truth))
    return first, second


def ssim_map(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of two grey pictures (H, W), 0…255, at every pixel (Wang et al., 2004).

    Gaussian window of σ = 1.5 px cut at 11×11, population covariance, K1 = 0.01, K2 = 0.03, borders reflected.
    """

    def blur(image: np.ndarray) -> np.ndarray:
        size = 2 * SSIM_RADIUS + 1
        return cv2.GaussianBlur(image, (size, size), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)

    a, b = first.astype(np.float64), second.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def image_figures(generated: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """L1, PSNR and SSIM over frames 1 … T − 1.

    Args:
        generated, truth: clips of one size and length.
        mask: bool (H, W) or (T, H, W), the pixels that count; all by default.

    Returns:
        ``l1``: mean absolute difference, 0…1; ``psnr``: dB, of the mean squared error of all frames together,
        at most 58.9 (8-bit rounding); ``ssim``: mean, −1…1.  NaN where the mask holds no pixel.

    Raises:
        MetricError: other sizes or lengths, or a single frame.
    """
    first, second = _grey_clips(np.asarray(generated), np.asarray(truth))
    mask = np.ones(first.shape[1:], bool) if mask is None else mask
    counted = np.broadcast_to(mask[1:] if mask.ndim == 3 else mask, first.shape)
    if not counted.any():
        return dict.fromkeys(("l1", "psnr", "ssim"), math.nan)
    difference = (first - second)[counted].astype(np.float64)
    squared = float(np.mean(difference**2))
    likeness = np.stack([ssim_map(a, b) for a, b in zip(first, second, strict=True)])
    return {
        "l1": float(np.mean(np.abs(difference))) / PEAK,
        "psnr": 10.0 * math.log10(PEAK**2 / max(squared, ROUNDING_MSE)),
        "ssim": float(np.mean(likeness[counted])),
    }


def sharpness(frames: np.ndarray) -> float:
    """How sharp a clip stays: median over frames 1 … of the high-pass (σ = 2 px) deviation / that of frame 0.

    1 = as sharp as the first frame; below, frames are blurred; above, noise or artefacts are added.
    """
    detail = []
    for frame in frames:
        grey = to_grey(frame).astype(np.float32)
        detail.append(float(np.std(grey - cv2.GaussianBlur(grey, (0, 0), 2.0))))
    if len(detail) < 2 or detail[0] <= 0:
        raise MetricError("sharpness needs two frames, and a first frame that is not blank")
    return float(np.median(detail[1:]) / detail[0])
