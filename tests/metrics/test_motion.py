"""Sanity of the motion figures on clips whose motion is known (metric.md §4)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrics.canonical import REGIONS, MetricError, canonical_frame, locate_face
from metrics.flow import make_dis
from metrics.motion import FIGURES, compare_motion, measure_motion, still_motion

from .conftest import make_clip, measure, score

# The landmark on the other side of the face.
MIRROR = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip


def noisy(frames: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(frames + rng.normal(0, sigma, frames.shape)), 0, 255).astype(np.uint8)


def test_self_is_perfect(smile_motion):
    result = compare_motion(smile_motion, smile_motion)
    figures = result.figures
    assert tuple(figures) == tuple(FIGURES)
    for name in ("rho", "vcor", "gain", "skill", "dir", "rho_rel", "rho_apex", "rho_raw", "amp", "gain_px", "tcor"):
        assert figures[name] == pytest.approx(1.0, abs=1e-9), name
    assert figures["apex_err"] == figures["half_err"] == 0
    assert result.reliable
    assert {"mouth_L", "mouth_R"} <= set(result.active)
    assert "brow_in_L" in result.inactive
    assert not {"lid_L", "lid_R"} & set(result.active + result.inactive)


def test_a_still_face_scores_zero_even_with_camera_noise(smile, smile_motion):
    frozen = np.repeat(smile.frames[:1], len(smile.frames), axis=0)
    for frames in (frozen, noisy(frozen, 1.0)):
        figures = score(smile_motion, frames, smile.landmarks).figures
        for name in ("rho", "vcor", "gain", "skill", "dir"):
            assert figures[name] == pytest.approx(0.0, abs=0.05), name
    exact = compare_motion(smile_motion, still_motion(smile_motion)).figures
    assert exact["rho"] == exact["gain"] == exact["skill"] == 0.0
    assert exact["apex_err"] == len(smile_motion.times)


def test_wrong_motion_scores_lower_than_right_motion(smile, smile_motion):
    right = score(smile_motion, noisy(smile.frames, 1.0), smile.landmarks).figures
    assert right["rho"] > 0.9 and right["skill"] > 0.8
    delayed = np.concatenate([np.repeat(smile.frames[:1], 4, axis=0), smile.frames[:-4]])
    rise = smile.frames[: smile.apex + 1]
    surprise = make_clip(movement="surprise")
    brow_left = make_clip(movement="R12")
    flipped = brow_left.frames[:, :, ::-1]
    mirrored = smile.landmarks.copy()
    mirrored[:, 0] = smile.frames.shape[2] - 1 - mirrored[:, 0]
    wrong = {
        "delayed": (smile_motion, delayed, smile.landmarks),
        "reversed": (measure_motion(rise, smile.landmarks), rise[::-1], smile.landmarks),
        "another movement": (smile_motion, surprise.frames, surprise.landmarks),
        "flipped": (measure(brow_left), flipped, mirrored[MIRROR]),
    }
    for name, (driving, frames, landmarks) in wrong.items():
        figures = score(driving, frames, landmarks).figures
        assert figures["rho"] < right["rho"] - 0.1, name
        assert figures["skill"] < right["skill"] - 0.2, name
        assert figures["vcor"] < right["vcor"] - 0.2, name


def test_gain_follows_a_known_amplitude(smile_motion):
    once, half, double = (
        score(smile_motion, clip.frames, clip.landmarks).figures["gain"]
        for clip in (make_clip(noise=0.2), make_clip(amplitude_px=1.5), make_clip(amplitude_px=6.0))
    )
    assert half / once == pytest.approx(0.5, rel=0.1)
    assert double / once == pytest.approx(2.0, rel=0.1)


def test_the_measured_motion_is_the_true_one(smile, smile_motion):
    """Mouth corner: mean of the true local displacement over the region's disc, in IOD, at the apex."""
    corner = smile.landmarks[54] + [0.03 * smile.iod, 0.0]
    rows, columns = np.mgrid[: smile.frames.shape[1], : smile.frames.shape[2]]
    inside = np.hypot(columns - corner[0], rows - corner[1]) <= 0.13 * smile.iod
    true = smile.local_flow[smile.apex][inside].mean(axis=0) / smile.iod
    measured = smile_motion.curves[REGIONS.index("mouth_R"), smile.apex]
    assert np.linalg.norm(measured - true) < 0.3 * np.linalg.norm(true)  # DIS loses 4–17 % (metric.md §4)


