"""``report.html`` and ``report.md``: what came of a corpus, what was left out or put right and why, and every onset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import media
from corpora import MARKS, SPLITS, ClipRecord
from corpora.pipeline import ONSETS, Prepared
from corpora.rules import RULES, Notice
from faces.preview import MAX_TILES, Tile, contact_sheet
from pages import Sheet, write_page

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # heading, columns, rows
NAMES_IN_TABLE = 6  # clips that a rule's row names; all are in the list below
CURVE_WIDTH, CURVE_HEIGHT = 300, 60  # of a clip's motion, pixels
LEGEND = "red: what was cut   green dots: 68 landmarks"
MEANINGS = {
    "found": "cut to the face",
    "doubtful": "doubtful face: look",
    "template": "no face, used whole",
    "skipped": "left out",
}


def write_reports(out: Path, title: str, prepared: Prepared, settings: dict) -> list[Path]:
    """Write both reports and the contact sheets into ``out``; returns the paths of the reports."""
    sheets = write_contact_sheets(out, out / ONSETS, prepared.entries, title)
    tables = [_counts(prepared), _emotions(prepared.records), _subjects(prepared.records), _rules(prepared.notices)]
    tables = [table for table in tables if table[2]]
    facts = [(key, value) for key, value in settings.items() if not isinstance(value, dict)]
    facts += [(f"crop, {key}", value) for key, value in settings.get("crop", {}).items()]
    notices = [(notice.rule, notice.clip or "(all)", notice.text) for notice in prepared.notices]
    records = {record.clip: record for record in prepared.records}
    onsets = [_onset(name, status_of(entry), records.get(name)) for name, entry in prepared.entries.items()]
    onsets.sort(key=lambda onset: onset[1] != "doubtful")
    played = [_played(record, prepared.entries[record.clip]) for record in prepared.records]
    page = {"title": title, "tables": tables, "notices": notices, "onsets": onsets, "legend": LEGEND, "facts": facts}
    page["played"] = [clip for clip in played if clip is not None]
    write_page(out / "report.html", "corpus.html", **page)
    with media.atomic_path(out / "report.md") as temporary:
        temporary.write_text(_markdown(title, tables, facts, notices, sheets), encoding="utf-8")
    return [out / "report.html", out / "report.md"]


# ------------------------------------------------------------------------------------------------------ tables
def _counts(prepared: Prepared) -> Table:
    records = prepared.records
    groups = {split: [record for record in records if record.split == split] for split in SPLITS} | {"both": records}
    rows = [
        (name, len(own), len({record.subject for record in own}), sum(record.frames for record in own))
        for name, own in groups.items()
    ]
    rows.append(("left out here", len(prepared.entries) - len(records), "", ""))
    return "Clips", ("", "clips", "subjects", "frames"), rows


def _emotions(records: Sequence[ClipRecord]) -> Table:
    groups = Counter((record.emotion or "–", record.class3 or "–") for record in records)
    rows = [(emotion, class3, count) for (emotion, class3), count in sorted(groups.items())]
    totals = Counter(record.class3 or "–" for record in records)
    rows += [("all", class3, count) for class3, count in sorted(totals.items())]
    return "Emotions", ("emotion", "class", "clips"), rows


def _subjects(records: Sequence[ClipRecord]) -> Table:
    emotions = sorted({record.emotion or "–" for record in records})
    counts = Counter((record.subject, record.emotion or "–") for record in records)
    rows = []
    for subject in media.natural_sorted({record.subject for record in records}):
        own = [counts[subject, emotion] for emotion in emotions]
        rows.append((subject, *(count or "" for count in own), sum(own)))
    return "Subjects", ("subject", *emotions, "all"), rows


def _rules(notices: Sequence[Notice]) -> Table:
    rows = []
    for rule, meaning in RULES.items():
        clips = [notice.clip or notice.text for notice in notices if notice.rule == rule]
        if clips:
            more = " …" if len(clips) > NAMES_IN_TABLE else ""
            rows.append((rule, meaning, len(clips), ", ".join(clips[:NAMES_IN_TABLE]) + more))
    return "What was not as it should be", ("rule", "what it means", "times", "where"), rows


# ------------------------------------------------------------------------------------------------------ formats
def _markdown(
    title: str, tables: Sequence[Table], facts: Sequence[tuple], notices: Sequence[tuple], sheets: Sequence[Path]
) -> str:
    def cells(row: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"

    lines = [f"# {title}", ""]
    for heading, columns, rows in tables:
        lines += [f"## {heading}", "", cells(columns), cells(["---"] * len(columns)), *map(cells, rows), ""]
    if notices:
        lines += ["## Everything that was noticed", ""]
        lines += [f"- {rule}, {clip}: {text}".replace("\n", " ") for rule, clip, text in notices]
        lines.append("")
    lines += ["## Settings", "", *(f"- {key}: {value}" for key, value in facts), ""]
    if sheets:
        lines += ["## Onsets", "", LEGEND, "", *(f"![{path.stem}]({path.name})" for path in sheets), ""]
    return "\n".join(lines)


def _onset(name: str, status: str, record: ClipRecord | None) -> tuple[str, str, str, str]:
    """Name, status, URL of the picture and caption of a clip."""
    caption = MEANINGS[status]
    if record is not None:
        caption = f"{record.split}, {record.emotion or 'no label'}, {record.frames} frames"
    return name, status, quote(f"{ONSETS}/{name}.png"), caption


# ------------------------------------------------------------------------------------------------------ clips
@dataclass(frozen=True)
class Played:
    """A clip as the page plays it, with the curve of its motion, if it has one."""

    record: ClipRecord
    sheet: Sheet
    url: str
    points: str  # of an SVG polyline, in a box of CURVE_WIDTH × CURVE_HEIGHT
    peak: float  # of the curve, percent of the inter-ocular distance
    marks: Sequence[tuple[str, float, bool]]  # onset, apex, offset: name, x in the box, whether it is proposed


def _played(record: ClipRecord, entry: dict) -> Played | None:
    """None for a clip that is not shown so."""
    if "player" not in entry:
        return None
    curve, step = entry["curve"] or (), CURVE_WIDTH / max(1, record.frames - 1)
    peak = max(curve, default=0.0)
    points = " ".join(f"{i * step:.1f},{CURVE_HEIGHT * (1 - value / peak):.1f}" for i, value in enumerate(curve))
    places = ((mark, getattr(record, f"{mark}_index")) for mark in MARKS)
    proposed = record.proposed.split()
    marks = [(mark, round(place * step, 1), mark in proposed) for mark, place in places if place is not None]
    return Played(record, Sheet(**entry["player"]), quote(f"{ONSETS}/{record.clip}.jpg"), points, peak, marks)


# ------------------------------------------------------------------------------------------------------ onsets
def status_of(entry: dict) -> str:
    """The key of :data:`MEANINGS` for a clip's record."""
    if entry.get("doubt"):
        return "doubtful"
    if entry["status"] != "written":
        return "skipped"
    return "found" if entry["landmarks"] is not None else "template"


def write_contact_sheets(out: Path, pictures: Path, entries: dict[str, dict], title: str) -> list[Path]:
    """``contact_sheet_1.png`` … of all clips that have an onset picture, doubtful ones first; returns the files."""
    tiles = [
        Tile(media.read_image(pictures / f"{name}.png"), name, status_of(entry))
        for name, entry in entries.items()
        if (pictures / f"{name}.png").is_file()
    ]
    tiles.sort(key=lambda tile: tile.status != "doubtful")
    for old in out.glob("contact_sheet_*.png"):
        if re.fullmatch(r"contact_sheet_\d+", old.stem):
            media.remove_own(old)
    sheets = []
    for first in range(0, len(tiles), MAX_TILES):
        number = len(sheets) + 1
        sheets.append(out / f"contact_sheet_{number}.png")
        sheet = contact_sheet(tiles[first : first + MAX_TILES], f"{title}, sheet {number}", LEGEND, MEANINGS)
        media.write_image(sheets[-1], sheet)
    return sheets
