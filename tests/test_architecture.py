"""The house's rules: imports point downwards, modules know no file or device, commands answer at once."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted(
    path
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*/**/*.py"))
    if not path.relative_to(ROOT).parts[0].startswith((".", "tests"))
)
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
OWN = {path.stem for path in ROOT.glob("*.py")} | ROOMS

SLOW = {"torch", "torchvision", "matplotlib", "scipy", "skimage", "tensorboard"}  # to import
COMMANDS = {"run", "kpmaker", "prepare", "demo", "generate"}
ENGINES = {"train", "animate", "reconstruction", "evaluate", "compare"}
# What a part imports of the project besides itself, from the ground up: a part stands below all that import it.
ALLOWED = {
    "modules": set(),
    "media": set(),
    "parallel": {"media"},
    "pages": {"media"},
    "settings": {"modules", "parallel"},
    "metrics": set(),
    "augmentation": {"modules"},
    "logger": {"media"},
    "checkpoint": {"media", "modules", "parallel", "settings"},
    "faces": {"media", "metrics", "modules", "parallel"},
    "corpora": {"faces", "media", "metrics", "modules", "pages", "parallel"},
    "scores": {"corpora", "faces", "media", "modules", "parallel"},
    "frames_dataset": {"augmentation", "corpora", "faces", "media", "modules", "parallel"},
    "animation": {
        "checkpoint", "corpora", "faces", "frames_dataset", "media", "modules", "pages", "parallel", "scores",
    },
    "training": {"checkpoint", "frames_dataset", "logger", "media", "modules", "parallel", "settings"},
    "evaluation": {
        "animation", "checkpoint", "corpora", "faces", "frames_dataset", "logger", "media", "metrics", "modules",
        "pages", "parallel", "settings",
    },
    "train": {"checkpoint", "evaluation", "logger", "parallel", "training"},
    "evaluate": {"evaluation", "media", "metrics"},
    "animate": {
        "animation", "checkpoint", "evaluate", "faces", "frames_dataset", "media", "modules", "parallel", "scores",
        "settings",
    },
    "reconstruction": {"animation", "checkpoint", "frames_dataset", "media", "modules"},
    "compare": {"animate", "animation", "checkpoint", "evaluation", "frames_dataset", "media", "pages", "settings"},
}  # fmt: skip
# Import name of a requirement where it is another.
IMPORT_NAMES = {
    "pyyaml": "yaml",
    "pillow": "PIL",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "scikit-image": "skimage",
    "opencv-python": "cv2",
    "face-alignment": "face_alignment",
    "dlib-bin": "dlib",
}
# Requirements that are used through another one.
INDIRECT = {"tensorboard", "face_recognition_models", "imageio"}


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0] if node.level == 0 else part_of(path))
    return found


def attribute_calls(path: Path) -> set[str]:
    """Names of all methods that are called in a file."""
    nodes = ast.walk(tree(path))
    return {n.func.attr for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def of(package: str) -> list[Path]:
    return [path for path in FILES if part_of(path) == package]


# ------------------------------------------------------------------------------------------ direction
@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_point_downwards(path):
    part = part_of(path)
    others = (imports(path) & OWN) - {part}
    if part in ALLOWED:
        assert others <= ALLOWED[part], f"{part} may import {sorted(ALLOWED[part])}"
        assert not others & COMMANDS, "commands are at the top: nothing imports them"
    elif part in COMMANDS:
        assert not others & COMMANDS, "commands are at the top: nothing imports them"
    else:
        assert part in {"benchmarks", "docs"}, f"{part} has no place in the house: give it one in ALLOWED"
    assert "tests" not in imports(path)


def test_the_root_holds_what_people_run_or_look_for():
    assert {path.stem for path in ROOT.glob("*.py")} == COMMANDS | ENGINES | {
        "frames_dataset", "augmentation", "logger", "checkpoint",
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=named)
def test_functions_and_files_are_short(path):
    """At most 60 lines a function and 450 a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 450
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
    assert not [node.name for node in functions if node.end_lineno - node.lineno >= 60]


def test_modules_import_numbers_alone():
    for path in of("modules"):
        outside = imports(path) - sys.stdlib_module_names - OWN
        assert outside <= {"torch", "numpy", "scipy"}, named(path)


