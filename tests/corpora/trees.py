"""Tiny corpora in the layouts of the real ones, with real spreadsheets.

Frames tell who they show and when: each subject has a tint of its own, and the picture gets brighter frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import openpyxl
from PIL import Image

import media
from corpora import casme2, folder, megc2021, samm, smic_hs
from corpora.coded import Source
from corpora.raw import Listing
from corpora.tree import scan
from faces.crop import to_gray
from tests.faces.pictures import face_crop

LAYOUTS = tuple(module.LAYOUT for module in (casme2, samm, smic_hs, megc2021))
READERS = {"casme2": casme2, "samm": samm, "smic_hs": smic_hs, "megc2021": megc2021, "folder": folder}
SIDE = 200  # pixels; the face is about 90
PLAIN = np.full((16, 16, 3), 90, np.uint8)  # where nobody looks at the pictures

CASME2_HEADER = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
                 "Estimated Emotion"]  # fmt: skip
SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration",
               "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]  # fmt: skip
SMIC_HEADER = ["Subject", "Filename", "OnsetF", "OffsetF", "TotalMF1", "Onset2F", "Offset2F", "TotalMF2", "Onset3F",
               "Offset3F", "TotalMF3", "FirstF", "LastF", "TotalVL", "Emotion"]  # fmt: skip


def face_frame(subject: int, time: int) -> np.ndarray:
    """A portrait in the subject's tint at a time: uint8 (SIDE, SIDE, 3)."""
    base = to_gray(face_crop("hopper" if subject % 2 else "astronaut", SIDE, "square", 0.6)).astype(np.float32)
    tinted = base * np.array([1.0, expected_tint(subject), 1.0], np.float32)
    return np.clip(tinted * (0.6 + 0.015 * time), 0, 255).astype(np.uint8)


def write_frames(
    clip: Path, numbers: Iterable[int], pattern: str, subject: int | None = None, first: int | None = None
) -> Path:
    """Frames of a clip, called ``pattern % number``; without a subject, small plain pictures.

    ``first`` is the number that shows time 0; by default the smallest.
    """
    clip.mkdir(parents=True, exist_ok=True)
    numbers = list(numbers)
    first = min(numbers) if first is None else first
    for number in numbers:
        image = PLAIN if subject is None else face_frame(subject, number - first)
        Image.fromarray(image).save(clip / (pattern % number))
    return clip


def write_sheet(path: Path, rows: Iterable[Sequence], notes: int = 0) -> Path:
    """A spreadsheet with ``notes`` lines above the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for line in range(notes):
        book.active.append([f"Note {line + 1}: about the coding"] if line % 2 == 0 else [])
    for row in rows:
        book.active.append(list(row))
    book.save(path)
    return path


def casme2_row(subject: int, clip: str, onset: object, apex: object, offset: object, units: str, emotion: str) -> list:
    return [subject, clip, None, onset, apex, offset, None, units, emotion]


def samm_row(clip: str, onset: int, apex: int, offset: int, units: str, emotion: str, objective: int) -> list:
    length = offset - onset + 1
    return [clip.split("_")[0], clip, 1, onset, apex, offset, length, "Micro", units, emotion, objective, ""]


def read(corpus: str, root: Path, **options: object) -> Listing:
    """The listing of a corpus as prepare.py reads it."""
    return READERS[corpus].read(Source(scan(root), LAYOUTS, **options))


def rules(listing: Listing, rule: str) -> list[str]:
    """Clips that a rule was noted for."""
    return [notice.clip for notice in listing.notices if notice.rule == rule]


def text_of(listing: Listing, rule: str) -> str:
    """What was noted by a rule, all of it."""
    return "; ".join(notice.text for notice in listing.notices if notice.rule == rule)


def brightness(clip: Path) -> np.ndarray:
    """Mean red of each frame of a written clip, in the order in which the project reads them."""
    return media.open_clip(clip).read_all()[..., 0].mean(axis=(1, 2))


def tint(clip: Path) -> float:
    """Green of a written clip in proportion to red: what tells the subjects apart."""
    frames = media.open_clip(clip).read_all().astype(float)
    return float(frames[..., 1].mean() / frames[..., 0].mean())


def expected_tint(subject: int) -> float:
    """The same of the frames that show a subject; ten subjects can be told apart."""
    return 1.0 - 0.05 * (subject % 10)
