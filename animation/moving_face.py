"""One face while it moves: frame by frame back into its photo, magnified, and as a still of its apex."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from animation.clip_animator import Take
from faces.photo import FaceClip, Paster
from media import Clip, resize_frame
from media.side_by_side import difference_to_first, side_by_side

MAGNIFIED = 4  # times as strong as driven: micro-expressions of 1 to 4 pixels become visible, and faces stay faces
DIFFERENCE_GAIN = 6  # of the still
STILL_SIDE = 256  # pixels, of each of its pictures


class MovingFace:
    """A take of a photo's face: iterate over it, once, for the frames of the result, uint8 (H, W, 3).

    Args:
        take: begun, and not iterated over.
        source: the face that moves.
        driving: the clip that moves it, and ``fit``, which brings its frames to the size of the crops.
        paste: put the face back into its photo; else the frames are its crops.

    Attributes:
        crops: the face alone, uint8 (S, S, 3), of all frames given out.
    """

    def __init__(
        self, take: Take, source: FaceClip, driving: Clip, fit: Callable[[np.ndarray], np.ndarray], paste: bool = True
    ):
        self.take, self.source, self.driving, self._fit = take, source, driving, fit
        self._paster = Paster(source) if paste else None
        self.crops: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        for crop in self.take:
            self.crops.append(crop)
            yield self._shown(crop)

    def _shown(self, crop: np.ndarray) -> np.ndarray:
        return crop if self._paster is None else self._paster.paste(crop, self.take.grid)

    def magnified(self, times: float = MAGNIFIED) -> Iterator[np.ndarray]:
        """All frames again, moving ``times`` as strongly: the carried displacements are multiplied by it, as
        ``--amplify`` does.  After the face itself was iterated over, and before another take begins.
        """
        return map(self._shown, self.take.magnified(times))

    @property
    def shown_driving_frames(self) -> np.ndarray:
        """(T,) which driving frame each frame of the result shows."""
        positions = self.take.positions
        return np.arange(self.take.count) if positions is None else np.rint(positions).astype(int)

    def apex_still(self) -> np.ndarray:
        """The apex beside the photo: photo, driving clip, result, result magnified, change since the first frame.

        As long as no other take was begun.  uint8 (height, width, 3).
        """
        apex = self.take.apex
        frame = int(self.shown_driving_frames[apex])
        pictures = {"photo": self.source.clip.frames[0]}
        pictures[f"driving, frame {frame}"] = self._fit(self.driving.read([frame])[0])
        pictures["result"] = self.crops[apex]
        if self.take.is_magnifiable:
            (pictures[f"movement x {MAGNIFIED}"],) = self.take.magnified(MAGNIFIED, [apex])
        change = difference_to_first(np.stack([self.crops[0], self.crops[apex]]), DIFFERENCE_GAIN)[1]
        pictures[f"change since frame 0, x {DIFFERENCE_GAIN}"] = change
        return side_by_side({name: _square(picture)[None] for name, picture in pictures.items()})[0]


def _square(picture: np.ndarray) -> np.ndarray:
    return resize_frame(picture, STILL_SIDE, STILL_SIDE)
