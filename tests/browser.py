"""Opens a page in headless Chromium (Qt WebEngine), in a process of its own.

Needs ``pip install PySide6-Addons`` in this interpreter, or in the one that the variable ``PAGE_PYTHON`` names; tests
that use it are skipped where neither has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, os, sys
from PySide6.QtCore import QTimer, QUrl
from PySide6.QtWebEngineCore import QWebEnginePage
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

page_file, picture, scripts, height = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
found = {"console": [], "answers": []}

class Page(QWebEnginePage):
    def javaScriptConsoleMessage(self, level, message, line, source):
        found["console"].append(f"{source}:{line}: {message}")

app = QApplication(sys.argv[:1])
view = QWebEngineView()
page = Page(view)
view.setPage(page)
view.resize(1100, height)
view.show()

def ask(index=0):
    if index == len(scripts):
        view.grab().save(picture)
        print("RESULT" + json.dumps(found), flush=True)
        os._exit(0)  # Qt's own tear-down may hang without a display
    wait, script = scripts[index]
    def answered(value):
        found["answers"].append(value)
        ask(index + 1)
    QTimer.singleShot(wait, lambda: page.runJavaScript(script, 0, answered))

page.loadFinished.connect(lambda ok: ask() if ok else os._exit(2))
page.load(QUrl.fromLocalFile(page_file))
app.exec()
"""


def browser_python() -> str | None:
    """The interpreter that can show pages, ``None`` where there is none."""
    python = os.environ.get("PAGE_PYTHON", sys.executable)
    probe = [python, "-c", "import PySide6.QtWebEngineWidgets"]
    return python if subprocess.run(probe, capture_output=True).returncode == 0 else None


def open_page(page: Path, picture: Path, scripts: list[tuple[int, str]], height: int = 1200) -> tuple[list, list[str]]:
    """Open ``page``, evaluate each (wait in ms, JavaScript expression) in turn, and save a screenshot.

    Returns:
        the answers, and every message of the console.
    """
    python = browser_python()
    if python is None:
        raise RuntimeError("no interpreter with Qt WebEngine: pip install PySide6-Addons")
    environment = {
        **os.environ, "QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1",
        "QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu",
    }  # fmt: skip
    command = [python, "-c", SCRIPT, str(page.resolve()), str(picture), json.dumps(scripts), str(height)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        raise RuntimeError(f"the page did not load ({done.returncode}): {done.stderr[-2000:]}")
    found = json.loads(lines[0].removeprefix("RESULT"))
    return found["answers"], found["console"]
