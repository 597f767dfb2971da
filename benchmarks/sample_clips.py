"""Clips of sample faces in memory: frames, landmarks, and the motion that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from corpora.sample.action_units import EMOTIONS
from corpora.sample.dataset import amplitude_in_iod, photograph, render_frames
from corpora.sample.identities import FaceModel, make_face, to_picture
from corpora.sample.motion import Motion, Timeline, draw_timeline
from corpora.sample.portraits import NAMES
from corpora.sample.warps import dense_grid, sample_image


@dataclass(frozen=True)
class SampleClip:
    """A clip with the truth about it."""

    frames: np.ndarray  # uint8 (N, H, W, 3) RGB
    landmarks: np.ndarray  # float32 (68, 2), iBUG order, (x, y) in pixels, of frame 0
    flow: np.ndarray  # float32 (N, H, W, 2), forward displacement (x, y) in pixels from frame 0 to frame t
    local_flow: np.ndarray  # the same without head motion: the action units alone
    intensity: np.ndarray  # float32 (N,), largest displacement of the expression in frame t as a share of the clip's
    fps: float  # frames a second
    # Positions of these frames.
    onset: int
    apex: int
    offset: int
    units: str  # action units, as in `action_units.parse_units`
    iod: float  # inter-ocular distance in pixels


def still_face(identity: str | int = "collins", size: int = 256, seed: int = 0) -> tuple:
    """A face of `face_model` that does not move: image uint8 (size, size, 3) RGB, landmarks float32 (68, 2) in pixels.

    Its camera has no noise.
    """
    face = replace(face_model(identity, size, seed), noise=0.0)
    points = to_picture(dense_grid((size, size)), size).astype(np.float32)
    image = photograph(sample_image(face.picture, points), face, np.random.default_rng([seed, 2]))
    return image, face.landmarks.astype(np.float32)


def face_model(identity: str | int, size: int = 256, seed: int = 0) -> FaceModel:
    """A face whose frames have ``size`` pixels a side: ``hopper`` or ``collins``, the portraits, or a morph's number.

    Raises:
        ValueError: an unknown identity.
    """
    if isinstance(identity, str) and identity not in NAMES:
        raise ValueError(f"no identity {identity!r}; legal are {', '.join(NAMES)} and whole numbers (morphs)")
    return make_face(identity if isinstance(identity, str) else (seed, 0, identity), size)


def sample_clip(
    seed: int = 0,
    movement: str = "happiness",
    amplitude_px: float = 3.0,
    size: int = 256,
    frames: int | None = None,
    noise: float | None = None,
    head: float = 1.0,
    identity: str | int | None = None,
    fps: float = 100.0,
    variety: float = 1.0,
) -> SampleClip:
    """A clip with its ground truth, in memory.

    Args:
        seed: makes everything that is not given.
        movement: an emotion of `action_units.EMOTIONS` (its first combination) or action units (``"6+L12"``).
        amplitude_px: peak displacement at 256×256, in pixels; scaled with the frame's size.  Less where it would fold
            the picture (`motion.STEEPEST`): lids move by about 7 pixels at most.
        frames: length of the clip, at least 6; default: 0.3 s and up to four neutral frames.
        noise: deviation of the camera's noise in grey levels; default: the identity's own.
        head: amount of head drift, 0 for none.
        variety: amount by which spread and balance of the action units vary, 0 for not at all.
        identity: as in `face_model`; default: the morph numbered ``seed``.

    Raises:
        ValueError: an unknown movement or identity, an amplitude that is not positive, or too few frames.
    """
    if not amplitude_px > 0:
        raise ValueError(f"amplitude_px is {amplitude_px}; legal are positive numbers")
    if frames is not None and frames < 6:
        raise ValueError(f"frames is {frames}; a clip has at least 6")
    units = EMOTIONS[movement][0] if movement in EMOTIONS else movement
    face = face_model(seed if identity is None else identity, size, seed)
    if noise is not None:
        face = replace(face, noise=noise)
    timeline = draw_timeline(
        np.random.default_rng([seed, 1]), units, amplitude_in_iod(amplitude_px, face), fps, 0.3, head, variety, frames
    )
    return clip_of(face, timeline, [seed, 2])


def clip_of(face: FaceModel, timeline: Timeline, noise_key: Sequence[int]) -> SampleClip:
    """A timeline played by a face, with all fields."""
    motion = Motion(face.landmarks, face.head, timeline)
    local = np.stack([motion.expression(t) for t in range(len(timeline))])
    peaks = np.sqrt((local.astype(np.float64) ** 2).sum(axis=-1)).max(axis=(1, 2))
    return SampleClip(
        frames=np.stack(list(render_frames(face, motion, noise_key))),
        landmarks=face.landmarks.astype(np.float32),
        flow=np.stack([motion.displacement(t) for t in range(len(timeline))]),
        local_flow=local,
        intensity=(peaks / peaks.max()).astype(np.float32),
        fps=timeline.fps, onset=timeline.onset, apex=timeline.apex, offset=timeline.offset,
        units=timeline.units, iod=face.iod,
    )  # fmt: skip
