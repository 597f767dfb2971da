"""The frames of a clip of a sample face, rendered from its still picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from corpora.sample.identities import FaceModel, to_picture
from corpora.sample.motion import REFERENCE_SIZE, Motion
from corpora.sample.warps import sample_image


def render_frames(face: FaceModel, motion: Motion, noise_key: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames of a clip, each rendered straight from the still picture: uint8 (H, W, 3) RGB.

    Frame 0 passes through the same interpolation as the others.  The camera's noise is fresh in every frame and
    follows from ``noise_key``; its first draw makes frame 0, so clips of one face and key start identically.
    """
    rng = np.random.default_rng(list(noise_key))
    for t in range(len(motion.timeline)):
        image = sample_image(face.picture, to_picture(motion.origin(t), face.size))
        yield photograph(image, face, rng)


def photograph(image: np.ndarray, face: FaceModel, rng: np.random.Generator) -> np.ndarray:
    """Add the face's camera noise to float32 (H, W, 3) and round to uint8.

    Most of the noise is common to the channels, as brightness noise is; a grey face gets only that.
    """
    luma = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    grain = luma if face.grey else 0.9 * luma + 0.43 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + np.float32(face.noise) * grain), 0, 255).astype(np.uint8)


def amplitude_in_iod(amplitude_px: float, face: FaceModel) -> float:
    """An amplitude in pixels at 256×256 as a share of a face's inter-ocular distance."""
    return amplitude_px * face.size / REFERENCE_SIZE / face.iod
