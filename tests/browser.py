"""Opens a page in headless Chromium: Debian's ``chromium`` and ``chromium-driver``, or any Chrome that Selenium finds.

``CHROMIUM`` and ``CHROMEDRIVER`` name other programs.  Tests that need a browser skip where there is none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from selenium import webdriver

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--force-device-scale-factor=1",
)  # fmt: skip


def programs() -> tuple[str, str] | None:
    """Paths of Chromium and its driver, ``None`` where one is missing."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def open_page(
    page: Path, picture: Path, scripts: list[tuple[int, str]], width: int = 1100, height: int = 1200
) -> tuple[list, list[str]]:
    """Open ``page``, evaluate each (wait in ms, JavaScript expression) in turn, and save a screenshot.

    Args:
        page: an HTML file.
        picture: where the PNG of the window goes, after the last script.
        scripts: expressions whose values are asked for; a promise is waited for.
        width, height: of the window in pixels.

    Returns:
        the answers, and every message of the console.
    """
    found = programs()
    if found is None:
        raise RuntimeError("no Chromium: install Debian's chromium and chromium-driver, or set CHROMIUM, CHROMEDRIVER")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    with tempfile.TemporaryDirectory() as profile:
        for option in (*OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
        try:
            browser.get(page.resolve().as_uri())
            answers = []
            for wait, script in scripts:
                time.sleep(wait / 1000)
                answers.append(browser.execute_script(f"return ({script})"))
            browser.save_screenshot(str(picture))
            return answers, [entry["message"] for entry in browser.get_log("browser")]
        finally:
            browser.quit()