def import_graph() -> dict[str, set[str]]:
    """Part → the parts that it imports."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        part = part_of(path)
        found.setdefault(part, set()).update((imports(path) & OWN) - {part})
    return found


def test_allowed_is_the_picture_of_the_house():
    """It lists what is imported and no more, from the ground up."""
    found = import_graph()
    assert {part: found[part] for part in ALLOWED} == ALLOWED
    below: set[str] = set()
    for part, others in ALLOWED.items():
        assert others <= below, f"{part} stands below {sorted(others - below)}, which it imports"
        below.add(part)


def test_imports_have_no_cycle():
    parts = import_graph()
    done: set[str] = set()
    while True:
        free = {part for part, others in parts.items() if part not in done and others <= done}
        if not free:
            break
        done |= free
    assert done == set(parts), f"in or above a cycle: {sorted(set(parts) - done)}"


# ------------------------------------------------------------------------------------------ duties
def test_modules_choose_no_device_and_touch_no_file():
    assert of("modules")
    for path in of("modules"):
        calls = attribute_calls(path)
        assert not calls & {"cuda", "load", "save", "read_text", "write_text", "mkdir"}, named(path)
        assert "open" not in names_called(path), named(path)
        if path.name not in ("animator.py", "track.py"):  # SciPy's hull and spline of a few key points, once a clip
            assert "cpu" not in calls, named(path)
            assert "numpy" not in calls, named(path)


def names_called(path: Path) -> set[str]:
    nodes = ast.walk(tree(path))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def test_metrics_read_no_data():
    """Metrics are functions of arrays; a network's own weights are the only file one may open."""
    assert of("metrics")
    for path in of("metrics"):
        assert not imports(path) & {"media", "imageio", "PIL", "csv", "json"}, named(path)
        assert "open" not in names_called(path), named(path)


def test_only_media_reads_and_writes_pictures():
    for path in FILES:
        if part_of(path) == "media":
            continue
        assert not imports(path) & {"imageio", "imageio_ffmpeg"}, named(path)
        assert not attribute_calls(path) & {"imread", "imwrite", "mimsave", "VideoCapture"}, named(path)


def test_no_bare_except_and_no_global_silence():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        handlers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
        assert all(handler.type for handler in handlers), named(path)
        assert not re.search(r"^warnings\.(filterwarnings|simplefilter)", text, re.M), named(path)
        assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text), named(path)
        assert "weights_only=False" not in text, named(path)
        assert "yaml.load(" not in text or "_Loader" in text, named(path)


# ------------------------------------------------------------------------------------------ commands
@pytest.mark.parametrize("command", sorted(COMMANDS | ENGINES | {"checkpoint"}))
def test_commands_answer_at_once(command):
    """Before anything slow is imported: ``--help`` of a command, and the line of an engine that it is none."""
    script = ROOT / f"{command}.py"
    code = (
        "import runpy, sys\n"
        f"sys.path[0], sys.argv = {str(ROOT)!r}, [{str(script)!r}, '--help']\n"
        f"try:\n    runpy.run_path({str(script)!r}, run_name='__main__')\n"
        f"finally:\n    print('slow:', *sorted({SLOW!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if command in ENGINES else 0), done.stderr
    assert done.stdout.splitlines()[-1] == "slow:"
    if command not in ENGINES:
        assert done.stdout.startswith(f"usage: {command}.py ")
    else:
        assert f"python run.py --mode {command}" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run.py --config config/none.yaml", "train: config/none.yaml"),
        ("demo.py --source face.jpg --driving clip.mp4", "face.jpg, moved by clip.mp4"),
        ("checkpoint.py one.pth.tar two.pth.tar", "one.pth.tar: a small copy for inference"),
        ("prepare.py check --root nowhere", "check: nowhere"),
    ],
)
def test_a_first_line_comes_before_the_slow_imports(line, said):
    script, *options = line.split()
    code = (
        "import runpy, sys\n"
        f"sys.path[0], sys.argv = {str(ROOT)!r}, {[script, *options]!r}\n"
        "sys.modules['torch'] = None\n"
        f"runpy.run_path({str(ROOT / script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0] == said


@pytest.mark.parametrize("editable", [False, True])
def test_pip_says_in_one_line_that_this_is_a_checkout_to_run_from(editable):
    pytest.importorskip("pip")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", *["-e"] * editable, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "[1 lines of output]" in done.stderr, done.stderr
    assert "no package but a checkout to run from: make setup, or pip install -r requirements.txt" in done.stderr


# ------------------------------------------------------------------------------------------ importable
@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_compile_without_a_warning(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_import_without_doing_anything(path, capsys):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(name)
    assert capsys.readouterr().out == ""


def requirements() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {re.split(r"[\[<>=;]", line)[0].strip() for line in lines if line.strip() and line[0] != "#"}


def test_requirements_are_importable():
    for name in requirements():
        assert importlib.util.find_spec(IMPORT_NAMES.get(name, name)), name


def test_requirements_are_complete_and_used():
    used = set().union(*(imports(path) for path in FILES)) - sys.stdlib_module_names - OWN
    listed = {IMPORT_NAMES.get(name, name): name for name in requirements()}
    assert used <= set(listed), f"not in requirements.txt: {sorted(used - set(listed))}"
    unused = set(listed) - used - INDIRECT
    assert not unused, f"in requirements.txt, but imported nowhere: {sorted(unused)}"
