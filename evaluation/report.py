"""``report.html``: one page that needs no network, plays all clips in step, and prints well."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import quote

import media
from metrics.statistics import Comparison, Summary

from . import player
from .pictures import ARROW_LENGTH, DRIVING_COLOUR, PALETTE
from .player import Sheet
from .tables import FAILED, FIGURES, UNRELIABLE, YARDSTICKS, Row, methods_of, present_figures

MAIN_FIGURES = ("skill", "rho", "vcor", "gain", "dir", "leak", "apex_err", "lid_gain", "snr")
TRUTH_FIGURES = (
    "truth_rho", "truth_gain", "truth_skill", "psnr_moving", "ssim_moving", "lpips", "epe_px", "akd_px",
    "akd_jitter_px",
)  # fmt: skip
UNKNOWN_RATE = 100.0
EMBEDDED_BYTES = 150_000_000  # pictures of larger reports stay beside the page


@dataclass
class PlayedClip:
    """One clip of a pair in the report: its sheet's file and its motion map's, relative to the report."""

    label: str
    sheet: Sheet
    sheet_file: str
    map_file: str


@dataclass
class PairPage:
    """What the report shows of one pair.

    Attributes:
        frames, fps: of the driving clip; ``fps`` ``None`` where unknown.
        clips: the driving clip first.
        apex: driving frame of the motion maps.
        curves: SVG.
    """

    name: str
    frames: int
    fps: float | None
    apex: float
    clips: list[PlayedClip] = field(default_factory=list)
    curves: bytes = b""


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, the same in curves and legends."""
    return {method: PALETTE[i % len(PALETTE)] for i, method in enumerate(methods)}


def format_figure(name: str, value: float) -> str:
    """A figure as text: two decimals, one for frames and dB, four for L1; a dash where it does not exist."""
    if not math.isfinite(value):
        return "–"
    if name in ("l1", "l1_moving", "lid_peak"):
        return f"{value:.4f}"
    if name in ("snr", "apex_err", "half_err") or name.startswith("psnr"):
        return f"{value:.1f}"
    return f"{value:.2f}".replace("-0.00", "0.00")


def _table(head: Sequence[str], body: Sequence[tuple[str, Sequence[str]]], text_columns: Sequence[int] = ()) -> str:
    def row(tag: str, cells: Sequence[str], style: str = "") -> str:
        inner = "".join(
            f"<{tag}{' class=text' if i in text_columns else ''}>{cell}</{tag}>" for i, cell in enumerate(cells)
        )
        return f"<tr{f' class={style}' if style else ''}>{inner}</tr>"

    rows = "".join(row("td", cells, style) for style, cells in body)
    return f"<div class=wide><table><thead>{row('th', head)}</thead><tbody>{rows}</tbody></table></div>"


def _with_interval(name: str, summary: Summary) -> str:
    text = format_figure(name, summary.mean)
    if math.isfinite(summary.low):
        text += f"<small>{format_figure(name, summary.low)} … {format_figure(name, summary.high)}</small>"
    return text


def _header(names: Sequence[str]) -> list[str]:
    return [f'<span title="{escape(FIGURES[name])}">{name}</span>' for name in names]


def _summary_table(summary: Mapping[str, Mapping[str, Summary]], names: Sequence[str], rows: Sequence[Row]) -> str:
    def skill(method: str) -> float:
        found = summary[method].get("skill")
        return found.mean if found and math.isfinite(found.mean) else -math.inf

    body = []
    for method in sorted(summary, key=skill, reverse=True):
        own = [row for row in rows if row.method == method]
        scored = max((summary[method][name].count for name in names if name in summary[method]), default=0)
        counts = [scored, *(sum(row.status == status for row in own) for status in (UNRELIABLE, FAILED))]
        cells = [_with_interval(name, summary[method][name]) if name in summary[method] else "–" for name in names]
        body.append(("", [escape(method), *map(str, counts), *cells]))
    return _table(["method", "pairs", "low SNR", "failed", *_header(names)], body)


