"""``report.html`` and ``report.md``: what came of a corpus, what was left out or put right and why, and every onset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import media
from corpora import SPLITS, ClipRecord
from corpora.pipeline import ONSETS, Prepared
from corpora.rules import RULES, Notice
from faces.preview import MAX_TILES, Tile, contact_sheet
from pages import write_page

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # heading, columns, rows
NAMES_IN_TABLE = 6  # clips that a rule's row names; all are in the list below
LEGEND = "red: what was cut   green dots: 68 landmarks"
MEANINGS = {"found": "cut to the face", "template": "no face, used whole", "skipped": "left out"}


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
    page = {"title": title, "tables": tables, "notices": notices, "onsets": onsets, "legend": LEGEND, "facts": facts}
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


# ------------------------------------------------------------------------------------------------------ onsets
def status_of(entry: dict) -> str:
    """The key of :data:`MEANINGS` for a clip's record."""
    if entry["status"] != "written":
        return "skipped"
    return "found" if entry["landmarks"] is not None else "template"


def write_contact_sheets(out: Path, pictures: Path, entries: dict[str, dict], title: str) -> list[Path]:
    """``contact_sheet_1.png`` … of all clips that have an onset picture; returns the files."""
    tiles = [
        Tile(media.read_image(pictures / f"{name}.png"), name, status_of(entry))
        for name, entry in entries.items()
        if (pictures / f"{name}.png").is_file()
    ]
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
