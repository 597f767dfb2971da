"""Draws docs/house.svg, who imports whom, from the imports themselves; prints the lines of code of every room.

    python -m docs.house
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from matplotlib import pyplot

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("tests", "benchmarks", "docs")
ROOM, FILE = "#2563a8", "#b4531a"


def parts() -> dict[str, list[Path]]:
    """Files of code by room; a file of the root by itself."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in ROOT.rglob("*") if path.suffix in (".py", ".js", ".css", ".html")):
        part = path.relative_to(ROOT).parts[0]
        if part not in LEFT_OUT and not part.startswith("."):
            found.setdefault(part, []).append(path)
    return found


def imports() -> dict[str, set[str]]:
    """What every part imports of the others, the lowest part first: each stands after all that it imports."""
    names = {part.removesuffix(".py"): part for part in parts()}
    graph = {}
    for part, paths in parts().items():
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths if path.suffix == ".py"]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        found = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        found |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        graph[part] = {names[name.split(".")[0]] for name in found if name.split(".")[0] in names} - {part}

    def below(part: str) -> set[str]:
        return graph[part].union(*map(below, graph[part]))

    return {part: graph[part] for part in sorted(graph, key=lambda part: len(below(part)))}


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
    axes.set_xlabel("imports")
    axes.tick_params(length=0)
    axes.grid(color="#eef1f4")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    figure.savefig(path, metadata={"Date": None, "Description": json.dumps({p: sorted(graph[p]) for p in graph})})
    pyplot.close(figure)


if __name__ == "__main__":
    pyplot.rcParams["svg.hashsalt"] = "house"
    draw(ROOT / "docs" / "house.svg")
    for part, paths in parts().items():
        print(f"{part:18}{sum(len(path.read_text(encoding='utf-8').splitlines()) for path in paths):7,}")