def _pair_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    def skill(row: Row) -> float:
        return row.figures.get("skill", -math.inf)

    body = []
    for row in sorted(rows, key=skill, reverse=True):
        style = {UNRELIABLE: "low", FAILED: "failed"}.get(row.status, "")
        cells = [format_figure(name, row.figures.get(name, math.nan)) for name in names]
        link = f'<a href="#{quote(row.pair)}">{escape(row.pair)}</a>' if row.status != FAILED else escape(row.pair)
        body.append((style, [link, escape(row.method), *cells, row.status]))
    return _table(["pair", "method", *_header(names), ""], body, text_columns=(1, len(names) + 2))


def _problems(rows: Sequence[Row]) -> str:
    body = [
        ("failed" if row.status == FAILED else "", [escape(row.pair), escape(row.method), escape(row.problem)])
        for row in rows
        if row.problem
    ]
    if not body:
        return ""
    return "<h2>Problems</h2>" + _table(["pair", "method", "what is wrong, what to do"], body, text_columns=(1, 2))


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    body = []
    for item in comparisons:
        interval = f"{item.difference.low:+.2f} … {item.difference.high:+.2f}" if item.difference.count > 1 else "–"
        cells = [
            f"{escape(item.first)} − {escape(item.second)}", item.figure, f"{item.difference.mean:+.2f}", interval,
            f"±{item.repeatability:.2f}", str(item.difference.count), escape(item.verdict),
        ]  # fmt: skip
        body.append(("", cells))
    head = ["methods", "figure", "difference", "95 % interval", "repeatability", "pairs", "better"]
    note = (
        "<p class=note>A method is called better when the interval excludes 0 and the difference exceeds the "
        "measured repeatability of such a mean; never on fewer than three pairs.</p>"
    )
    return "<h2>Methods compared</h2>" + _table(head, body, text_columns=(1, 6)) + note


def _player(pair: PairPage, url: Callable[[str], str]) -> str:
    figures = [player.figure(clip.sheet, url(clip.sheet_file), escape(clip.label)) for clip in pair.clips]
    return player.row(pair.frames, pair.fps or UNKNOWN_RATE, figures)


def _figures(rows: Sequence[Row], colours: Mapping[str, str], names: Sequence[str]) -> str:
    body = []
    for row in rows:
        method = f'<span class=swatch style="background:{colours[row.method]}"></span>{escape(row.method)}'
        cells = [format_figure(name, row.figures.get(name, math.nan)) for name in names]
        body.append(("low" if row.status == UNRELIABLE else "", [method, *cells]))
    return _table(["", *_header(names)], body)


def _pair_section(
    page: PairPage,
    rows: Sequence[Row],
    colours: Mapping[str, str],
    names: Sequence[str],
    truth: Sequence[str],
    url: Callable[[str], str],
) -> str:
    own = [row for row in rows if row.pair == page.name and row.status != FAILED]
    table = _figures(own, colours, names)
    if any(name in row.figures for row in own for name in truth):
        table += _figures(own, colours, truth)
    maps = "".join(
        f'<figure><img src="{url(clip.map_file)}" alt="motion of {escape(clip.label)} at the apex">'
        f"<figcaption>{escape(clip.label)}</figcaption></figure>"
        for clip in page.clips
    )
    svg = base64.b64encode(page.curves).decode()
    rate = f"{page.fps:g} frames a second" if page.fps else f"rate unknown, played as {UNKNOWN_RATE:g} a second"
    aligned = "; ".join(f"{escape(row.method)}: {escape(row.alignment)}" for row in own if row.alignment)
    return (
        f'<section class=pair id="{escape(page.name)}"><h3>{escape(page.name)}</h3>'
        f"<p class=note>{page.frames} driving frames, {rate}; frames matched by {aligned}</p>"
        f"{_player(page, url)}{table}"
        f"<p class=note>Motion since frame 0 at driving frame {page.apex:.0f}, head motion removed, drawn "
        f"{ARROW_LENGTH:g} times longer; grey dots: below the noise gate.</p><div class=row>{maps}</div>"
        f'<img class=curves alt="motion of each region over time" src="data:image/svg+xml;base64,{svg}">'
        f'<p class=note><span class=swatch style="background:{DRIVING_COLOUR}"></span>driving '
        + " ".join(
            f'<span class=swatch style="background:{colours[row.method]}"></span>{escape(row.method)}' for row in own
        )
        + " · along each region's main driving direction; active regions in bold type</p></section>"
    )


