"""``report.html`` and ``report.md``: what came of a corpus, what was left out or put right and why, and every onset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import media
from corpora import SPLITS, ClipRecord
from corpora.contact import LEGEND, MEANINGS, status_of, write_contact_sheets
from corpora.pipeline import ONSETS, Prepared
from corpora.rules import RULES, Notice

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # heading, columns, rows
NAMES_IN_TABLE = 6  # clips that a rule's row names; all are in the list below
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 1.5em } td, th { border-bottom: 1px solid #ccc; padding: .2em .7em }
th { text-align: left } td { text-align: right; vertical-align: top } td:first-child, td.text { text-align: left }
.sheet { display: flex; flex-wrap: wrap; gap: 8px } figure { margin: 0; width: 160px; font-size: 12px }
figcaption { overflow-wrap: anywhere } img { display: block; border: 2px solid #289628 }
.template img { border-color: #e67800 } .skipped img { border-color: #d22828 }
"""


def write_reports(out: Path, title: str, prepared: Prepared, settings: dict) -> list[Path]:
    """Write both reports and the contact sheets into ``out``; returns the paths of the reports."""
    sheets = write_contact_sheets(out, out / ONSETS, prepared.entries, title)
    tables = [_counts(prepared), _emotions(prepared.records), _subjects(prepared.records), _rules(prepared.notices)]
    facts = [(key, value) for key, value in settings.items() if not isinstance(value, dict)]
    facts += [(f"crop, {key}", value) for key, value in settings.get("crop", {}).items()]
    paths = [out / "report.html", out / "report.md"]
    for path, text in (
        (paths[0], _html(title, tables, facts, prepared)),
        (paths[1], _markdown(title, tables, facts, prepared, sheets)),
    ):
        with media.atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


# ------------------------------------------------------------------------------------------------------ tables
def _counts(prepared: Prepared) -> Table:
    records = prepared.records
    rows = [
        (split, len(own), len({record.subject for record in own}), sum(record.frames for record in own))
        for split in SPLITS
        for own in [[record for record in records if record.split == split]]
    ]
    rows.append(("both", len(records), len({r.subject for r in records}), sum(r.frames for r in records)))
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


def _name(notice: Notice) -> str:
    return notice.clip or "(all)"


# ------------------------------------------------------------------------------------------------------ formats
def _markdown(
    title: str, tables: Sequence[Table], facts: Sequence[tuple], prepared: Prepared, sheets: Sequence[Path]
) -> str:
    def cells(row: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"

    lines = [f"# {title}", ""]
    for heading, columns, rows in tables:
        if rows:
            lines += [f"## {heading}", "", cells(columns), cells(["---"] * len(columns)), *map(cells, rows), ""]
    if prepared.notices:
        lines += ["## Everything that was noticed", ""]
        lines += [f"- {notice.rule}, {_name(notice)}: {notice.text}".replace("\n", " ") for notice in prepared.notices]
        lines.append("")
    lines += ["## Settings", "", *(f"- {key}: {value}" for key, value in facts), ""]
    if sheets:
        lines += ["## Onsets", "", LEGEND, "", *(f"![{path.stem}]({path.name})" for path in sheets), ""]
    return "\n".join(lines)


def _html(title: str, tables: Sequence[Table], facts: Sequence[tuple], prepared: Prepared) -> str:
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f"<h2>{escape(heading)}</h2>{_html_table(columns, rows)}" for heading, columns, rows in tables if rows]
    if prepared.notices:
        rows = [(notice.rule, _name(notice), notice.text) for notice in prepared.notices]
        body.append(f"<details><summary>Everything that was noticed ({len(rows)})</summary>")
        body.append(f"{_html_table(('rule', 'clip', 'what was found and done'), rows)}</details>")
    body.append(f"<h2>Onsets</h2><p>Look them over before you train ({escape(LEGEND)}).</p><div class=sheet>")
    body += [_figure(name, entry, prepared) for name, entry in prepared.entries.items()]
    body.append(f"</div><h2>Settings</h2>{_html_table(('setting', 'value'), facts)}")
    return (
        '<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><link rel=icon href=data:,><style>{STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def row(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(
            f"<{tag}{'' if isinstance(cell, int) else ' class=text'}>{escape(str(cell))}</{tag}>" for cell in cells
        ) + "</tr>"  # fmt: skip

    return f"<table>{row('th', columns)}{''.join(row('td', cells) for cells in rows)}</table>"


def _figure(name: str, entry: dict, prepared: Prepared) -> str:
    status = status_of(entry)
    record = next((record for record in prepared.records if record.clip == name), None)
    what = MEANINGS[status]
    if record is not None:
        what = f"{record.split}, {record.emotion or 'no label'}, {record.frames} frames"
    source = quote(f"{ONSETS}/{name}.png")
    return (
        f"<figure class={status}><img loading=lazy width=156 src=\"{source}\" alt=\"onset of {escape(name)}\">"
        f"<figcaption><b>{escape(name)}</b><br>{escape(what)}</figcaption></figure>"
    )
