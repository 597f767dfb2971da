"""What README.md and docs/ name is there: files, links, commands, flags, settings; generated pages are fresh."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import json
import re
import shlex
from functools import cache
from html import unescape
from pathlib import Path

import pytest

import docs.figure
import docs.house
import docs.settings
from settings import load_comparison, load_config
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / room / "README.md" for room in ("sup-mat", "benchmarks")]
PYTHON = [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")]
SCRIPTS = {path.name for path in ROOT.glob("*.py")}
IGNORED = set((ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", " ").split())  # what commands make
TRACKED = {path.name for path in ROOT.iterdir() if path.is_dir()} - IGNORED - {"data", "splits"}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def braces(name: str) -> list[str]:
    """``a_{b,c}.d`` → ``a_b.d``, ``a_c.d``."""
    parts = [part.split(",") for part in re.split(r"[{}]", name)]
    return ["".join(choice) for choice in itertools.product(*parts)] if "{" in name else [name]


def commands(page: Path) -> list[str]:
    """Lines of the page's shell blocks, continued lines joined, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", text(page), re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#.*", "", line).strip() for line in lines) if line]


COMMANDS = [pytest.param(line, id=f"{named(page)}: {line}") for page in PAGES for line in commands(page)]


@cache
def help_of(script: str, *command: str) -> str:
    """What a script answers to ``--help``."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit, match="0"):
        importlib.import_module(script.removesuffix(".py")).main([*command, "--help"])
    return shown.getvalue()


def has_flag(flag: str, shown: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", shown) is not None


# ------------------------------------------------------------------------------------------ what is named is there
def test_the_readme_is_of_one_screen():
    assert text(ROOT / "README.md").count("\n") <= 120


def test_the_reading_path_is_in_the_first_screen():
    path = "demo.py facial_prior.py keypoint_detector.py dense_motion.py track.py generator.py model.py train.py"
    places = [text(ROOT / "README.md").index(f"{name}` |") for name in path.split()]
    assert places == sorted(places)
    assert text(ROOT / "README.md")[: places[-1]].count("\n") < 40


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text(page)) if "://" not in link]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_are_there(page):
    """Paths into the rooms, and Python files, in `code` and in shell blocks."""
    words = {word for code in re.findall(r"`([^`\n]+)`", text(page)) for word in code.split()}
    words |= {word.strip("'\"") for line in commands(page) for word in re.split(r"[\s=:]", line)}
    names = {name for word in words for name in braces(word) if "$" not in name and "…" not in name}
    paths = {name for name in names if name.split("/")[0] in TRACKED and "/" in name}
    assert not [path for path in paths if not (ROOT / path).exists()]
    files = {name for name in names if re.fullmatch(r"\w+\.py", name)}
    assert files <= {path.name for path in PYTHON}


def test_the_table_names_configs():
    cells = set(re.findall(r"`((?:fomm|mraa|fpb)_\w+)` \|", text(ROOT / "README.md"))) - {"fpb_tracked"}
    assert len(cells) == 15
    assert not [name for name in cells if not (ROOT / "config" / f"{name}.yaml").is_file()]


def test_every_page_and_room_can_be_found_from_the_readme():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert not {page for page in pages if f"docs/{page}" not in text(ROOT / "README.md")}
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert not {room for room in rooms if f"`{room}/`" not in text(ROOT / "README.md")}


# ------------------------------------------------------------------------------------------ commands
def test_there_are_commands():
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists_with_its_flags(line):
    for part in re.split(r"; | && |; do ", line):
        words = shlex.split(part.replace("$set", "samm").replace("${c%:*}", "fpb").replace("${c#*:}", "FPB-FOMM"))
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", text(ROOT / "Makefile"), re.M)
        elif words[:2] == ["python", "-m"]:
            module = words[2].split(".")
            assert (ROOT.joinpath(*module).with_suffix(".py")).is_file() or ROOT.joinpath(*module).is_dir()
        elif script := next((word for word in words if word.endswith(".py")), None):
            assert script in SCRIPTS
            arguments = words[words.index(script) + 1 :]
            shown = help_of(script, *arguments[:1] if script == "prepare.py" else [])
            flags = {word for word in arguments if word.startswith("--")}
            assert not [flag for flag in flags if not has_flag(flag, shown)]
            if script == "run.py":
                check_settings(arguments)


def check_settings(arguments: list[str]) -> None:
    """``--config`` and ``--set`` of a command are legal."""
    names = ("--config", "--set", "--mode")
    values = {name: [b for a, b in itertools.pairwise(arguments) if a == name] for name in names}
    for config in (config for config in values["--config"] if config.startswith("config/")):
        load = load_comparison if values["--mode"] == ["compare"] else load_config
        load(ROOT / config, values["--set"])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_flags_in_the_text_exist(page):
    scripts = "\n".join(help_of(script) for script in ("run.py", "demo.py", "kpmaker.py", "generate.py"))
    corpora = ("samm", "folder", "check", "sample", "portraits")
    shown = scripts + "\n".join(help_of("prepare.py", corpus) for corpus in corpora)
    flags = set(re.findall(r"`(--[\w-]+)", text(page)))
    assert not [flag for flag in flags if not has_flag(flag, shown)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_in_the_text_exist(page):
    sections = "dataset_params|model_params|train_params|animate_params|reconstruction_params|visualizer_params"
    known = re.findall(r"^\| `([\w.]+)`", text(ROOT / "docs" / "settings.md"), re.M)
    for section, key in re.findall(rf"`(?:--set )?({sections})\.(\w+(?:\.\w+)*)", text(page)):
        assert key in known or any(name.startswith(f"{key}") for name in known), f"{section}.{key}"


# ------------------------------------------------------------------------------------------ generated pages
def described(picture: Path) -> dict:
    """What a picture shows, as it says in its description."""
    return json.loads(unescape(re.search(r"<dc:description>(.*?)</dc:description>", text(picture), re.S)[1]))


def test_settings_page_is_fresh():
    assert text(ROOT / "docs" / "settings.md") == docs.settings.page(), "make docs"


def test_every_setting_is_explained():
    rows = re.findall(r"^\| `.*$", text(ROOT / "docs" / "settings.md"), re.M)
    assert len(rows) > 100
    assert not [row for row in rows if not row.split(" | ")[4].strip()], "explain it in config/base.yaml"


def test_house_page_is_fresh_but_for_its_counts():
    page, fresh = (words.partition("## Lines")[0] for words in (text(ROOT / "docs" / "house.md"), docs.house.page()))
    assert page == fresh, "make docs"


def test_house_picture_is_fresh():
    fresh = docs.house.imports()
    shown = described(ROOT / "docs" / "house.svg")
    assert (list(shown), shown) == (list(fresh), fresh), "make docs"


def test_method_figure_is_fresh():
    fresh = {step: list(label) for step, label in docs.figure.labels().items()}
    assert described(ROOT / "docs" / "method.svg") == fresh, "make docs"
    drawn = re.findall(r"<!-- (.*?) -->", text(ROOT / "docs" / "method.svg"))
    assert {unescape(words) for words in drawn} >= {words for label in fresh.values() for words in label}


@pytest.mark.parametrize("module", ["figure", "house", "settings"])
def test_nothing_of_the_product_imports_docs(module):
    importlib.import_module(f"docs.{module}")
    paths = [path for path in PYTHON if path.relative_to(ROOT).parts[0] not in ("tests", "docs")]
    assert not [path for path in paths if re.search(r"^\s*(from|import) docs\b", text(path), re.M)]
