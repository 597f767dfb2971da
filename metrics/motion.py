"""Does the generated face make the same micro-expression?  Motion fidelity from frames in memory.

Every clip is measured by itself (:func:`measure_motion`: the mean motion of 19 regions of the face since the onset
frame, head motion removed), then two clips are compared (:func:`compare_motion`).

Units: motion in inter-ocular distances (IOD) of the clip's own face, in its upright axes (x to the image's right,
y down); time in driving frames.  Source: shared definition ``metric.md`` §2.

Where the definition leaves room, this is chosen, each time what the published figures (``metric.md`` §6) agree with:

- smoothed curves are set to 0 at the onset frame (not shifted to 0);
- a generated clip with other frames is resampled before it is smoothed;
- a curve whose standard deviation is under EPS/4 has no correlation in time (0 in ``tcor`` and ``tcor_proj``): what
  is left there is noise;
- inactive regions never include an active one; without any, ``leak`` and ``leak_frac`` are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from . import canonical, figures
from .canonical import IOD, LIDS, REGIONS, CanonicalFace, MetricError, disc, head_points, locate_face, points_in
from .figures import EPS
from .flow import canonical_flows, fit_similarity
from .timing import resample

MIN_SNR = 4.0  # peak driving motion / EPS below which a clip says nothing
CELL = 8  # canonical pixels per cell of the motion map


@dataclass(frozen=True)
class ClipMotion:
    """The measured motion of one clip, not yet smoothed.

    Attributes:
        times: (T,) driving frame indices, ``times[0]`` the onset.
        curves: (19, T, 2) motion of ``REGIONS`` since the onset, head motion removed, IOD (x, y).
        raw: the same with head motion left in.
        coverage: (19,) share of each region's disc that lies in the picture.
        head: (T, 4) head motion: shift (x, y) in IOD at its support's centre, scale, rotation in radians.
        field: (T, 36, 32, 2) float32 motion map, head removed: means over 8×8 canonical pixels, IOD.
        face: where the face lies.
    """

    times: np.ndarray
    curves: np.ndarray
    raw: np.ndarray
    coverage: np.ndarray
    head: np.ndarray
    field: np.ndarray
    face: CanonicalFace


@dataclass(frozen=True)
class MotionScore:
    """The comparison of a generated clip with its driving clip.

    Attributes:
        figures: name → value, see :data:`FIGURES`.
        active, inactive: names of the regions that move and that should keep still, from the driving clip.
        times: (T,) driving frames of the curves.
        driving, generated: name → (T, 2) smoothed curves in IOD, for every region measured in both clips.
    """

    figures: dict[str, float]
    active: tuple[str, ...]
    inactive: tuple[str, ...]
    times: np.ndarray
    driving: dict[str, np.ndarray] = field(repr=False)
    generated: dict[str, np.ndarray] = field(repr=False)

    @property
    def reliable(self) -> bool:
        """Whether the driving clip moves enough above the noise (SNR ≥ 4) to be part of a mean."""
        return self.figures["snr"] >= MIN_SNR


FIGURES: dict[str, str] = {
    "rho": "correlation of the motion over all regions and frames, free of amplitude (1 perfect, 0 still)",
    "vcor": "the same for frame-to-frame motion of the active regions: timing (1 perfect, 0 still)",
    "gain": "amplitude of the driving motion that is reproduced, active regions (1 perfect, 0 still)",
    "skill": "share of the driving motion that is explained, all regions (1 perfect, 0 still, < 0 worse than still)",
    "dir": "magnitude-weighted cosine of the directions (1 perfect, 0 still)",
    "leak": "RMS motion of regions that should keep still / RMS of the driving clip's active ones",
    "apex_err": "distance of the apices, distinct driving frames (their number if the result never moves)",
    "half_err": "the same for the frames that first reach half of the peak",
    "rho_rel": "rho after the mean over regions is removed frame by frame",
    "rho_apex": "rho of the mean motion around the apex",
    "rho_raw": "rho with head motion left in: high for any method that copies the head, a warning only",
    "amp": "ratio of RMS motion, active regions, whatever its direction",
    "gain_px": "gain in pixels of the two clips instead of IOD",
    "tcor": "Pearson correlation in time of the motion's length, active regions",
    "tcor_proj": "the same along each region's main driving direction",
    "leak_frac": "share of the generated motion that lies in regions that should keep still",
    "jump": "motion already present at the first frame after the onset / RMS of the driving clip's active regions",
    "lid_rho": "rho of the eyelids alone (blinks; part of no other figure)",
    "lid_gain": "gain of the eyelids alone",
    "lid_peak": "largest motion of the driving clip's eyelids, IOD",
    "snr": "largest regional motion of the driving clip / 0.003 IOD; below 4 the pair is left out of means",
}


def measure_motion(frames: np.ndarray, landmarks: np.ndarray, times: np.ndarray | None = None) -> ClipMotion:
    """Motion of a clip since its frame 0.

    Args:
        frames: (T, H, W, 3) or (T, H, W) uint8, T ≥ 2.
        landmarks: (68, 2) pixels (x, y) of frame 0.
        times: (T,) increasing driving frame indices; 0, 1, 2 … by default.

    Raises:
        MetricError: fewer than two frames, a blank face, landmarks that do not fit.
    """
    frames = np.asarray(frames)
    if frames.ndim not in (3, 4) or frames.dtype != np.uint8 or len(frames) < 2:
        raise MetricError(f"a clip must be uint8 frames (T ≥ 2, H, W[, 3]), got {frames.dtype} of shape {frames.shape}")
    times = np.arange(len(frames), dtype=np.float64) if times is None else np.asarray(times, np.float64)
    if len(times) != len(frames):
        raise MetricError(f"{len(frames)} frames need as many times, got {len(times)}")
    face = locate_face(landmarks, *frames.shape[1:3])
    samples = _Samples(face)
    measured = [samples.read(flow) for flow in canonical_flows(frames, face)]
    curves, raw, head, maps = (np.stack(part) for part in zip(*measured, strict=True))
    return ClipMotion(
        times, curves.swapaxes(0, 1), raw.swapaxes(0, 1), samples.coverage, head, maps, face
    )  # (T, 19, 2) → (19, T, 2)


class _Samples:
    """Where the flow of one clip is read: the head's discs, the regions' discs, the cells of the motion map."""

    def __init__(self, face: CanonicalFace):
        self.head_points = head_points(face)
        if len(self.head_points) < 100:
            raise MetricError("nose and eyes lie outside the picture; the crop must hold the whole face")
        self.head_index = tuple(self.head_points[:, ::-1].T.astype(int))
        radius, centres = canonical.REGION_RADIUS, canonical.region_centres(face.landmarks)
        masks = [disc(centre, radius) & face.inside for centre in centres]
        full = np.pi * radius**2
        self.coverage = np.array([min(mask.sum() / full, 1.0) for mask in masks])
        self.regions = [(np.flatnonzero(mask), points_in(mask).mean(axis=0)) if mask.any() else None for mask in masks]
        width, height = canonical.CANVAS_WIDTH // CELL, canonical.CANVAS_HEIGHT // CELL
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        self.cells = (np.stack([columns, rows], axis=-1) + 0.5) * CELL - 0.5  # (36, 32, 2) (x, y)

    def read(self, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Flow (288, 256, 2) in canonical pixels → curves, raw curves, head motion, motion map of one frame."""
        flat = flow.reshape(-1, 2)
        head = fit_similarity(self.head_points, flow[self.head_index])
        raw, local = np.zeros((2, len(REGIONS), 2))
        for region, place in enumerate(self.regions):
            if place is not None:
                raw[region] = flat[place[0]].mean(axis=0, dtype=np.float64)
                local[region] = raw[region] - head.at(place[1])  # the head's motion is linear in position
        cells = cv2.resize(flow, self.cells.shape[1::-1], interpolation=cv2.INTER_AREA)
        head_row = np.array([*head.shift / IOD, head.scale, head.rotation])
        return local / IOD, raw / IOD, head_row, ((cells - head.at(self.cells)) / IOD).astype(np.float32)