def test_head_motion_alone_scores_zero(smile, smile_motion):
    height, width = smile.frames.shape[1:3]
    frames = [smile.frames[0]]
    for t in range(1, len(smile.frames)):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 1.2 * np.sin(t / 5), 1 + 0.01 * np.sin(t / 7))
        turn[:, 2] += [2.0 * np.sin(t / 6), 1.5 * np.sin(t / 4)]
        frames.append(cv2.warpAffine(smile.frames[0], turn, (width, height), borderMode=cv2.BORDER_REPLICATE))
    moved = noisy(np.stack(frames), 0.7)
    figures = score(smile_motion, moved, smile.landmarks).figures
    for name in ("rho", "vcor", "gain", "dir"):
        assert figures[name] == pytest.approx(0.0, abs=0.12), name
    assert figures["amp"] < 0.3


def test_another_face_with_the_same_movement_scores_high(smile_motion, other_face):
    figures = score(smile_motion, other_face.frames, other_face.landmarks).figures
    assert figures["rho"] > 0.8
    assert 0.7 < figures["gain"] < 1.3


def test_size_colour_and_place_in_the_picture_do_not_matter(smile, smile_motion):
    bigger = np.stack([cv2.resize(f, (384, 384), interpolation=cv2.INTER_CUBIC) for f in smile.frames])
    grey = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in smile.frames])
    figures = score(smile_motion, bigger, (smile.landmarks + 0.5) * 1.5 - 0.5).figures
    assert figures["rho"] > 0.97
    assert figures["gain"] == pytest.approx(1.0, abs=0.05)
    assert figures["gain_px"] == pytest.approx(1.5 * figures["gain"], rel=1e-6)
    assert score(smile_motion, grey, smile.landmarks).figures["rho"] == pytest.approx(1.0, abs=1e-6)


def test_a_clip_that_hardly_moves_is_unreliable(smile):
    weak = make_clip(amplitude_px=0.3, noise=0.2)
    assert not compare_motion(measure(weak), measure(weak)).reliable


def test_eyelids_are_left_out_of_every_figure_but_their_own(smile_motion):
    blink = smile_motion.curves.copy()
    for lid in ("lid_L", "lid_R"):
        blink[REGIONS.index(lid)] += 0.1
    with_blink = type(smile_motion)(**{**vars(smile_motion), "curves": blink})
    plain = compare_motion(smile_motion, smile_motion).figures
    blinking = compare_motion(smile_motion, with_blink).figures
    for name in FIGURES:
        if name.startswith("lid_"):
            continue
        assert blinking[name] == pytest.approx(plain[name]), name
    assert blinking["lid_gain"] != pytest.approx(plain["lid_gain"], abs=0.1)


def test_a_region_outside_the_picture_is_dropped(smile):
    lower = int(smile.landmarks[57, 1]) + 4  # cut through the lower lip: the chin is gone
    cut = smile.frames[:, :lower]
    result = compare_motion(measure_motion(cut, smile.landmarks), measure_motion(smile.frames, smile.landmarks))
    assert "chin" not in result.driving
    assert "mouth_R" in result.driving


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), "T ≥ 2"),
        (np.zeros((3, 64, 64, 3), np.float32), "uint8"),
        (np.zeros((3, 256, 256, 3), np.uint8), "no contrast"),
    ],
)
def test_clips_that_cannot_be_measured_say_why(smile, frames, message):
    with pytest.raises(MetricError, match=message):
        measure_motion(frames, smile.landmarks)


def test_landmarks_that_do_not_fit_say_why(smile):
    with pytest.raises(MetricError, match="68"):
        measure_motion(smile.frames, smile.landmarks[:10])
    with pytest.raises(MetricError, match="pixels apart"):
        measure_motion(smile.frames, smile.landmarks * 0.01)
    with pytest.raises(MetricError, match="outside the picture"):
        measure_motion(smile.frames, smile.landmarks + 1000)


def test_equal_frames_do_not_move_whatever_the_flow_would_say(smile):
    """The shortcut for frames equal to the onset gives what the flow gives."""
    grey = canonical_frame(smile.frames[0], locate_face(smile.landmarks, *smile.frames.shape[1:3]))
    assert np.abs(make_dis().calc(grey, grey, None)).max() == 0.0
