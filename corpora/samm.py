"""SAMM (Davison et al. 2018): 200 frames a second, grey, 159 micro-expressions with action units.

As its owners ship it, with notes above the header of the sheet:

    SAMM_Micro_FACS_Codes_v2.xlsx
    SAMM/006/006_1_2/006_05562.jpg
"""

from __future__ import annotations

import functools
import re

from corpora.coded import Coding, read_coded
from corpora.raw import Layout

NEGATIVE = ("anger", "contempt", "disgust", "fear", "sadness")

LAYOUT = Layout(
    corpus="samm",
    title="SAMM",
    pattern=re.compile(r"/0*(?P<subject>\d{1,3})/(?P<clip>\d{3}_\d+_\d+)$"),
    clip=re.compile(r"\d{3}_\d+_\d+"),
    subject=re.compile(r"\d{3}"),
    expected="SAMM_Micro_FACS_Codes_v2.xlsx and SAMM/006/006_1_2/006_05562.jpg …",
)

CODING = Coding(
    layout=LAYOUT,
    sheets=("*samm*facs*", "*samm*codes*", "*samm*micro*"),
    example="SAMM_Micro_FACS_Codes_v2.xlsx",
    published=(159,),
    kinds=("frames",),
    kind=lambda names, files: "frames",
    subject=lambda number: f"{number:03d}",
    name=lambda subject, clip: clip,  # begins with the subject
    # MEGC's composite set has these alone: no other.
    class3={"happiness": "positive", "surprise": "surprise", **dict.fromkeys(NEGATIVE, "negative")},
)

read = functools.partial(read_coded, coding=CODING)
