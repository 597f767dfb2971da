"""What came of photos, at a glance: stills of all apices beside the photos, on one page, and labels where there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np

from animation.cast import Cast
from animation.clip_animator import Take
from animation.moving_face import DIFFERENCE_GAIN, MAGNIFIED, MovingFace
from animation.pairs import Pair
from corpora.generated import GeneratedSet
from media import write_image
from pages import write_page

PAGE = "contact_sheet.html"
STILLS = "apex"  # folder


class ContactSheet:
    """``<out>/contact_sheet.html`` and the stills it shows, ``<out>/apex/<driving>-<source>.png``.

    Attributes:
        labelled: ``<out>/clips.csv``, of results whose driving clips have labels.
    """

    def __init__(self, out: Path, cast: Cast):
        self.out, self.cast = out, cast
        self.labelled = GeneratedSet(out, "png")

    def _still(self, pair: Pair) -> Path:
        return self.out / STILLS / f"{pair.name}.png"

    def holds(self, pair: Pair) -> bool:
        """Whether a pair's still is there."""
        return self._still(pair).is_file()

    def watch(self, take: Take) -> Iterator[np.ndarray]:
        """The frames of a take, as they are to be written; after the last one its still is made."""
        source, driving = self.cast.sources.face(take.pair.source), self.cast.clips
        moving = MovingFace(take, source, driving.open(take.pair.driving), driving.fit, self.cast.paste)
        yield from moving
        write_image(self._still(take.pair), moving.apex_still())

    def write(self) -> None:
        """The page as of now; it can be looked at while results are being made."""
        pairs = [pair for pair in self.cast.pairs if self.holds(pair)]
        stills = [(pair.driving, pair.source, quote(f"{STILLS}/{pair.name}.png"), self._result(pair)) for pair in pairs]
        left_out = [(path.name, why) for path, why in self.cast.left_out.items()]
        write_page(
            self.out / PAGE, "contact_sheet.html", title="Results at their apices", stills=stills, left_out=left_out,
            total=len(self.cast.pairs), gain=DIFFERENCE_GAIN, times=MAGNIFIED,
        )  # fmt: skip

    def _result(self, pair: Pair) -> str:
        """The video, relative to the page; "" where results are folders of frames."""
        found = (self.out / f"{pair.name}{suffix}" for suffix in (".mp4", ".gif"))
        return next((quote(path.name) for path in found if path.is_file()), "")