def _smoothed(motion: ClipMotion, curves: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Curves (R, T, 2) on ``times``, smoothed (σ = 1 frame), 0 at the onset."""
    smooth = gaussian_filter1d(resample(curves, motion.times, times), 1.0, axis=1, mode="nearest")
    smooth[:, 0] = 0.0
    return smooth


def compare_motion(driving: ClipMotion, generated: ClipMotion) -> MotionScore:
    """All figures of a generated clip against its driving clip.

    A region counts when at least 60 % of its disc lies in the picture in both clips; the eyelids never do.

    Raises:
        MetricError: the two clips have no region in common.
    """
    times = driving.times
    measured = (driving.coverage >= canonical.MIN_COVERAGE) & (generated.coverage >= canonical.MIN_COVERAGE)
    lids = np.isin(REGIONS, LIDS)
    valid = measured & ~lids
    if not valid.any():
        raise MetricError("no region of the face lies in the picture in both clips; the crop must hold the whole face")
    m, g = _smoothed(driving, driving.curves, times), _smoothed(generated, generated.curves, times)
    raw_m, raw_g = _smoothed(driving, driving.raw, times), _smoothed(generated, generated.raw, times)
    active, inactive = figures.split_regions(m[valid])
    values = figures.expression_figures(m[valid], g[valid], active, inactive)
    values["gain_px"] = values["gain"] * generated.face.iod_px / driving.face.iod_px
    values["rho_raw"] = figures.gated_correlation(raw_m[valid], raw_g[valid], EPS)
    values.update(figures.lid_figures(m[measured & lids], g[measured & lids]))
    names = np.array(REGIONS)
    return MotionScore(
        figures={name: values[name] for name in FIGURES},
        active=tuple(names[valid][active].tolist()),
        inactive=tuple(names[valid][inactive].tolist()),
        times=times,
        driving={str(name): m[i] for i, name in enumerate(names) if measured[i]},
        generated={str(name): g[i] for i, name in enumerate(names) if measured[i]},
    )
