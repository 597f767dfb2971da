"""CASME II (Yan et al. 2014, doi:10.1371/journal.pone.0086041): 200 frames a second, 26 subjects with clips.

As its owners ship it:

    CASME2-coding-20140508.xlsx (or -20190701), CASME2-ObjectiveClasses.xlsx
    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg        onset to offset
    CASME2_RAW/CASME2-RAW/sub01/EP02_01f/img1.jpg       with frames before and after
    Cropped/sub01/EP02_01f/reg_img46.jpg                faces cut out by the owners

Clip names repeat across subjects, so a clip is called ``sub01_EP02_01f`` here.
"""

from __future__ import annotations

import functools
import re

from corpora.coded import Coding, copy_kind, read_coded
from corpora.raw import Layout

MARKS = {"cropped": "cropped", "selected": "selected", "raw": "raw"}  # in folders' names: the copy of the frames

LAYOUT = Layout(
    corpus="casme2",
    title="CASME II",
    pattern=re.compile(r"/sub0*(?P<subject>\d+)/(?P<clip>EP\w+)$", re.I),
    clip=re.compile(r"EP\w+", re.I),
    subject=re.compile(r"sub\d+", re.I),
    expected="CASME2-coding-20140508.xlsx and CASME2_RAW_selected/sub01/EP02_01f/img46.jpg …",
)

CODING = Coding(
    layout=LAYOUT,
    sheets=("*casme*coding*",),
    example="CASME2-coding-20140508.xlsx",
    published=(247, 255),  # the paper's number; the sheet's rows
    kinds=("selected", "raw", "cropped"),
    kind=lambda names, files: copy_kind(files, names[:-2], MARKS, "selected"),
    loose=frozenset({"raw"}),
    cropped=frozenset({"cropped"}),
    subject=lambda number: f"sub{number:02d}",
    name=lambda subject, clip: f"sub{subject:02d}_{clip}",
    # MEGC's composite set has these alone: no others, sadness, fear.
    class3={"happiness": "positive", "surprise": "surprise", "disgust": "negative", "repression": "negative"},
    class_sheets=("*casme*objective*",),
)

read = functools.partial(read_coded, coding=CODING)
