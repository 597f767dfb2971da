"""Writes docs/house.md and house.svg from the files themselves: what each is for, who imports whom, lines of code.

    python -m docs.house
"""

from __future__ import annotations

import ast
import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

from matplotlib import pyplot

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("tests", "benchmarks")
CODE = (".py", ".js", ".css", ".html")
LINES = """## Lines of code

Of the product, without tests and benchmarks: before the rooms were made, and at the last `python -m docs.house`.

| room | before | after |
|---|---|---|"""
BEFORE = {"root": 7376, "corpora": 4558, "evaluation": 1664, "faces": 1804, "metrics": 1554, "modules": 3939}
ROOM, FILE = "#2563a8", "#b4531a"
HEAD = """# The house: where everything is

Written by `python -m docs.house` from the first line of every file. At the root is what people run and what users of
the paper's code look for by name; every room says by its name what happens in it.

![who imports whom](house.svg)

*A dot: the part at the left imports the part below it. All dots lie on one side, so imports point downwards only, and
`modules/` stands on nothing; `tests/test_architecture.py` holds it. Blue: rooms, brown: files of the root.*
"""


def parts() -> dict[str, list[Path]]:
    """Files of code by room; a file of the root by itself."""
    found: dict[str, list[Path]] = {}
    for place in sorted({*ROOT.glob("*.py"), *(path.parent for path in ROOT.glob("*/*.py"))}):
        if place.name not in LEFT_OUT and not place.name.startswith("."):
            inside = sorted(path for path in place.rglob("*") if path.suffix in CODE)
            found[place.name] = inside if place.is_dir() else [place]
    return found


def imports() -> dict[str, list[str]]:
    """What every part imports of the others, the lowest part first: each stands after all that it imports."""
    names = {part.removesuffix(".py"): part for part in parts()}
    graph = {}
    for part, paths in parts().items():
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths if path.suffix == ".py"]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        found = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        found |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        found = {names.get(name.split(".")[0], part) for name in found}
        graph[part] = sorted(found - {part})
    return {part: graph[part] for part in TopologicalSorter(graph).static_order()}


def draw(path: Path) -> None:
    """A row for every part, the highest first, with a dot for everything that it imports."""
    graph = imports()
    names = list(graph)
    figure, axes = pyplot.subplots(figsize=(8.4, 7.2), layout="constrained")
    axes.plot([-0.5, len(names) - 0.5], [-0.5, len(names) - 0.5], color="#cbd2d9", zorder=1)
    for row, part in enumerate(names):
        columns = [names.index(other) for other in graph[part]]
        axes.scatter(columns, [row] * len(columns), s=42, color=FILE if part.endswith(".py") else ROOM, zorder=2)
    shown = [name if name.endswith(".py") else f"{name}/" for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), shown)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_color(FILE if tick.get_text().endswith(".py") else ROOM)
    axes.tick_params(length=0)
    axes.grid(color="#eef1f4")
    axes.spines[:].set_visible(False)
    figure.savefig(path, metadata={"Date": None, "Description": json.dumps(graph)})
    pyplot.close(figure)


def line(path: Path) -> str:
    """A file's row: its name, and the first line of what it says of itself."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
    return f"- `{path.relative_to(ROOT).as_posix()}`: {re.sub(r'(:[a-z]+:)?`+', '`', said)}"


def page() -> str:
    """The page."""
    found, after = parts(), dict.fromkeys(BEFORE, 0)
    for part, paths in found.items():
        room = "root" if part.endswith(".py") else part
        after[room] = after.get(room, 0) + sum(path.read_text(encoding="utf-8").count("\n") for path in paths)
    highest = list(reversed(imports()))
    lines = [HEAD, "## The root", "", *(line(ROOT / part) for part in highest if part.endswith(".py"))]
    for room in (part for part in highest if not part.endswith(".py")):
        lines += ["", f"## `{room}/`", "", *(line(path) for path in found[room] if path.suffix == ".py")]
    lines += ["", LINES, *(f"| {room} | {BEFORE.get(room, '')} | {count} |" for room, count in after.items())]
    return "\n".join([*lines, f"| all | {sum(BEFORE.values())} | {sum(after.values())} |", ""])


if __name__ == "__main__":
    pyplot.rcParams["svg.hashsalt"] = "house"
    draw(ROOT / "docs" / "house.svg")
    (ROOT / "docs" / "house.md").write_text(page(), encoding="utf-8")
