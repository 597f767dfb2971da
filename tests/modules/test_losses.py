"""Loss terms in closed form, beyond the golden numbers: weighted means, the facial prior's share, layers left out."""

from __future__ import annotations

import pytest
import torch

from modules import losses
from modules.losses import ImageLosses

COLUMNS = torch.arange(1.0, 5).expand(2, 3, 4, 4)  # differences of 1, 2, 3, 4 in a picture's columns
LEFT = torch.tensor([1.0, 0.0]).expand(2, 1, 2, 2)  # half a map; at the picture's size 1, 0.75, 0.25, 0
SHARE = (1 + 0.75 * 2 + 0.25 * 3) / 2  # the weighted mean


def features(image: torch.Tensor) -> list[torch.Tensor]:
    """In place of VGG's layers: the picture, and three times of it."""
    return [image, 3 * image]


def image_losses(scales: tuple[float, ...] = (1,), **weights) -> dict[str, torch.Tensor]:
    terms = ImageLosses({"scales": list(scales), "loss_weights": weights}, 3, features)
    target = torch.zeros(2, 3, 4, 4)
    return terms(target, {"prediction": target - COLUMNS, "deformed": target + 7}, LEFT)


def test_l1_under_a_map_is_the_weighted_mean():
    zeros = torch.zeros_like(COLUMNS)
    assert losses.l1(zeros, COLUMNS) == 2.5
    assert losses.l1(zeros, COLUMNS, LEFT) == SHARE
    assert losses.l1(zeros, COLUMNS, 10 * LEFT) == SHARE, "only the map's shape counts"
    assert losses.l1(zeros, COLUMNS, torch.zeros(2, 1, 2, 2)) == 0, "an empty map divides by nothing"


def test_the_facial_prior_weighs_the_image_by_the_region_map():
    assert image_losses(facial_prior=4) == {"facial_prior": 4 * SHARE}


@pytest.mark.parametrize(
    ("weights", "expected"), [([2, 0], 2 * SHARE), ([0, 2], 2 * 3 * SHARE), ([1, 2], (1 + 2 * 3) * SHARE)]
)
def test_the_facial_prior_weighs_features_by_the_region_map(weights, expected):
    assert image_losses(facial_prior=weights) == {"facial_prior": expected}


def test_each_term_has_its_own_weight():
    """Perceptual terms see the whole picture, whatever the region map."""
    values = image_losses(perceptual=[1, 2], facial_prior=[4, 0], reconstruction=3, deformed=0.5)
    assert {name: float(value) for name, value in values.items()} == {
        "perceptual": 2.5 + 2 * 7.5, "facial_prior": 4 * SHARE, "reconstruction": 7.5, "deformed": 3.5,
    }  # fmt: skip


def test_scales_are_summed():
    one, half = (image_losses((scale,), perceptual=[1, 0], facial_prior=[1, 0], reconstruction=1) for scale in (1, 0.5))
    both = image_losses((1, 0.5), perceptual=[1, 0], facial_prior=[1, 0], reconstruction=1)
    for name in ("perceptual", "facial_prior", "reconstruction"):
        assert half[name] != one[name] and torch.isclose(both[name], one[name] + half[name])


def test_weights_of_nought_ask_for_nothing():
    assert image_losses(perceptual=[0, 0], facial_prior=0, reconstruction=0, deformed=0) == {}
    for weights in ({"perceptual": [1]}, {"facial_prior": [0, 1]}):
        with pytest.raises(ValueError, match="perceptual loss: pass network"):
            ImageLosses({"scales": [1], "loss_weights": weights}, 3)
    ImageLosses({"scales": [1], "loss_weights": {"perceptual": [0, 0], "facial_prior": 1}}, 3)
