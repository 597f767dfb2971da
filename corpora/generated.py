"""Generated clips as a labelled data set: movement and labels of the driving clip, the person of the source.

The layout is that of every corpus: ``<root>/train/<driving>-<source>/<frame>.png`` and ``<root>/clips.csv``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from corpora import ClipRecord, read_clips, write_clips

CORPUS = "generated"
SPLIT = "train"  # made clips are there to be learnt from; only recorded ones are fit to test with
# Action units (FACS) of each region of `modules.motion_control`.
UNIT_REGIONS = {
    "brows": (1, 2, 4),
    "eyes": (5, 7, 41, 42, 43, 44, 45, 46),
    "nose": (9, 38, 39),
    "cheeks": (6,),
    "mouth": (10, *range(11, 29)),
}
# The person's right (R in FACS) is on the left of the picture.
PERSONS_SIDE = {"left": "R", "right": "L"}
_UNIT = re.compile(r"([LR]?)(\d+)([A-E]?)")


def split_units(action_units: str) -> list[tuple[str, str, str]]:
    """(side, unit, intensity) of each unit of a label: ``"L12B+4"`` → ``[("L", "12", "B"), ("", "4", "")]``.

    What is no unit is passed over, as coders' remarks are.
    """
    found = (_UNIT.fullmatch(part.strip()) for part in action_units.split("+"))
    return [match.groups() for match in found if match]


def units_of_regions(action_units: str, regions: Iterable[str] | None) -> str:
    """The action units that still move where only ``regions`` do: ``"L12+4"`` and ``("mouth",)`` → ``"L12"``.

    Of a unit on both sides, half a region keeps one: ``"12"`` and ``("mouth:left",)`` → ``"R12"``, since the picture's
    left is the person's right.  ``None`` keeps all.
    """
    if regions is None:
        return action_units
    sides: dict[int, set[str]] = {}
    for name in regions:
        region, _, side = name.partition(":")
        for unit in UNIT_REGIONS[region]:
            sides.setdefault(unit, set()).update({PERSONS_SIDE[side]} if side else {"L", "R"})
    kept = []
    for side, unit, intensity in split_units(action_units):
        moving = sides.get(int(unit), set()) & ({side} if side else {"L", "R"})
        if moving:
            kept.append(f"{'' if moving == {'L', 'R'} else moving.pop()}{unit}{intensity}")
    return "+".join(kept)


class GeneratedSet:
    """Writes generated clips and their rows of ``clips.csv``.

    Args:
        root: folder of the data set; clips of an earlier run in it stay.
        frames: folder in it where the clips' frames lie.

    Raises:
        ValueError: there is a data set that was not generated: it would be mixed up with made clips.
    """

    def __init__(self, root: str | Path, frames: str = SPLIT):
        self.root, self.frames = Path(root), frames
        self.list = self.root / "clips.csv"
        # The list as it was read last, and the file that it was then: together, as threads share them.
        self._known: tuple[tuple[int, ...] | None, dict[str, ClipRecord]] = None, {}
        foreign = next((record for record in self._records().values() if record.corpus != CORPUS), None)
        if foreign is not None:
            raise ValueError(
                f"{self.root} is a data set of {foreign.corpus}: generated clips would be mixed with recorded ones. "
                "Give animate_params.dataset_out another folder."
            )

    def _records(self) -> dict[str, ClipRecord]:
        state, (before, records) = self._state(), self._known
        if state != before:  # another process may have added to it
            records = {} if state is None else {record.clip: record for record in read_clips(self.list)}
            self._known = state, records
        return records

    def _state(self) -> tuple[int, ...] | None:
        try:
            with self.list.open("rb") as file:  # opened: of its name alone, a network's folder may tell an old state
                stat = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def folder(self, name: str) -> Path:
        """Where the frames of a clip go, as lossless pictures."""
        return self.root / self.frames / name

    def holds(self, name: str) -> bool:
        """Whether a clip is there, frames and row."""
        return name in self._records() and self.folder(name).is_dir()

    def add(self, record: ClipRecord) -> None:
        """Add or replace the row of a clip, once its frames are written; no other process may write the list now."""
        records = {**self._records(), record.clip: record}
        write_clips(self.list, (records[name] for name in sorted(records)))
        self._known = self._state(), records


def generated_record(
    name: str,
    driving: ClipRecord,
    source: ClipRecord,
    fps: float,
    frames: int,
    marks: tuple[int | None, int | None, int | None],
    amplify: float = 1.0,
    regions: Iterable[str] | None = None,
) -> ClipRecord:
    """The row of the generated clip ``name`` with that many ``frames``.

    Args:
        driving: gives the labels; of action units, those of ``regions`` that move.  Where none is left, or
            ``amplify`` is 0, there is no expression: the emotion is ``neutral``.
        source: gives the subject.
        marks: frames of the clip that show the driving clip's onset, apex and offset; None where not annotated.
    """
    units = units_of_regions(driving.action_units, regions)
    labels = {"action_units": units}
    if units != driving.action_units:
        labels["objective_class"] = ""  # it goes by the action units
    if amplify == 0 or (driving.action_units and not units):
        labels = {"action_units": "", "emotion": "neutral", "class3": "", "objective_class": ""}
    onset, apex, offset = marks
    return replace(
        driving, clip=name, split=SPLIT, corpus=CORPUS, subject=source.subject,
        source=f"{source.clip} ({source.corpus}) driven by {driving.clip} ({driving.corpus})",
        fps=fps, frames=frames, onset=None, apex=None, offset=None, box=None, identity="",
        onset_index=onset, apex_index=apex, offset_index=offset, **labels,
    )  # fmt: skip
