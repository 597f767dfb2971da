"""Corpora of frame folders and a coding sheet, one row a clip (CASME II, SAMM) → a list of raw clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from corpora import CORPUS_FPS
from corpora.raw import Layout, Listing, RawClip, explain_absence, fit_annotations, is_whole_clip, numbered_frames
from corpora.sheets import Row, find_sheet, read_rows, sheets_in
from corpora.tree import CorpusError, RawFile, Tree

Key = tuple[int, str]  # subject and, in lower case, clip: the same clip in the sheet and on disk


@dataclass(frozen=True)
class Source:
    """What the user gave."""

    tree: Tree  # of ``--raw``
    layouts: tuple[Layout, ...] = ()  # of all corpora, to recognise another one
    sheet: Path | None = None  # ``--sheet``: a coding sheet instead of the one found
    use_sheet: bool = True  # False with ``--no-sheet``
    frames: str | None = None  # ``--frames``: which copy of the frames, where a corpus has several
    fps: float | None = None  # ``--fps``, for clips that do not say
    labels: Path | None = None  # ``--labels``: a table of any clips
    subjects: re.Pattern | None = None  # ``--subjects``: finds in a clip's path who it shows


@dataclass(frozen=True)
class Coding:
    """How a corpus is coded."""

    layout: Layout  # where its clips are; the groups ``subject`` (a number) and ``clip`` make the key
    sheets: tuple[str, ...]  # patterns of its coding sheet's name
    example: str  # such a name, for messages
    published: tuple[int, ...]  # legal numbers of clips
    kinds: tuple[str, ...]  # copies of the frames, the preferred one first
    kind: Callable[[tuple[str, ...], list[RawFile]], str]  # (names on the way to a clip's folder, its files) → kind
    subject: Callable[[int], str]  # its number → its name
    name: Callable[[int, str], str]  # (subject's number, clip) → unique name
    class3: Mapping[str, str]  # emotion → class
    loose: frozenset[str] = frozenset()  # kinds whose folders hold more than the expression
    cropped: frozenset[str] = frozenset()  # kinds whose frames are cut to the face already
    class_sheets: tuple[str, ...] = ()  # patterns of a further sheet with objective classes


def read_coded(source: Source, coding: Coding) -> Listing:
    """The clips of a corpus, with what its sheet says.

    Raises:
        CorpusError: no clips, no sheet, or a sheet that lists nothing that is on disk.
    """
    listing, tree = Listing(), source.tree
    chosen = choose_copies(source, coding.layout, coding.kinds, coding.kind, listing)
    rows: dict[Key, Row] = {}
    if source.use_sheet:
        sheet = find_sheet(tree, coding.sheets, source.sheet, coding.example, listing)
        names = {key: coding.name(key[0], clip_name) for key, (_, _, clip_name) in chosen.items()}
        rows = match_rows(read_rows(sheet), names, sheet, coding, listing)
    else:
        listing.note("no-sheet", "", "--no-sheet")
    classes = _objective_classes(tree, coding)
    for key, (folder, kind, clip_name) in chosen.items():
        clip = RawClip(
            name=coding.name(key[0], clip_name), corpus_name=clip_name, corpus=coding.layout.corpus,
            subject=coding.subject(key[0]), source=folder, fps=CORPUS_FPS[coding.layout.corpus],
            cropped=kind in coding.cropped, objective_class=classes.get(key, ""),
        )  # fmt: skip
        clip = replace(clip, frames=numbered_frames(tree.images(folder), clip.name, listing))
        if key in rows:
            clip = fit_annotations(_annotate(clip, rows[key], coding, listing), listing, kind not in coding.loose)
        else:
            clip = _without_row(clip, kind, source, coding, listing)
        if clip is not None:
            listing.clips.append(clip)
    return listing.finish(coding.published)


def copy_kind(files: Sequence[RawFile], names: Sequence[str], marks: Mapping[str, str], default: str) -> str:
    """The kind whose pattern (a key of ``marks``) the name nearest to the clip holds, in lower case; ``cropped`` where
    the files' own names say so.
    """
    if files[0].name.lower().startswith("reg_"):
        return "cropped"
    for name in reversed(names):
        for pattern, kind in marks.items():
            if re.search(pattern, name.lower()):
                return kind
    return default


def make_key(subject: str, clip: str) -> Key | None:
    """Subject and clip as they are compared: ``1`` in a sheet is ``sub01`` on disk; None if one is missing."""
    digits = re.findall(r"\d+", subject)
    return (int(digits[-1]), clip.strip().lower()) if digits and clip.strip() else None


def choose_copies(
    source: Source,
    layout: Layout,
    kinds: tuple[str, ...],
    kind_of: Callable[[tuple[str, ...], list[RawFile]], str],
    listing: Listing,
) -> dict[Key, tuple[str, str, str]]:
    """One folder a clip, of the preferred kind: (folder, kind, the clip's name) by key.

    Raises:
        CorpusError: no clips, or none of the kind that ``--frames`` names.
    """
    if source.frames is not None and source.frames not in kinds:
        raise CorpusError(f"--frames {source.frames}: legal for {layout.title} are {', '.join(kinds)}")
    tree, copies = source.tree, {}
    for folder, match in layout.find(tree):
        kind = kind_of(tree.names(folder), tree.images(folder))
        if source.frames in (None, kind):
            key = (int(match["subject"]), match["clip"].lower())
            copies.setdefault(key, []).append((folder, kind, match["clip"]))
    if not copies:
        if source.frames is not None and layout.find(tree):
            raise CorpusError(f"--frames {source.frames}: no such frames of {layout.title} in {tree.root}")
        raise explain_absence(tree, layout, source.layouts)
    kept, unused = {}, 0
    for key, found in copies.items():
        kept[key] = min(found, key=lambda copy: kinds.index(copy[1]))
        unused += len(found) - 1
        same = [copy[0] for copy in found if copy[1] == kept[key][1]]
        if len(same) > 1:
            listing.note("several-copies", kept[key][2], f"{kept[key][0]} is used, not {', '.join(same[1:])}")
    if unused:
        used = {kind: sum(copy[1] == kind for copy in kept.values()) for kind in kinds}
        text = ", ".join(f"{count} {kind}" for kind, count in used.items() if count)
        listing.note("several-copies", "", f"{text} used, {unused} further copies not; choose with --frames")
    return kept


def match_rows(
    rows: Iterable[Row], on_disk: Mapping[Key, str], sheet: RawFile, coding: Coding, listing: Listing
) -> dict[Key, Row]:
    """The sheet's rows by key; ``on_disk`` are the names of the clips there are frames of.

    Raises:
        CorpusError: none of them is on disk.
    """
    found: dict[Key, Row] = {}
    for row in rows:
        key = make_key(row.text("subject"), row.text("clip"))
        where = f"line {row.line} of {sheet.name}"
        if key is None:
            listing.note("row-incomplete", "", f"{where}: subject {row.text('subject')!r}, file {row.text('clip')!r}")
        elif key in found:
            listing.note("listed-twice", coding.name(key[0], row.text("clip")), where)
        else:
            found[key] = row
    absent = {key: row for key, row in found.items() if key not in on_disk}
    if len(absent) == len(found):
        listed = ", ".join(f"{row.text('subject')} {row.text('clip')}" for row in list(found.values())[:3]) or "nothing"
        there = ", ".join(list(on_disk.values())[:3])
        raise CorpusError(
            f"the coding sheet {sheet.label} lists nothing that is on disk. It lists: {listed} …; on disk: {there} …. "
            "Give the corpus's own sheet with --sheet FILE"
        )
    for key, row in absent.items():
        name = coding.name(key[0], row.text("clip"))
        listing.note("listed-but-absent", name, f"line {row.line} of {sheet.name}")
    return found


def _annotate(clip: RawClip, row: Row, coding: Coding, listing: Listing) -> RawClip:
    """What the row says, as it says it."""
    apex, emotion = row.number("apex"), row.text("emotion").lower()
    if apex is None and row.text("apex"):
        listing.note("apex-not-a-number", clip.name, f"{row.text('apex')!r} in line {row.line}")
    return replace(
        clip, onset=row.number("onset"), apex=apex, offset=row.number("offset"),
        action_units=row.text("action_units"), emotion=emotion, class3=coding.class3.get(emotion, ""),
        objective_class=row.text("objective_class") or clip.objective_class,
    )  # fmt: skip


def _without_row(clip: RawClip, kind: str, source: Source, coding: Coding, listing: Listing) -> RawClip | None:
    """A clip that the sheet does not list, or that is imported without one."""
    if source.use_sheet:
        listing.note("not-in-sheet", clip.name, f"{clip.source} ({kind})")
    if kind in coding.loose:
        return None if source.use_sheet else fit_annotations(clip, listing, alone=False)
    return clip if is_whole_clip(clip.frames, clip.name, clip.source, listing) else None


def _objective_classes(tree: Tree, coding: Coding) -> dict[Key, str]:
    """Those of the corpus's further sheet, if it is there."""
    sheets = sheets_in(tree, coding.class_sheets)
    rows = read_rows(sheets[-1], ("subject", "clip", "objective_class")) if sheets else []
    found = {make_key(row.text("subject"), row.text("clip")): row.text("objective_class") for row in rows}
    found.pop(None, None)
    return found
