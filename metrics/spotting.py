"""Where a micro-expression begins, is strongest and ends, from how far the face has moved in each frame.

The curve is the root mean square over the regions of the face but the eyelids, whose blinks would outdo any
micro-expression, of the motion since the first frame, the head's removed.  What is found is a proposal for a coder: the
first frame is taken for a neutral one, and of several expressions the strongest counts.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .canonical import LIDS, MIN_COVERAGE, REGIONS
from .figures import EPS
from .motion import ClipMotion

TIME_SIGMA = 1.0  # frames; less, and noise moves the apex of a slow movement
REST = 0.05  # share of the rise up to which the face counts as at rest


def motion_curve(motion: ClipMotion) -> np.ndarray | None:
    """How far the face has moved since the first frame: (T,), IOD; None where no region moves by more than the noise.

    Regions that lie outside the picture are left out.
    """
    face = ~np.isin(REGIONS, LIDS) & (motion.coverage >= MIN_COVERAGE)
    curves = gaussian_filter1d(motion.curves[face], TIME_SIGMA, axis=1, mode="nearest")
    lengths = np.linalg.norm(curves - curves[:, :1], axis=2)
    return np.sqrt((lengths**2).mean(axis=0)) if lengths.max(initial=0) > EPS else None


def propose_marks(
    curve: np.ndarray, onset: int | None = None, apex: int | None = None, offset: int | None = None
) -> tuple[int, int, int]:
    """Positions of onset, apex and offset on a :func:`motion_curve` (T,); those that are given stay.

    The apex is the highest point.  Onset and offset are the last before and the first after it that come within 5 % of
    the lowest on that side.
    """
    low, high = (0 if onset is None else onset), (len(curve) - 1 if offset is None else offset)
    apex = low + int(curve[low : high + 1].argmax()) if apex is None else apex
    onset = apex - _first_rest(curve[: apex + 1][::-1]) if onset is None else onset
    offset = apex + _first_rest(curve[apex:]) if offset is None else offset
    return onset, apex, offset


def _first_rest(falling: np.ndarray) -> int:
    """Where a curve (T,) that starts at its peak first comes near its lowest point."""
    return int((falling <= falling.min() + REST * (falling[0] - falling.min())).argmax())
