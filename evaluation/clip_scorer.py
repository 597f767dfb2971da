"""Scoring one clip: landmarks, motion, identity, and the comparison with a true result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faces import dlib_model_file
from faces.dlib_backend import LANDMARK_MODEL, load_finder, load_model
from faces.versions import file_digest
from metrics.canonical import MetricError
from metrics.flow import clip_flow, end_point_error, moving_pixels
from metrics.image import image_figures
from metrics.keypoints import average_distance, detector_jitter
from metrics.landmarks import jittered_boxes, landmarks_in, onset_landmarks
from metrics.motion import ClipMotion, MotionScore, compare_motion, measure_motion
from metrics.timing import Alignment, align_frames, distinct_frames

from .lpips_weights import load_lpips

TRUTH_MOTION = ("rho", "vcor", "gain", "skill")


def landmark_model() -> object:
    """dlib's landmark model, loaded once.

    Raises:
        faces.DetectorUnavailable: it cannot be had; the message says what to install.
    """
    return load_model(dlib_model_file(LANDMARK_MODEL))


def find_landmarks(frame: np.ndarray) -> np.ndarray:
    """(68, 2) pixels of the face in a uint8 frame; see `metrics.landmarks.onset_landmarks`."""
    return onset_landmarks(frame, landmark_model(), load_finder())


def landmark_sequence(frames: np.ndarray) -> np.ndarray:
    """(T, 68, 2) pixels: landmarks of every frame, in the boxes of the face found in frame 0."""
    boxes = jittered_boxes(frames[0], load_finder())
    return np.stack([landmarks_in(frame, landmark_model(), boxes) for frame in frames])


def model_versions() -> dict[str, str]:
    """What the landmarks depend on."""
    import dlib

    return {"dlib": dlib.__version__, LANDMARK_MODEL: file_digest(dlib_model_file(LANDMARK_MODEL))}


@dataclass(frozen=True)
class DrivingClip:
    """A driving clip, measured once for all results that are compared with it.

    Attributes:
        frames: uint8 (N, H, W, 3), repeats included.
        fps: as the file says, ``None`` where unknown.
        distinct: indices of the frames that are not repeats.
        landmarks: (68, 2) pixels of frame 0.
        motion: measured on the distinct frames.
    """

    frames: np.ndarray
    fps: float | None
    distinct: np.ndarray
    landmarks: np.ndarray
    motion: ClipMotion


@dataclass(frozen=True)
class Scored:
    """A result compared with its driving clip."""

    score: MotionScore
    motion: ClipMotion
    alignment: Alignment


def measure_driving(frames: np.ndarray, fps: float | None = None, landmarks: np.ndarray | None = None) -> DrivingClip:
    """Measure a driving clip uint8 (N, H, W, 3), frame 0 the onset.

    Raises:
        MetricError: no face, one (distinct) frame, or a blank clip.
    """
    distinct = distinct_frames(frames)
    if len(distinct) < 2:
        raise MetricError(f"{len(frames)} frames, but only one distinct: a clip must move to be compared with")
    if landmarks is None:
        landmarks = find_landmarks(frames[0])
    motion = measure_motion(frames[distinct], landmarks, distinct)
    return DrivingClip(frames, fps, distinct, landmarks, motion)


def score_result(
    driving: DrivingClip, frames: np.ndarray, fps: float | None = None, landmarks: np.ndarray | None = None
) -> Scored:
    """Compare a generated clip uint8 (n, h, w, 3) with a driving clip.

    Raises:
        MetricError: no face, one frame, or a blank clip.
    """
    alignment = align_frames(
        driving.distinct, len(driving.frames), len(frames), driving.fps, fps, distinct_frames(frames)
    )
    if landmarks is None:
        landmarks = find_landmarks(frames[0])
    motion = measure_motion(frames[alignment.indices], landmarks, alignment.times)
    return Scored(compare_motion(driving.motion, motion), motion, alignment)


@dataclass(frozen=True)
class Truth:
    """A true result with everything that is measured on it once.

    Attributes:
        clip: the truth as a driving clip of its own, at the driving clip's frames.
        flow: (D, H, W, 2) measured flow from frame 0 to the distinct driving frames, pixels.
        points: (D, 68, 2) landmarks of those frames.
        jitter: of the landmark detector on the first frame, pixels at 256×256.
    """

    clip: DrivingClip
    flow: np.ndarray
    points: np.ndarray
    jitter: float


def measure_truth(frames: np.ndarray, driving: DrivingClip) -> Truth:
    """Measure the true result of a pair, as many frames as the driving clip has.

    Raises:
        MetricError: another number of frames, or as for any clip.
    """
    if len(frames) != len(driving.frames):
        raise MetricError(
            f"the truth has {len(frames)} frames, the driving clip {len(driving.frames)}; they must agree"
        )
    chosen, landmarks = frames[driving.distinct], find_landmarks(frames[0])
    motion = measure_motion(chosen, landmarks, driving.distinct)
    clip = DrivingClip(frames, driving.fps, driving.distinct, landmarks, motion)
    jitter = detector_jitter(frames[0], landmark_sequence)
    return Truth(clip, clip_flow(chosen), landmark_sequence(chosen), jitter)


def truth_figures(truth: Truth, scored: Scored, frames: np.ndarray) -> tuple[dict[str, float], str]:
    """Figures of a generated clip against the true one, and why pictures could not be compared ("" if they were).

    Motion is compared as with a driving clip (``truth_rho`` …).  Pictures are compared frame by frame where size and
    number of frames agree: L1, PSNR, SSIM over the picture and over the pixels that move in the truth; ``lpips`` over
    the picture, where its weights are given; ``epe_px``, the distance of the measured motion fields where the truth
    moves (pixels at 256×256), both measured by the same estimator; ``akd_px``, the average landmark distance, beside
    the detector's own ``akd_jitter_px``.
    """
    against = compare_motion(truth.clip.motion, scored.motion).figures
    found = {f"truth_{name}": against[name] for name in TRUTH_MOTION}
    if frames.shape[:3] != truth.clip.frames.shape[:3]:
        sizes = [f"{len(clip)} frames of {clip.shape[2]}×{clip.shape[1]}" for clip in (frames, truth.clip.frames)]
        return found, (
            f"pictures not compared with the truth: the result has {sizes[0]} (width × height), the truth {sizes[1]}"
        )
    result, true = frames[truth.clip.distinct], truth.clip.frames[truth.clip.distinct]
    moving = moving_pixels(truth.flow)
    found.update(image_figures(result, true))
    found.update({f"{name}_moving": value for name, value in image_figures(result, true, moving).items()})
    lpips = load_lpips()
    if lpips is not None:
        found["lpips"] = lpips(result, true)
    found["epe_px"] = end_point_error(clip_flow(result), truth.flow, moving)
    found["akd_px"] = average_distance(landmark_sequence(result), truth.points, frames.shape[1:3])
    found["akd_jitter_px"] = truth.jitter
    return found, ""
