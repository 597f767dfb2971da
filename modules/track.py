"""The prior that moves: key points and a dense field followed through a clip, and carried over to another face.

A movement is a displacement from the clip's onset.  It is the sum of the face's own motion and of the head's, which
are kept apart, so that a face can be driven by the expression alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modules.coords import make_coordinate_grid
from modules.facial_prior import FLIP_PERMUTATION

# Rows of the 18 key points on the rims of the eyes: upper and lower lid of the image-left, of the image-right eye.
LEFT_EYE, RIGHT_EYE = (3, 4), (5, 6)
# The face in inter-ocular distances, upright, from the middle between the eyes: centre and half axes of an ellipse
# around it, forehead and chin included, and the width over which a carried motion fades out at its border.
FACE_CENTRE, FACE_AXES, FACE_FADE = (0.0, 0.45), (1.15, 1.45), 0.25
# What a blink does not move: below the lower lid, this wide and this far down, in inter-ocular distances.
LID_WIDTH, LID_DEPTH, MIN_APERTURE = 0.6, 0.35, 0.04
RIGIDITY = 1.0  # of the spline between two faces: landmarks err by a pixel or two, which it should not follow
INVERSION_STEPS = 10
MAX_SLOPE = 0.8  # of a field that is rendered; the inversion's error is below MAX_SLOPE ** INVERSION_STEPS of it
SMOOTHING_ROUNDS = 40


@dataclass(frozen=True)
class Track:
    """Movement of T frames of a clip.

    Attributes:
        onset: (K, 2) key points of the onset frame, (x, y) in pixels.
        points: (T, K, 2) key points of the frames, pixels.
        field: (T, h, w, 2) the face's own displacement from the onset, (x, y) in pixels, at the cells of a grid over
            the onset frame whose corner cells are the centres of its corner pixels.
        head: (T, 2, 3) the head's displacement, p ↦ M·p + t, pixels; a linearised similarity.
        size: (height, width) of the frames.
    """

    onset: Tensor
    points: Tensor
    field: Tensor
    head: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, frames: slice | list[int]) -> Track:
        """The frames ``frames``, against the same onset."""
        return replace(self, points=self.points[frames], field=self.field[frames], head=self.head[frames])

    def to(self, device: torch.device | str) -> Track:
        """The track on ``device``, float32."""
        names = ("onset", "points", "field", "head")
        return replace(self, **{name: getattr(self, name).to(device, torch.float32) for name in names})

    def affine(self, matrix: Tensor, offset: Tensor, size: tuple[int, int], mirrored: bool = False) -> Track:
        """The track of frames whose pixels p are at ``matrix``·p + ``offset`` now.

        Args:
            matrix: (2, 2).  offset: (2,), pixels.
            size: (height, width) of the new frames.
            mirrored: left and right key points change places.
        """
        grid = _grid_pixels(self.field, size)
        inverse = torch.linalg.inv(matrix)
        field = _sample(self.field, ((grid - offset) @ inverse.T).expand(len(self), -1, -1, -1), self.size)
        linear = matrix @ self.head[..., :2] @ inverse
        shift = self.head[..., 2] @ matrix.T - linear @ offset
        order = list(FLIP_PERMUTATION) if mirrored else slice(None)
        return Track(
            onset=(self.onset @ matrix.T + offset)[order],
            points=(self.points @ matrix.T + offset)[:, order],
            field=field @ matrix.T,
            head=torch.cat([linear, shift[..., None]], dim=-1),
            size=tuple(size),
        )

    def resized(self, size: tuple[int, int]) -> Track:
        """The track of the frames at another (height, width): pixels × w/W, × h/H."""
        if tuple(size) == tuple(self.size):
            return self
        scale = torch.tensor([size[1] / self.size[1], size[0] / self.size[0]], device=self.field.device)
        return self.affine(torch.diag(scale), torch.zeros_like(scale), size)

    def head_at(self, points: Tensor) -> Tensor:
        """The head's displacement (T, ..., 2) at points (..., 2), pixels."""
        return torch.einsum("tij,...j->t...i", self.head[..., :2], points) + self.head[..., 2].view(
            -1, *(1,) * (points.dim() - 1), 2
        )

    @property
    def grid(self) -> Tensor:
        """(h, w, 2) pixels of the cells of the field."""
        return _grid_pixels(self.field, self.size)

    def displacement(self) -> Tensor:
        """All of the motion on the grid, (T, h, w, 2), in normalised units: what :func:`field_motion` takes."""
        return (self.field + self.head_at(self.grid)) * normalised_units(self.size, self.field)


def normalised_units(size: tuple[int, int], like: Tensor) -> Tensor:
    """Factor (2,) from pixels to the normalised units of grids."""
    return like.new_tensor([2 / max(size[1] - 1, 1), 2 / max(size[0] - 1, 1)])


