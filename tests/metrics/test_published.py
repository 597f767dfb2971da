"""The published results for one real clip give the figures measured by an independent implementation.

The clips may not be shipped, see `tests.real`.
"""

from __future__ import annotations

import pytest

import media
from evaluation.clip_scorer import DrivingClip, landmark_model, measure_driving, score_result
from faces import DetectorUnavailable
from tests.real import REAL, needs_real

COLUMNS = (
    "rho", "vcor", "gain", "skill", "dir", "rho_rel", "amp", "gain_px", "tcor", "tcor_proj", "apex_err", "half_err",
    "leak", "leak_frac",
)  # fmt: skip
PUBLISHED = {
    "FOMM": (0.23, 0.19, 0.10, 0.03, 0.26, 0.21, 0.33, 0.13, 0.26, 0.23, 2.0, 3.0, 0.22, 0.10),
    "MRAA": (0.34, 0.18, 0.24, 0.06, 0.43, 0.32, 0.53, 0.28, 0.65, 0.41, 14.0, 5.0, 0.35, 0.11),
    "SAMM": (0.20, 0.12, 0.08, 0.01, 0.25, 0.18, 0.28, 0.11, 0.57, 0.35, 1.0, 3.0, 0.32, 0.25),
    "SMIC": (0.54, 0.37, 0.29, 0.29, 0.57, 0.49, 0.41, 0.37, 0.69, 0.68, 0.0, 4.0, 0.26, 0.09),
    "CASME2": (0.35, 0.19, 0.27, 0.00, 0.39, 0.34, 0.68, 0.35, 0.60, 0.48, 0.0, 4.0, 0.41, 0.10),
    "MIX": (0.44, 0.30, 0.25, 0.19, 0.34, 0.42, 0.49, 0.32, 0.71, 0.46, 1.0, 4.0, 0.29, 0.09),
}
TOLERANCE = {"skill": 0.1, "apex_err": 2.0, "half_err": 2.0}

pytestmark = needs_real


@pytest.fixture(scope="module")
def driving() -> DrivingClip:
    try:
        landmark_model()
    except DetectorUnavailable as error:
        pytest.skip(str(error))
    clip = media.open_clip(REAL / "s3_po_05.gif")
    return measure_driving(clip.read_all(), clip.fps)


def test_repeated_frames_of_the_published_gif(driving):
    assert (len(driving.frames), len(driving.distinct)) == (77, 31)


@pytest.mark.parametrize("method", PUBLISHED)
def test_figures_of_the_published_results(driving, method):
    clip = media.open_clip(REAL / "published" / f"s3_po_05_{method}.gif")
    found = score_result(driving, clip.read_all(), clip.fps).score.figures
    wrong = {
        name: (round(found[name], 3), expected)
        for name, expected in zip(COLUMNS, PUBLISHED[method], strict=True)
        if abs(found[name] - expected) > TOLERANCE.get(name, 0.05) + 0.005  # the table is rounded to two decimals
    }
    assert not wrong