def _definitions(names: Sequence[str], missing: Mapping[str, str], settings: Mapping[str, object]) -> str:
    figures = "".join(f"<dt>{name}</dt><dd>{escape(FIGURES[name])}</dd>" for name in names)
    absent = "".join(f"<dt>{name}</dt><dd>absent: {escape(reason)}</dd>" for name, reason in missing.items())
    facts = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value if isinstance(value, str) else json.dumps(value))}</dd>"
        for key, value in settings.items()
    )
    return f"<h2>Figures</h2><dl>{figures}{absent}</dl><h2>Settings and versions</h2><dl>{facts}</dl>"


def write_report(
    path: str | Path,
    rows: Sequence[Row],
    summary: Mapping[str, Mapping[str, Summary]],
    comparisons: Sequence[Comparison],
    pages: Sequence[PairPage],
    settings: Mapping[str, object],
    missing: Mapping[str, str],
) -> None:
    """Write the report; ``missing``: figure → why nothing has it.

    Sheets and maps named in ``pages`` must lie beside it; they move into the page, unless they are very large together.
    """
    path = Path(path)
    pictures = {name for page in pages for clip in page.clips for name in (clip.sheet_file, clip.map_file)}
    embedded = sum((path.parent / name).stat().st_size for name in pictures) <= EMBEDDED_BYTES
    url = functools.partial(_data_url, path.parent) if embedded else quote
    present = present_figures(rows)
    main = [name for name in MAIN_FIGURES if name in present]
    truth = [name for name in TRUTH_FIGURES if name in present]
    colours = method_colours(methods_of(rows))
    ranked = sorted(pages, key=lambda page: _best_skill(page.name, rows), reverse=True)
    truth_part = ""
    if truth:
        truth_part = "<h2>Against the true result</h2>" + _summary_table(summary, truth, rows)
    sections = "".join(_pair_section(page, rows, colours, main, truth, url) for page in ranked)
    body = (
        "<h1>Motion fidelity</h1>"
        "<p>Does the generated face make the same micro-expression as the driving face? Means over pairs with 95 % "
        "bootstrap intervals; sorted by skill, the share of the driving motion that is explained (1 perfect, 0 as good "
        "as a still face). Pairs whose driving clip hardly moves (SNR &lt; 4) are left out of means.</p>"
        f"{_summary_table(summary, main, rows)}{truth_part}{_comparisons(comparisons)}{_problems(rows)}"
        f"<h2>Pairs</h2>{_pair_table(rows, main)}"
        f"{player.controls()}{sections}{_definitions(present, missing, settings)}"
    )
    with media.atomic_path(path) as temporary:
        temporary.write_text(player.page("Motion fidelity", body), encoding="utf-8")
    if embedded:
        for name in pictures:
            (path.parent / name).unlink()
        for folder in {(path.parent / name).parent for name in pictures}:
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()


def _best_skill(pair: str, rows: Sequence[Row]) -> float:
    """Of the pair's results; of its yardsticks where there is no result."""
    own = [row for row in rows if row.pair == pair and row.status != FAILED]
    results = [row for row in own if row.method not in YARDSTICKS]
    return max((row.figures["skill"] for row in results or own), default=-math.inf)


def _data_url(folder: Path, name: str) -> str:
    return f"data:image/webp;base64,{base64.b64encode((folder / name).read_bytes()).decode()}"
