"""SMIC, the high-speed part (Li et al. 2013): 100 frames a second, 164 micro-expressions of 16 subjects.

As its owners ship it, in one or more of these copies:

    SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image######.bmp
    SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image######.bmp
    SMIC-E_raw image/HS_long/SMIC-HS-E/s01/s1_ne_01/image######.jpg and SMIC-HS-E_annotation.xlsx

The first two hold the expression alone and need no sheet; the extended clips are cut to the sheet's onset and offset,
once for each of up to three expressions.  The emotion is the code in the clip's name: ne, po, sur.
"""

from __future__ import annotations

import re
from dataclasses import replace

from corpora import CORPUS_FPS
from corpora.coded import Source, choose_copies, copy_kind
from corpora.raw import Layout, Listing, RawClip, fit_annotations, is_whole_clip, numbered_frames
from corpora.sheets import Row, find_sheet, read_rows
from corpora.tree import CorpusError, RawFile

KINDS = ("raw", "cropped", "extended")
EMOTIONS = {"ne": "negative", "po": "positive", "sur": "surprise"}
SHEETS = ("*smic*annotation*",)
EXAMPLE = "SMIC-HS-E_annotation.xlsx"
PUBLISHED = (164, 157)  # clips; extended clips
_ELSEWHERE = re.compile(r"(^|[^a-z])(vis|nir|non[_ -]?micro)([^a-z]|$)")
_EVENTS = (("onset", "offset"), ("onset2f", "offset2f"), ("onset3f", "offset3f"))

_CLIP = r"s0*(?P<subject>\d+)_(?P<clip>(?:ne|po|sur)_\d+)"
LAYOUT = Layout(
    corpus="smic_hs",
    title="SMIC-HS",
    # Between subject and clip there may be micro/negative.
    pattern=re.compile(rf"/s0*\d+/(?:[^/]+/){{0,3}}{_CLIP}$", re.I),
    clip=re.compile(_CLIP, re.I),
    subject=re.compile(r"s\d+", re.I),
    expected="SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image000001.bmp …",
)


def _kind(names: tuple[str, ...], files: list[RawFile]) -> str:
    return copy_kind(files, names[:-1], {"cropped": "cropped", "smic-e|hs-e|hs_long": "extended", "raw": "raw"}, "raw")


def read(source: Source) -> Listing:
    """The clips of the corpus; raises as :func:`corpora.coded.read_coded` does, and needs a sheet only for
    extended clips."""
    listing, tree = Listing(), source.tree
    _leave_out(source, listing)
    chosen = choose_copies(source, LAYOUT, KINDS, _kind, listing)
    rows: dict[str, Row] = {}
    if any(kind == "extended" for _, kind, _ in chosen.values()) and source.use_sheet:
        sheet = find_sheet(tree, SHEETS, source.sheet, EXAMPLE, listing)
        rows = {_name(match): row for row in read_rows(sheet) if (match := LAYOUT.clip.fullmatch(row.text("clip")))}
    for (subject, code), (folder, kind, _) in chosen.items():
        name = f"s{subject}_{code}"
        clip = RawClip(
            name=name, corpus_name=name, corpus="smic_hs", subject=f"s{subject}", source=folder,
            fps=CORPUS_FPS["smic_hs"], cropped=kind == "cropped", **_labels(folder, name, listing),
            frames=numbered_frames(tree.images(folder), name, listing),
        )  # fmt: skip
        listing.clips += _extended(clip, rows.get(name), listing) if kind == "extended" else _short(clip, listing)
    there = {f"s{subject}_{code}" for subject, code in chosen}
    for name, row in rows.items():
        if name not in there:
            listing.note("listed-but-absent", name, f"line {row.line} of {sheet.name}")
    return listing.finish(PUBLISHED)


def _name(match: re.Match) -> str:
    return f"s{int(match['subject'])}_{match['clip'].lower()}"


def _leave_out(source: Source, listing: Listing) -> None:
    """Take the other cameras' folders and the clips without an expression out of the tree.

    Raises:
        CorpusError: the tree itself is one of them.
    """
    own = source.tree.names("")[-1]
    if _ELSEWHERE.search(own.lower()):
        raise CorpusError(
            f"--raw {source.tree.root} is SMIC's {own} part, not the high-speed one: give the folder HS beside it. "
            "Other parts can be read with: python prepare.py folder --fps 25"
        )
    folders = [f for f in source.tree.image_folders() if any(_ELSEWHERE.search(part.lower()) for part in f.split("/"))]
    for folder in folders:
        del source.tree.folders[folder]
    if folders:
        listing.note("not-micro", "", f"{len(folders)} folders of non_micro, VIS or NIR, e.g. {folders[0]}")


def _labels(folder: str, name: str, listing: Listing) -> dict[str, str]:
    emotion = EMOTIONS[name.split("_")[1]]
    above = folder.lower().split("/")[:-1]
    other = next((label for label in EMOTIONS.values() if label != emotion and label in above), None)
    if other is not None:
        listing.note("label-conflict", name, f"{emotion} by its name, {other} by its folder {folder}")
    return {"emotion": emotion, "class3": emotion}


def _short(clip: RawClip, listing: Listing) -> list[RawClip]:
    """A folder that holds the expression alone: its ends are onset and offset."""
    if not is_whole_clip(clip.frames, clip.name, clip.source, listing):
        return []
    return [replace(clip, onset=clip.frames[0].number, offset=clip.frames[-1].number)]


def _extended(clip: RawClip, row: Row | None, listing: Listing) -> list[RawClip]:
    """One clip an expression: ``s1_ne_01``, ``s1_ne_01_2``, ``s1_ne_01_3``."""
    if row is None:
        listing.note("not-in-sheet" if clip.frames else "no-frames", clip.name, f"{clip.source} (extended)")
        return []
    found = []
    for number, (onset, offset) in enumerate(_EVENTS, start=1):
        if number > 1 and not (row.number(onset) and row.number(offset)):
            continue
        name = clip.name if number == 1 else f"{clip.name}_{number}"
        event = replace(
            clip, name=name, onset=row.number(onset), offset=row.number(offset),
            apex=row.number("apex") if number == 1 else None,
        )  # fmt: skip
        event = fit_annotations(event, listing, alone=False)
        found += [event] if event is not None else []
    return found