def _grid_pixels(field: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w, 2) pixels of the cells of a field (T, h, w, 2) over frames of ``size`` = (height, width)."""
    return (make_coordinate_grid(*field.shape[1:3], like=field) + 1) / normalised_units(size, field)


def _sample(field: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """``field`` (T, h, w, 2) of frames of ``size`` at ``places`` (T, h', w', 2) in pixels; constant beyond the edge."""
    return sample_field(field, places * normalised_units(size, field) - 1)


def sample_field(field: Tensor, grid: Tensor) -> Tensor:
    """A field (B, h, w, 2) at ``grid``, normalised (B, h', w', 2), of that shape; constant beyond the edge."""
    values = F.grid_sample(field.float().permute(0, 3, 1, 2), grid.float(), align_corners=True, padding_mode="border")
    return values.permute(0, 2, 3, 1)


def field_motion(driving: Tensor, source: Tensor, size: tuple[int, int]) -> Tensor:
    """Backward motion from two displacements of one face: where in the source frame each driving pixel was.

    A pixel z of the driving frame came from x with x + driving(x) = z (found by iteration), and is at x + source(x)
    in the source frame.

    Args:
        driving, source: (B, h, w, 2) displacements from the face's rest, normalised.
        size: (height, width) of the result.

    Returns:
        (B, height, width, 2), a sampling grid like those of :func:`modules.dense_motion.sparse_motions`.
    """
    arrived = make_coordinate_grid(*size, like=driving.float()).expand(len(driving), -1, -1, -1)
    rest = arrived
    for _ in range(INVERSION_STEPS):
        rest = arrived - sample_field(driving, rest)
    return rest + sample_field(source, rest)


def field_slope(field: Tensor) -> Tensor:
    """How steep a displacement (B, h, w, 2) is: spectral norm of its derivative between cells, (B, h − 1, w − 1).

    Below 1 everywhere, no two points change places: the movement can be inverted.
    """
    height, width = field.shape[1:3]
    along_x = (field[:, :-1, 1:] - field[:, :-1, :-1]) * (width - 1) / 2
    along_y = (field[:, 1:, :-1] - field[:, :-1, :-1]) * (height - 1) / 2
    a, b, c, d = along_x[..., 0], along_y[..., 0], along_x[..., 1], along_y[..., 1]
    half = 0.5 * (a * a + b * b + c * c + d * d)
    return (half + (half * half - (a * d - b * c) ** 2).clamp_min(0).sqrt()).sqrt()


def limit_slope(field: Tensor, limit: float = MAX_SLOPE) -> Tensor:
    """A displacement (B, h, w, 2), smoothed where it is steeper than ``limit``, and only there, until it is not.

    Measured and amplified movements may be steeper than any movement of skin: a closing lid hides what is behind it,
    and the flow there jumps.  A field that folds cannot be inverted, and tears the picture.
    """
    for _ in range(SMOOTHING_ROUNDS):
        steep = (field_slope(field) > limit).float()[:, None]
        if not steep.any():
            return field
        # From the steep cells' corners outwards, softly.
        share = F.max_pool2d(F.pad(steep, (1, 1, 1, 1)), 2, stride=1)
        share = F.avg_pool2d(F.max_pool2d(share, 3, stride=1, padding=1), 3, stride=1, padding=1)
        planes = F.pad(field.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
        smooth = F.avg_pool2d(planes, 3, stride=1)
        field = torch.lerp(field, smooth.permute(0, 2, 3, 1), share.permute(0, 2, 3, 1))
    steepest = field_slope(field).flatten(1).amax(1).clamp_min(limit)
    return field * (limit / steepest)[:, None, None, None]  # smoothing has done nearly all of it


def face_axes(keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Of key points (18, 2): the middle between the eyes, and the vector from the image-left to the image-right eye."""
    left, right = (keypoints[list(rows)].mean(0) for rows in (LEFT_EYE, RIGHT_EYE))
    return (left + right) / 2, right - left


def upright(vectors: Tensor, keypoints: Tensor) -> Tensor:
    """Vectors (..., 2) in the axes of the face with these key points (18, 2): (right, down), inter-ocular distances."""
    _, (x, y) = face_axes(keypoints)
    return vectors @ torch.stack([x, -y, y, x]).view(2, 2) / (x * x + y * y)


def face_turn(source: Tensor, driving: Tensor, rescale: bool = True) -> Tensor:
    """(2, 2): the driving face's displacements, turned into the source face's axes.

    Args:
        source, driving: key points (18, 2), pixels.
        rescale: also scale by the ratio of the inter-ocular distances.

    Raises:
        ValueError: a face whose eyes are in one place.
    """
    (_, a), (_, b) = face_axes(source), face_axes(driving)
    if min(a.norm(), b.norm()) < 1:
        raise ValueError("the key points of both eyes are in one place: make them anew with kpmaker.py --overwrite")
    cos, sin = (a * b).sum() / b.square().sum(), (a[1] * b[0] - a[0] * b[1]) / b.square().sum()
    turn = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
    return turn if rescale else turn * b.norm() / a.norm()


def face_weight(keypoints: Tensor, places: Tensor) -> Tensor:
    """1 on the face with these key points (18, 2), fading to 0 around it, at ``places`` (..., 2), pixels: (...)."""
    middle, _ = face_axes(keypoints)
    offset = upright(places - middle, keypoints)
    axes = offset.new_tensor(FACE_AXES)
    distance = ((offset - offset.new_tensor(FACE_CENTRE)) / axes).norm(dim=-1)  # 1 on the ellipse
    return _ease(1 - (distance - 1) * axes.mean() / FACE_FADE)


