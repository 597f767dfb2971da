"""L1, PSNR, SSIM, sharpness."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from metrics.canonical import MetricError
from metrics.image import image_figures, sharpness, ssim_map


def grey(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def test_equal_clips_are_perfect_and_finite(smile):
    found = image_figures(smile.frames, smile.frames)
    assert found == {"l1": 0.0, "psnr": pytest.approx(58.92, abs=0.01), "ssim": pytest.approx(1.0)}


def test_agrees_with_scikit_image(smile):
    first, second = grey(smile.frames[:2])
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    expected = structural_similarity(first.astype(float), second.astype(float), **options)[1]
    inner = (slice(8, -8), slice(8, -8))
    assert ssim_map(first, second)[inner] == pytest.approx(expected[inner], abs=1e-6)
    pair = image_figures(np.stack([first, first]), np.stack([second, second]))
    assert pair["psnr"] == pytest.approx(peak_signal_noise_ratio(first, second, data_range=255))
    assert pair["l1"] == pytest.approx(np.abs(first.astype(float) - second).mean() / 255)


def test_frame_0_is_never_counted(smile):
    spoilt = smile.frames.copy()
    spoilt[0] = 0
    assert image_figures(spoilt, smile.frames) == image_figures(smile.frames, smile.frames)


def test_only_the_masked_pixels_count(smile):
    spoilt = smile.frames.copy()
    spoilt[:, :32] = 255 - spoilt[:, :32]
    mask = np.ones(smile.frames.shape[1:3], bool)
    mask[:48] = False
    assert image_figures(spoilt, smile.frames, mask)["l1"] == 0.0
    assert image_figures(spoilt, smile.frames, ~mask)["l1"] > 0.1
    assert np.isnan(image_figures(spoilt, smile.frames, np.zeros_like(mask))["ssim"])


def test_colour_is_made_the_same_on_both_sides(smile):
    as_rgb = np.repeat(grey(smile.frames)[..., None], 3, axis=-1)
    assert image_figures(smile.frames, as_rgb)["l1"] == 0.0


def test_other_sizes_are_named(smile):
    with pytest.raises(MetricError, match="16 frames of 128×256.*16 frames of 256×256"):
        image_figures(smile.frames[:, :, :128], smile.frames)
    with pytest.raises(MetricError, match="one frame"):
        image_figures(smile.frames[:1], smile.frames[:1])


def test_sharpness_falls_with_blur_and_rises_with_noise(smile):
    blurred = np.stack([smile.frames[0], *(cv2.GaussianBlur(f, (0, 0), 1.5) for f in smile.frames[1:])])
    rng = np.random.default_rng(0)
    grain = np.stack([smile.frames[0], *np.clip(smile.frames[1:] + rng.normal(0, 12, smile.frames[1:].shape), 0, 255)])
    assert sharpness(blurred) < 0.8
    assert sharpness(smile.frames) == pytest.approx(1.0, abs=0.05)
    assert sharpness(grain.astype(np.uint8)) > 1.1
