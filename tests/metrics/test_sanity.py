"""Sanity of the motion figures (metric.md §4) on faces that move in a known way, and on a real clip.

Two of the faces are photographs, astronaut Eileen Collins and Grace Hopper; the third is one of the sample's morphs.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import media
from benchmarks.sample_clips import SampleClip
from evaluation.clip_scorer import find_landmarks
from faces import DetectorUnavailable
from metrics.motion import FIGURES, ClipMotion, compare_motion, measure_motion
from metrics.timing import distinct_frames
from metrics.warp import warp_clip
from tests.real import REAL, needs_real

from .conftest import make_clip, measure, score

AGREEMENT = ("rho", "vcor", "gain", "skill", "dir")

# The landmark on the other side of the face.
MIRROR = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip


def noisy(frames: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(frames + rng.normal(0, sigma, frames.shape)), 0, 255).astype(np.uint8)


def frozen(clip: SampleClip) -> np.ndarray:
    return np.repeat(clip.frames[:1], len(clip.frames), axis=0)


@pytest.fixture(scope="module", params=["collins", "hopper", 7], ids=["collins", "hopper", "morph"])
def who(request) -> str | int:
    return request.param


@pytest.fixture(scope="module")
def face(who) -> SampleClip:
    return make_clip(identity=who)


@pytest.fixture(scope="module")
def motion(face) -> ClipMotion:
    return measure(face)


def test_self_is_perfect(motion):
    result = compare_motion(motion, motion)
    figures = result.figures
    assert tuple(figures) == tuple(FIGURES)
    for name in (*AGREEMENT, "rho_rel", "rho_apex", "rho_raw", "amp", "gain_px", "tcor"):
        assert figures[name] == pytest.approx(1.0, abs=1e-9), name
    assert figures["apex_err"] == figures["half_err"] == 0
    assert result.reliable
    assert {"mouth_L", "mouth_R"} <= set(result.active)
    assert "brow_in_L" in result.inactive
    assert not {"lid_L", "lid_R"} & set(result.active + result.inactive)


@pytest.mark.parametrize("noise", [0.0, 1.0, 2.5])
def test_a_still_face_scores_zero_even_with_camera_noise(face, motion, noise):
    figures = score(motion, noisy(frozen(face), noise), face.landmarks).figures
    for name in AGREEMENT:
        assert figures[name] == pytest.approx(0.0, abs=0.05), name
    exact = compare_motion(motion, measure_motion(frozen(face), face.landmarks)).figures
    assert exact["rho"] == exact["gain"] == exact["skill"] == 0.0
    assert exact["apex_err"] == len(motion.times)


def test_head_motion_alone_scores_zero(face, motion):
    """Two pixels, 1.2 degrees and 1 % of growth, of a face that makes no expression."""
    height, width = face.frames.shape[1:3]
    frames = [face.frames[0]]
    for t in range(1, len(face.frames)):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 1.2 * np.sin(t / 5), 1 + 0.01 * np.sin(t / 7))
        turn[:, 2] += [2.0 * np.sin(t / 6), 1.5 * np.sin(t / 4)]
        options = {"borderMode": cv2.BORDER_REPLICATE, "flags": cv2.INTER_CUBIC}
        frames.append(cv2.warpAffine(face.frames[0], turn, (width, height), **options))
    figures = score(motion, noisy(np.stack(frames), 0.7), face.landmarks).figures
    for name in AGREEMENT:
        assert figures[name] == pytest.approx(0.0, abs=0.06), name
    assert figures["amp"] < 0.1


def test_wrong_motion_scores_lower_than_right_motion(who, face, motion):
    right = score(motion, noisy(face.frames, 1.0), face.landmarks).figures
    assert right["rho"] > 0.95 and right["skill"] > 0.9
    delayed = np.concatenate([frozen(face)[:4], face.frames[:-4]])
    rise = face.frames[: face.apex + 1]
    surprise = make_clip(identity=who, movement="surprise")
    one_sided = make_clip(identity=who, movement="R12")
    mirrored = face.landmarks.copy()
    mirrored[:, 0] = face.frames.shape[2] - 1 - mirrored[:, 0]
    wrong = {
        "delayed": (motion, delayed, face.landmarks),
        "reversed": (measure_motion(rise, face.landmarks), rise[::-1], face.landmarks),
        "another movement": (motion, surprise.frames, surprise.landmarks),
        "flipped": (measure(one_sided), one_sided.frames[:, :, ::-1], mirrored[MIRROR]),
    }
    for name, (driving, frames, landmarks) in wrong.items():
        figures = score(driving, frames, landmarks).figures
        for figure, margin in {"rho": 0.2, "skill": 0.3, "vcor": 0.2}.items():
            assert figures[figure] < right[figure] - margin, (name, figure)


def test_gain_follows_a_known_amplitude(who, motion):
    half, once, double = (
        score(motion, clip.frames, clip.landmarks).figures["gain"]
        for clip in (make_clip(identity=who, noise=0.2, amplitude_px=size) for size in (1.5, 3.0, 6.0))
    )
    assert once == pytest.approx(1.0, rel=0.1)
    assert half / once == pytest.approx(0.5, rel=0.1)
    assert double / once == pytest.approx(2.0, rel=0.1)


# ------------------------------------------------------------------------------------------ a real clip
@pytest.fixture(scope="module")
def real() -> tuple[np.ndarray, np.ndarray, ClipMotion]:
    """Distinct frames, landmarks and motion of a published SMIC-HS clip: a smile with a large blink."""
    frames = media.open_clip(REAL / "s3_po_05.gif").read_all()
    frames = frames[distinct_frames(frames)]
    try:
        landmarks = find_landmarks(frames[0])
    except DetectorUnavailable as error:
        pytest.skip(str(error))
    return frames, landmarks, measure_motion(frames, landmarks)


@needs_real
def test_a_real_clip_against_itself_and_wrong_copies_of_it(real):
    frames, landmarks, own = real
    assert compare_motion(own, own).figures["skill"] == pytest.approx(1.0)
    mirrored = landmarks.copy()
    mirrored[:, 0] = frames.shape[2] - 1 - mirrored[:, 0]
    still = noisy(np.repeat(frames[:1], len(frames), axis=0), 1.0)
    found = {
        "copy": score(own, noisy(frames, 1.0), landmarks).figures,
        "still": score(own, still, landmarks).figures,
        "delayed": score(own, np.concatenate([still[:6], frames[:-6]]), landmarks).figures,
        "flipped": score(own, frames[:, :, ::-1], mirrored[MIRROR]).figures,
    }
    assert found["copy"]["rho"] > 0.9 and found["copy"]["gain"] == pytest.approx(1.0, abs=0.1)
    for name in AGREEMENT:
        assert found["still"][name] == pytest.approx(0.0, abs=0.05), name
    for name in ("delayed", "flipped"):
        assert found[name]["skill"] < found["copy"]["skill"] - 0.1, name
        assert found[name]["vcor"] < found["copy"]["vcor"] - 0.2, name


@needs_real
def test_a_real_movement_on_a_real_face_at_known_amplitudes(real):
    """The landmark-guided warp; without amplitude it is the head's motion alone."""
    frames, landmarks, own = real
    target = media.read_image(REAL / "westernMale.png")
    points = find_landmarks(target)
    found = {}
    for amplitude in (0.0, 0.5, 1.0, 2.0):
        warped = np.stack(list(warp_clip(target, points, frames, landmarks, amplitude)))
        found[amplitude] = score(own, noisy(warped, 0.7), points).figures
    for name in ("rho", "vcor", "gain", "dir"):
        assert found[0.0][name] == pytest.approx(0.0, abs=0.12), name
    assert found[1.0]["rho"] > 0.8
    assert found[0.5]["gain"] / found[1.0]["gain"] == pytest.approx(0.5, rel=0.1)
    assert found[2.0]["gain"] / found[1.0]["gain"] == pytest.approx(2.0, rel=0.1)