def _ease(share: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    share = share.clamp(0, 1)
    return share.square() * (3 - 2 * share)


def still_lower_lids(moved: Tensor, keypoints: Tensor, places: Tensor) -> Tensor:
    """Take the fall of a closing upper lid out of what lies below the eye.

    The flow below a closing lid goes down with it, as the lashes hide the lower lid; carried over, it drags the open
    eye down instead of closing it.  A lower lid that goes down alone, or up, stays as it is.

    Args:
        moved: (T, h, w, 2) displacements of a face at ``places`` (h, w, 2), pixels.
        keypoints: (18, 2) of this face at rest.

    Returns:
        (T, h, w, 2): of the downward part, at most the upper lid's own is taken out; all of it at the lower lid, half
        of it in the middle of the eye, none at the upper lid.
    """
    _, (x, y) = face_axes(keypoints)
    down = torch.stack([-y, x])  # one inter-ocular distance
    for upper, lower in (keypoints[list(rows)] for rows in (LEFT_EYE, RIGHT_EYE)):
        aperture = upright(lower - upper, keypoints)[1].clamp_min(MIN_APERTURE)
        aside, depth = upright(places - lower, keypoints).unbind(-1)
        share = _ease(1 + depth / aperture) * _ease(1 - depth / LID_DEPTH) * _ease(2 - aside.abs() / (LID_WIDTH / 4))
        fall = upright(moved, keypoints)[..., 1]  # (T, h, w)
        nearest = (places - upper).norm(dim=-1).argmin()
        lid = fall.flatten(1)[:, nearest].clamp_min(0)[:, None, None]
        moved = moved - (torch.minimum(fall.clamp_min(0), lid) * share)[..., None] * down
    return moved


def thin_plate_spline(origins: Tensor, targets: Tensor, places: Tensor, rigidity: float = 0.0) -> Tensor:
    """The thin-plate spline ``origins`` (K, 2) → ``targets`` (K, 2), at ``places`` (..., 2).

    With ``rigidity`` 0 it goes through all targets; the greater, the nearer it is to the best affine map.
    """
    from scipy.interpolate import RBFInterpolator  # a quarter of a second, which every command would wait

    x, y, at = (points.reshape(-1, 2).cpu().double().numpy() for points in (origins, targets, places))
    middle = x.mean(0)
    scale = np.linalg.norm(x - middle, axis=1).mean()
    # SciPy's kernel is r² log r, half of r² log r²; so is the rigidity.
    spline = RBFInterpolator((x - middle) / scale, y, smoothing=rigidity / 2, kernel="thin_plate_spline", degree=1)
    return torch.from_numpy(spline((at - middle) / scale)).view(places.shape).to(places)


class Carrier:
    """Carries the movements of one face over to another.

    The places correspond by a thin-plate spline on the key points, the displacements by :func:`face_turn`.

    Args:
        keypoints: (K, 2) the source face's key points.
        size: (height, width) of its frame.
        driving: a track of the driving face.
        rescale: see :func:`face_turn`.
        keep_head: whether the head's motion is carried too.

    Attributes:
        turn: (2, 2), see :func:`face_turn`.
    """

    def __init__(
        self, keypoints: Tensor, size: tuple[int, int], driving: Track, rescale: bool = True, keep_head: bool = False
    ):
        self.keypoints, self.size, self.keep_head, self.anchors = keypoints, size, keep_head, driving.onset
        self.grid = _grid_pixels(driving.field.to(keypoints), size)  # (h, w, 2), of the source
        self.turn = face_turn(keypoints, driving.onset, rescale)
        self.weight = face_weight(keypoints, self.grid)[..., None]  # (h, w, 1)
        # The driving face's pixels that correspond to these: (1, h, w, 2); and by turning and scaling alone, (h, w, 2),
        # what the head's motion acts on.
        self.places = thin_plate_spline(keypoints, driving.onset, self.grid, RIGIDITY)[None]
        (middle, _), (driving_middle, _) = face_axes(keypoints), face_axes(driving.onset)
        back = torch.linalg.inv(face_turn(keypoints, driving.onset))
        self.head_places = (self.grid - middle) @ back.T + driving_middle

    def field(self, track: Track) -> Tensor:
        """Displacement of the source face (T, h, w, 2), normalised, for T frames of the driving face."""
        moved = _sample(track.field, self.places.expand(len(track), -1, -1, -1), track.size) * self.weight
        moved = still_lower_lids(moved @ self.turn.T, self.keypoints, self.grid)
        if self.keep_head:
            moved = moved + track.head_at(self.head_places) @ self.turn.T
        return moved * normalised_units(self.size, track.field)

    def points(self, track: Track) -> Tensor:
        """Displacement of the source's key points (T, K, 2), pixels."""
        moved = track.points - track.onset
        if not self.keep_head:
            moved = moved - track.head_at(self.anchors)
        return moved @ self.turn.T
