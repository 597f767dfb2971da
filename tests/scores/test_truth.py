"""The truth beside a clip: read in the three lines that its documentation gives."""

from __future__ import annotations

import re

import numpy as np
import pytest

from corpora.sample.portraits import canonical_shape
from media import OutputError
from media.ownership import bears_mark
from scores import truth
from scores.notation import parse_score, peak_of
from scores.performance import perform
from scores.playing import play
from scores.truth import save_truth, truth_of

SIZE = (120, 96)


@pytest.fixture(scope="module")
def motion():
    performance = perform(parse_score("6+L12C @ 0.1:0.3:0.7"), fps=50, variety=1, seed=5)
    return play(performance, canonical_shape() * 0.2, SIZE)


def test_it_is_read_in_three_lines_of_numpy(motion, tmp_path):
    save_truth(tmp_path / "clip.npz", truth_of(motion))
    lines = re.findall(r"    (z = .*)\n    (x = .*)\n    (moved = .*)\n", truth.__doc__)[0]
    for t in (0, 8, 15):
        names = {"np": np, "t": t}
        exec("\n".join(lines).replace("clip.npz", str(tmp_path / "clip.npz")), names)
        assert np.abs(names["own"] - motion.expression(t)).max() < 0.01
        assert np.abs(names["moved"] - motion.displacement(t)).max() < 0.01
    content = names["z"]
    assert str(content["score"]) == "6+L12C @ 0.1:0.3:0.7" and str(content["action_units"]) == "6+L12C"
    assert content["intensity"][15].max(axis=1) == pytest.approx([peak_of(6), peak_of(12, "C")], rel=1e-5)
    assert not content["intensity"][:, 1, 1].any()  # the person's right
    x, y = np.rint(content["keypoints"][0, 8]).astype(int)  # the mouth's right corner in the picture: the person's left
    assert np.abs(content["keypoints"][15, 8] - content["keypoints"][0, 8] - names["moved"][y, x]).max() < 0.3
    assert content["landmarks"].shape == (len(motion), 68, 2)


def test_a_truth_of_ours_is_replaced_and_nothing_else(motion, tmp_path, users_folder):
    path = users_folder / "clip.npz"
    for _ in range(2):
        save_truth(path, truth_of(motion))
    assert bears_mark(path)
    np.savez(path, mine=1)
    with pytest.raises(OutputError, match="was not written by this program"):
        save_truth(path, truth_of(motion))
