"""Control over the movement: how strong it is, and which parts of the face take part.

Works on key points as the animators have them, whatever family they are of: the movement is what takes the source's
key points to the driving ones.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.coords import make_coordinate_grid
from modules.util import full_precision, inverse_2x2, matmul_2x2

KeyPoints = dict[str, Tensor]

SIDES = ("left", "right")
# Rows of the facial prior by action-unit region: those on the picture's left, on its right, and in the middle.  Rows
# 12 and 13, the skin beside the nose wings, move with both the nose and the cheeks; as a place they are the cheeks'.
REGIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "brows": ((0,), (1,), ()),  # AU 1, 2, 4
    "eyes": ((3, 4), (5, 6), ()),  # AU 5, 7, blinks
    "nose": ((12,), (13,), (2,)),  # AU 9: beside the wings, and the bridge
    "cheeks": ((12, 14), (13, 15), ()),  # AU 6: beside the nose, and under the eyes
    "mouth": ((7, 11, 16), (8, 9, 17), (10,)),  # AU 10 … 28: corners, the skin beside them, lower lip
}
# The 18 key points alone do not share out a face: further places, as weighted sums of rows, by region and side.
PLACES: tuple[tuple[str, str, dict[int, float]], ...] = (
    ("brows", "left", {0: 1.25, 1: -0.25}), ("brows", "right", {0: -0.25, 1: 1.25}),  # outer ends
    ("brows", "left", {0: 0.67, 1: 0.33}), ("brows", "right", {0: 0.33, 1: 0.67}),  # inner ends
    ("brows", "", {0: 0.5, 1: 0.5}),  # between them
    ("nose", "left", {12: 1, 7: 1, 16: -1}), ("nose", "right", {13: 1, 8: 1, 17: -1}),  # wings
    ("cheeks", "left", {14: 0.5, 16: 0.5}), ("cheeks", "right", {15: 0.5, 17: 0.5}),  # beside the nose
    ("mouth", "", {7: 0.5, 8: 0.5}),  # between the corners
)  # fmt: skip
PARTITION_VARIANCE = 0.003  # normalised units: how softly a motion field is cut between regions


def parse_regions(regions: str | Iterable[str]) -> tuple[str, ...]:
    """Names of regions: ``"brows,mouth:left"`` or a list of them → a tuple in the order of :data:`REGIONS`.

    A name stands for the whole region; ``:left`` and ``:right`` for the half on that side of the picture.

    Raises:
        ValueError: a region or side that does not exist, or none at all; the message lists the legal ones.
    """
    parts = regions.split(",") if isinstance(regions, str) else list(regions)
    named = [str(part).strip().lower() for part in parts]
    legal = f"{', '.join(REGIONS)}, each whole or one half of it: brows:left, mouth:right (sides of the picture)"
    if not named:
        raise ValueError(f"no region is named; legal: {legal}")
    for name in named:
        region, colon, side = name.partition(":")
        if region not in REGIONS or (colon and side not in SIDES):
            raise ValueError(f"unknown region {name!r}; legal: {legal}")
    order = [name for region in REGIONS for name in (region, *(f"{region}:{side}" for side in SIDES))]
    return tuple(name for name in order if name in named)


def region_rows(regions: Iterable[str]) -> list[int]:
    """Rows of the 18 key points that belong to regions as :func:`parse_regions` returns them, ascending.

    Points in the middle of the face (bridge of the nose, middle of the lower lip) belong to whole regions alone.
    """
    rows: set[int] = set()
    for name in regions:
        region, _, side = name.partition(":")
        left, right, middle = REGIONS[region]
        rows.update({"": left + right + middle, "left": left, "right": right}[side])
    return sorted(rows)


def scale_jacobian(jacobian: Tensor, amount: Tensor | float) -> Tensor:
    """``jacobian`` (..., 2, 2) to the power ``amount`` (broadcast to ...): a turn and a stretch, each scaled.

    The polar decomposition R = Q·P splits it into a rotation Q by an angle θ and a symmetric stretch P; the result
    is Q(amount·θ)·P^amount, with P's principal stretches raised to the power.  For pure rotations and pure stretches
    that is the matrix logarithm's exp(amount·log R), and for small ones it is so to first order; unlike it, it exists
    for every matrix, and unlike I + amount·(R − I) it is invertible whatever the amount.  Where R mirrors (negative
    determinant), so does the result.
    """
    with full_precision(jacobian):
        a, b, c, d = jacobian.float().flatten(-2).unbind(-1)
        amount = torch.as_tensor(amount, dtype=a.dtype, device=a.device)
        angle = torch.atan2(c - b, a + d)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # P = Qᵀ·R = mean·I + [[x, y], [y, −x]], with principal stretches mean ± radius.
        p, q, r = cos * a + sin * c, cos * b + sin * d, cos * d - sin * b
        mean, x, y = 0.5 * (p + r), 0.5 * (p - r), q
        radius = (x.square() + y.square()).clamp_min(1e-30).sqrt()
        large, small = (s.sign() * s.abs().clamp_min(1e-6).pow(amount) for s in (mean + radius, mean - radius))
        middle, ratio = 0.5 * (large + small), 0.5 * (large - small) / radius
        # Two equal stretches have no axes of their own: x = y = 0, and the ratio does not matter.
        stretch = torch.stack([middle + ratio * x, ratio * y, ratio * y, middle - ratio * x], dim=-1)
        cos, sin = torch.cos(amount * angle), torch.sin(amount * angle)
        turn = torch.stack([cos, -sin, sin, cos], dim=-1)
        return matmul_2x2(turn.unflatten(-1, (2, 2)), stretch.unflatten(-1, (2, 2)))


def partition(points: Tensor, regions: Iterable[str], size: tuple[int, int]) -> Tensor:
    """How much each cell of a map belongs to ``regions``: (B, 18, 2) normalised → (B, h, w) in [0, 1].

    The map is shared out by nearness, with soft borders, among the key points and :data:`PLACES`; what is in the
    middle belongs to whole regions alone, as in :func:`region_rows`.
    """
    regions = set(regions)
    weights = points.new_tensor([[row.get(k, 0.0) for k in range(points.shape[1])] for *_, row in PLACES])
    places = torch.cat([points, weights @ points], dim=1)  # (B, N, 2)
    owners: dict[int, tuple[str, str]] = {}
    for name, parts in REGIONS.items():
        for side, rows in zip((*SIDES, ""), parts, strict=True):
            owners.update(dict.fromkeys(rows, (name, side)))
    owners |= {points.shape[1] + index: (name, side) for index, (name, side, _) in enumerate(PLACES)}
    chosen = [i for i, (name, side) in owners.items() if name in regions or (side and f"{name}:{side}" in regions)]
    grid = make_coordinate_grid(*size, like=points)
    distance = (grid - places[:, :, None, None]).square().sum(-1)  # (B, N, h, w)
    return F.softmax(-0.5 * distance / PARTITION_VARIANCE, dim=1)[:, chosen].sum(1)


def _exact(amount: Tensor, rest: Tensor, driven: Tensor, scaled: Tensor) -> Tensor:
    """``scaled``, but without rounding where nothing moves (amount 0) and where nothing changes (1)."""
    return torch.where(amount == 0, rest, torch.where(amount == 1, driven, scaled))


class MotionControl:
    """Strength and place of a movement.

    Args:
        amplify: 1, or None, leaves the movement as it was driven, 0 stills it; displacements are multiplied by it,
            Jacobians raised to its power (:func:`scale_jacobian`).
        regions: names of regions that take part, see :func:`parse_regions`; None: the whole face.  Key points of
            other regions stay at rest.

    Raises:
        ValueError: a negative strength, an unknown region.
    """

    def __init__(self, amplify: float | None = None, regions: str | Iterable[str] | None = None):
        amplify = 1.0 if amplify is None else amplify
        if not 0 <= amplify <= 1e6:
            raise ValueError(f"amplify is {amplify:g}; legal: a number from 0 (still) to 1e6, 1 as driven")
        self.amplify = float(amplify)
        self.regions = None if regions is None else parse_regions(regions)
        self.rows = None if self.regions is None else region_rows(self.regions)

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return self.amplify != 1 or self.rows is not None

    def __call__(self, kp_source: KeyPoints, kp_driving: KeyPoints) -> KeyPoints:
        """The driving key points with the controlled movement.

        Args:
            kp_source: at rest: ``value`` (1 or B, K, 2), optionally ``jacobian`` (1 or B, K, 2, 2).
            kp_driving: moved: the same with B frames, and optionally ``field`` (B, h, w, 2), a displacement in
                normalised units at each cell of the source.
        """
        if not self:
            return kp_driving
        out, rest = dict(kp_driving), kp_source["value"].float()
        amounts = torch.full(rest.shape[1:2], self.amplify, dtype=rest.dtype, device=rest.device)  # (K,)
        if self.rows is not None:
            others = [row for row in range(rest.shape[1]) if row not in self.rows]
            amounts[others] = 0.0
        driven = kp_driving["value"].float()
        moved = rest + amounts[:, None] * (driven - rest)
        out["value"] = _exact(amounts[:, None], rest, driven, moved)
        if "jacobian" in kp_driving:
            own, driven = kp_source["jacobian"].float(), kp_driving["jacobian"].float()
            scaled = matmul_2x2(scale_jacobian(matmul_2x2(driven, inverse_2x2(own)), amounts), own)
            out["jacobian"] = _exact(amounts[:, None, None], own, driven, scaled)
        if "field" in kp_driving:
            field = kp_driving["field"] * self.amplify
            if self.rows is not None:
                field = field * partition(rest, self.regions, tuple(field.shape[1:3]))[..., None]
            out["field"] = field
        return out
