"""The facial prior: 18 action-unit key points and the region map made from them (paper §3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_KEYPOINTS = 18
REGION_SIGMA = 0.75
CUT = 1.0 - 1e-7  # of a map's mean: what equals it is kept, whatever the division rounds it to

# iBUG landmarks, from 0, in the order of the released code, which key point files keep.  Rows 0-11 (brows, nose bridge,
# lids, mouth) are taken as they are, rows 12-17 are moved by the distance d of the inner eye corners.
UNMOVED = (19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59)
MOVED = (  # (landmark, (x, y) shift in units of d)
    (31, (-0.5, 0.0)), (35, (0.5, 0.0)),  # nose wings, towards the cheeks
    (41, (0.0, 0.5)), (46, (0.0, 0.5)),  # lower lids, under the eyes
    (48, (-0.5, 0.0)), (54, (0.5, 0.0)),  # mouth corners, outward
)  # fmt: skip

# Where the 18 rows go when the face is mirrored.
FLIP_PERMUTATION = (1, 0, 2, 5, 6, 3, 4, 8, 7, 11, 10, 9, 13, 12, 15, 14, 17, 16)

# Average face of a 256×256 crop, used for a clip in which no face is found.
TEMPLATE_SIZE = 256
TEMPLATE = (
    (71, 36), (181, 42), (129, 65), (90, 63), (78, 72), (165, 65), (177, 73), (93, 168), (175, 165),
    (162, 169), (137, 173), (111, 172), (84, 134), (183, 133), (78, 98), (177, 99), (67, 168), (201, 165),
)  # fmt: skip


def select_keypoints(landmarks: Tensor) -> Tensor:
    """The 18 action-unit key points of a face.

    Args:
        landmarks: (..., 68, 2) iBUG landmarks, (x, y) in pixels.

    Returns:
        (..., 18, 2) float32, (x, y) in pixels, rows in the order of ``UNMOVED``, then ``MOVED``.
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"expected landmarks of shape (..., 68, 2), got {tuple(landmarks.shape)}")
    landmarks = landmarks.to(torch.float32)
    distance = landmarks[..., 42, 0] - landmarks[..., 39, 0]  # (...,)
    shifts = torch.tensor([shift for _, shift in MOVED], dtype=torch.float32, device=landmarks.device)
    moved = landmarks[..., [index for index, _ in MOVED], :] + distance[..., None, None] * shifts
    return torch.cat([landmarks[..., list(UNMOVED), :], moved], dim=-2)


def template_keypoints(height: int, width: int) -> Tensor:
    """The documented average face, scaled from 256×256 to a height×width frame: (18, 2) float32 pixels."""
    scale = torch.tensor([width / TEMPLATE_SIZE, height / TEMPLATE_SIZE])
    return torch.tensor(TEMPLATE, dtype=torch.float32) * scale


def flip_keypoints(points: Tensor, width: int) -> Tensor:
    """Key points (..., 18, 2) of the horizontally mirrored frame: x → width − 1 − x, left and right exchanged."""
    mirrored = points[..., list(FLIP_PERMUTATION), :].clone()
    mirrored[..., 0] = (width - 1) - mirrored[..., 0]
    return mirrored


@torch.no_grad()
def region_map(
    keypoints: Tensor,
    frame_size: tuple[int, int],
    map_size: tuple[int, int],
    sigma: float = REGION_SIGMA,
) -> Tensor:
    """Region focusing map: where on the face action units move it (paper Eq. 3-4).

    Per point exp(−√L1 / 2σ²) on a 1-based grid, divided by its own maximum and cut at its own mean; then the sum
    over the points, divided by its maximum.

    Args:
        keypoints: (B, K, 2), (x, y) in pixels of the frame.
        frame_size, map_size: (height, width).

    Returns:
        (B, 1, h, w) in [0, 1], on the key points' device, float32, without a gradient.
    """
    if keypoints.dim() != 3 or keypoints.shape[-1] != 2:
        raise ValueError(f"expected key points of shape (B, K, 2), got {tuple(keypoints.shape)}")
    height, width = map_size
    ratio = torch.tensor([width / frame_size[1], height / frame_size[0]], device=keypoints.device)
    points = keypoints.to(torch.float32) * ratio  # (B, K, 2), in cells of the map
    columns = torch.arange(1, width + 1, device=points.device, dtype=points.dtype)
    rows = torch.arange(1, height + 1, device=points.device, dtype=points.dtype)
    sharpness = 1.0 / (2.0 * sigma**2)
    distance_x = (columns - points[..., 0, None]).abs() * sharpness**2  # (B, K, w)
    distance_y = (rows - points[..., 1, None]).abs() * sharpness**2  # (B, K, h)
    nearest = (distance_x.amin(-1) + distance_y.amin(-1)).sqrt()  # (B, K): where a map has its maximum
    # In place: making and fetching (B, K, h, w) again and again is what takes the time.
    maps = (distance_y[..., :, None] + distance_x[..., None, :]).sqrt_()
    maps = torch.sub(nearest[..., None, None], maps, out=maps).exp_().flatten(2)  # (B, K, h·w), divided by its maximum
    mean = maps.mean(-1, keepdim=True)
    maps = F.threshold_(maps.div_(mean), CUT, 0.0).mul_(mean)
    total = maps.sum(dim=1, keepdim=True)
    return total.div_(total.amax(-1, keepdim=True)).unflatten(-1, map_size)  # (B, 1, h, w)
