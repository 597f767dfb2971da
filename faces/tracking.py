"""Key points and a dense field followed from the onset frame through a clip, to a fraction of a pixel.

Landmark detectors jitter by more than a micro-expression moves, so nothing is detected again: the optical flow from
the onset to each frame is read at the onset's key points, robustly over a small disc, and smoothed in time.  The
head's similarity motion, fitted on the bridge of the nose and around the eye sockets, is kept apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from faces.keypoint_files import (
    TRACKS,
    KeypointError,
    MissingKeypoints,
    making_command,
    read_tensors,
    write_tensors,
)
from media.fingerprint import Fingerprint
from metrics.flow import fit_similarity, make_dis
from modules.facial_prior import NUM_KEYPOINTS
from modules.track import Track, face_axes, face_weight

DISC_RADIUS = 0.03  # of the frame's larger side: the neighbourhood whose median motion a key point takes
TIME_SIGMA = 0.7  # frames
FIELD_STEP = 4  # pixels between the cells of the field; the motion network works at a quarter of the size too
FIELD_SIGMA = 2.0  # pixels of a face whose eyes are 96 pixels apart
HEAD_RADIUS = 0.11  # of the inter-ocular distance
MIN_HEAD_PIXELS = 50
STILL_FRAMES = 6


def track_keypoints(frames: Iterable[np.ndarray], keypoints: Tensor) -> Track:
    """Follow a face.

    Args:
        frames: uint8 (H, W, 3) each, the onset first.
        keypoints: (18, 2), (x, y) in pixels of the onset frame.

    Returns:
        the movement of every frame; row 0 of ``points`` is ``keypoints`` exactly, and nothing else moves there.
    """
    follower, moves = None, []
    for frame in frames:
        grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
        follower = follower or _Follower(grey, keypoints)
        moves.append(follower.follow(grey))
    if follower is None:
        raise ValueError("a clip without frames has no track")
    field, moved, head = (_smooth(curves) for curves in zip(*moves, strict=True))
    onset = keypoints.float()
    return Track(onset, onset + moved, field, head, size=follower.onset.shape)


def camera_noise(first: np.ndarray, second: np.ndarray) -> float:
    """Standard deviation, in grey levels, of the noise between two successive frames, uint8 (H, W, 3).

    Robust to what moves: from the median deviation of their difference's finest detail.
    """
    a, b = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in (first, second))
    detail = cv2.filter2D(a - b, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6)  # norm 1
    return float(1.4826 * np.median(np.abs(detail)) / np.sqrt(2))


def still_jitter(frames: Iterable[np.ndarray], keypoints: Tensor, seed: int = 0) -> tuple[float, float] | None:
    """How much a track moves where nothing does: RMS pixels of the key points, and of the field on the face.

    A clip's onset is repeated with the noise of its camera, taken from the next frame that is not a mere copy, and
    followed; None where there is no such frame.
    """
    frames = iter(frames)
    first = next(frames)
    second = next((frame for frame in frames if not np.array_equal(frame, first)), None)
    if second is None:
        return None
    noise = np.random.default_rng(seed).standard_normal((STILL_FRAMES, *first.shape[:2], 1))
    still = np.clip(np.rint(first + camera_noise(first, second) * noise), 0, 255).astype(np.uint8)
    track = track_keypoints([first, *still], keypoints)
    moved, field = track.points[1:] - keypoints, track.field[1:] + track.head_at(track.grid)[1:]
    on_face = face_weight(keypoints.float(), track.grid) == 1
    return tuple(float(values.square().sum(-1).mean().sqrt()) for values in (moved, field[:, on_face]))


def _smooth(curves: list[np.ndarray]) -> Tensor:
    """Smoothed in time, and 0 at the onset: float32 (T, ...)."""
    smooth = gaussian_filter1d(np.stack(curves), TIME_SIGMA, axis=0, mode="nearest")
    return torch.from_numpy(smooth - smooth[:1]).float()


class _Follower:
    """Optical flow from one onset frame, read where it is wanted."""

    def __init__(self, onset: np.ndarray, keypoints: Tensor):
        self.onset, self.dis, self.started = onset, make_dis(), False
        height, width = onset.shape
        self.discs = _discs(keypoints.numpy(), onset.shape)
        self.support = head_support(keypoints, onset.shape)
        self.sigma = max(1.0, FIELD_SIGMA * float(face_axes(keypoints)[1].norm()) / 96)
        rows = np.linspace(0, height - 1, max(2, round(height / FIELD_STEP)), dtype=np.float32)
        columns = np.linspace(0, width - 1, max(2, round(width / FIELD_STEP)), dtype=np.float32)
        self.cells = np.meshgrid(columns, rows)  # x, y

    def follow(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The face's own field (h, w, 2), the key points' whole displacement (K, 2), the head's (2, 3); pixels."""
        flow = self.dis.calc(self.onset, frame, None) if self.started else np.zeros((*frame.shape, 2), np.float32)
        self.started = True
        moved = np.median(flow[self.discs[..., 1], self.discs[..., 0]], axis=1)
        head = self._head(flow)
        smooth = cv2.GaussianBlur(flow, (0, 0), self.sigma)
        coarse = cv2.remap(smooth, *self.cells, cv2.INTER_LINEAR)
        cells = np.stack(self.cells, axis=-1)
        return coarse - (cells @ head[:, :2].T + head[:, 2]).astype(np.float32), moved, head

    def _head(self, flow: np.ndarray) -> np.ndarray:
        x, y = self.support.T
        if len(x) < MIN_HEAD_PIXELS:  # the face is all but outside the frame: nothing to fit to
            return np.zeros((2, 3), np.float32)
        motion = fit_similarity(self.support, flow[y, x])
        linear = np.array([[motion.scale, -motion.rotation], [motion.rotation, motion.scale]])
        return np.column_stack([linear, motion.shift - linear @ motion.centre]).astype(np.float32)


def head_support(keypoints: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Pixels (N, 2) of discs that move with the head alone: the bridge of the nose and the rims of the eye sockets.

    They are those of the motion figures (``metrics.canonical.head_centres``), found from the 18 key points: the lids
    give the eyes, rows 12–15 the nose wings and with them d, the gap of the inner eye corners.
    """
    points = keypoints.double().numpy()
    middle, right = (axis.double().numpy() for axis in face_axes(keypoints))
    iod = np.linalg.norm(right)
    x, y = right, np.array([-right[1], right[0]])  # one inter-ocular distance each
    gap = points[14, 1] - points[4, 1] + points[15, 1] - points[6, 1]  # 2·(d/2)
    wings = (points[12] + points[13]) / 2
    root, tip = points[2], points[2] + 0.75 * (wings - points[2])
    inner = [middle + sign * gap / 2 * x / iod for sign in (-1, 1)]
    outer = [middle + sign * (0.5 + (0.5 - gap / 2 / iod)) * x for sign in (-1, 1)]
    centres = [root + share * (tip - root) for share in (0, 1 / 3, 2 / 3, 1)]
    centres += [(root + corner) / 2 for corner in inner] + [corner + 0.16 * y for corner in inner]
    centres += [corner + sign * 0.16 * x + 0.05 * y for sign, corner in zip((-1, 1), outer, strict=True)]
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = np.zeros(size, bool)
    for centre in centres:
        inside |= np.hypot(columns - centre[0], rows - centre[1]) <= HEAD_RADIUS * iod
    rows, columns = np.nonzero(inside)
    return np.column_stack([columns, rows])


def _discs(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Integer cells (K, N, 2), (x, y), of a disc around each point, kept inside the frame."""
    radius = max(1, round(DISC_RADIUS * max(size)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    offsets = np.stack([x, y], axis=-1)[np.hypot(x, y) <= radius]
    cells = np.rint(points)[:, None].astype(int) + offsets
    return np.clip(cells, 0, np.array(size[::-1]) - 1)


def save_track(folder: str | Path, name: str, track: Track, clip: Fingerprint | None = None) -> Path:
    """Write a clip's track to ``folder/tracks/<name>.pt``, atomically; the field in half precision (0.01 pixel).

    ``clip`` is the fingerprint of the clip that was followed.
    """
    content = {**vars(track), "field": track.field.half(), "size": torch.tensor(track.size)}
    if clip is not None:
        content["clip"] = str(clip)
    return write_tensors(Path(folder) / TRACKS, name, content)


def load_track(folder: str | Path, name: str) -> Track:
    """A clip's track as it is stored, the field in half precision and mapped: long clips cost no memory.

    Raises:
        MissingKeypoints: there is none; the message says which command makes it.
        KeypointError: the file is broken, or of an earlier version.
    """
    return _read_track(folder, name, checked=False)[0]


def is_current(folder: str | Path, name: str, clip: Path, keypoints: Tensor) -> bool | None:
    """Whether a clip's track was made from ``clip`` as it is now and from these key points (18, 2); None where it
    does not say, being of an earlier version or another program.

    Raises: as :func:`load_track`.
    """
    track, made_from = _read_track(folder, name)
    if not torch.equal(track.onset, keypoints):
        return False
    return None if made_from is None else made_from.fits(clip)


def check_track(folder: str | Path, name: str, clip: Path, keypoints: Tensor) -> bool:
    """Refuse a track that was made from another clip or other key points; whether it says what it was made from.

    Raises:
        KeypointError: as :func:`load_track`, or it was.
    """
    current = is_current(folder, name, clip, keypoints)
    if current is False:
        raise KeypointError(
            f"the track of {name!r} in {Path(folder) / TRACKS} was made from another clip, or from other key "
            f"points, than there are now for {clip}. Make it anew with: {making_command(folder, ' --track')}"
        )
    return current is not None


def _read_track(folder: str | Path, name: str, checked: bool = True) -> tuple[Track, Fingerprint | None]:
    """A track, and of which clip it is, where the file says so."""
    try:
        content = read_tensors(Path(folder) / TRACKS, name, checked)
    except MissingKeypoints as error:
        raise MissingKeypoints(
            f"no tracked key points for the clip {name!r} in {Path(folder) / TRACKS}. Make them with: "
            f"{making_command(folder, ' --track')}"
        ) from error
    made_from = Fingerprint.parse(content.pop("clip", None)) if isinstance(content, dict) else None
    problem = _problem(content)
    if problem:
        remedy = making_command(folder, " --track --overwrite")
        raise KeypointError(f"the track of {name!r} {problem}. Make it anew with: {remedy}")
    size = tuple(int(side) for side in content.pop("size"))
    return Track(**content, size=size), made_from


def _problem(content: object) -> str | None:
    """What is wrong with a track file's content, None where nothing is."""
    names = {"onset", "points", "field", "head", "size"}
    if not isinstance(content, dict) or set(content) != names:
        return f"holds {_kind(content)}; expected the tensors {', '.join(sorted(names))}"
    if not all(isinstance(value, Tensor) for value in content.values()):
        return "holds things that are no tensors"
    if not all(torch.isfinite(content[key]).all() for key in ("onset", "points", "head")):
        return "holds NaN or infinite values"
    frames = content["points"].shape[0] if content["points"].dim() else 0
    expected = {
        "onset": (NUM_KEYPOINTS, 2), "points": (frames, NUM_KEYPOINTS, 2), "head": (frames, 2, 3), "size": (2,),
        "field": (frames, *content["field"].shape[1:3], 2),
    }  # fmt: skip
    wrong = [f"{key} {tuple(content[key].shape)}" for key, shape in expected.items() if content[key].shape != shape]
    return f"has {', '.join(wrong)}; expected {expected}" if wrong else None


def _kind(content: object) -> str:
    if isinstance(content, Tensor):
        return f"one tensor {tuple(content.shape)}"
    return f"a {type(content).__name__}" + (f" of {', '.join(map(str, content))}" if isinstance(content, dict) else "")
