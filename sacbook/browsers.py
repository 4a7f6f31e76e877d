"""Find or install a browser, for the PDF and for the tests: ``python -m sacbook.browsers``.

In this order: a browser and its driver on the PATH; Selenium's own manager, which finds an
installed Chrome or Edge and downloads what is missing; apt, as root or by sudo. Where none can be
had, one sentence on standard error says so and the exit code is 1.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PAIRS = {
    "chromium": ("chromedriver", "chromium.chromedriver"),
    "chromium-browser": ("chromedriver", "chromium.chromedriver"),
    "google-chrome": ("chromedriver",),
    "google-chrome-stable": ("chromedriver",),
    "microsoft-edge": ("msedgedriver",),
    "msedge": ("msedgedriver",),
}
"""Browsers by the name of their command, and the commands of their drivers."""
PATIENCE = 20
"""Seconds that finding a browser may take; a download that runs may take longer."""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
"""How a browser starts without a window."""


def on_path() -> tuple[str, str] | None:
    """Browser and driver from the PATH."""
    for name, drivers in PAIRS.items():
        browser, driver = shutil.which(name), next(filter(None, map(shutil.which, drivers)), None)
        if browser and driver:
            return browser, driver
    return None


def managed(browser: str, *arguments: str) -> tuple[str, str] | None:
    """Browser and driver that Selenium's manager has or gets: of an installation, or its own."""
    try:
        from selenium.webdriver.common.selenium_manager import SeleniumManager
    except ImportError:  # it comes with the extra `test`
        return None
    command = [str(SeleniumManager._get_binary()), "--browser", browser, "--output", "json"]
    command += ["--avoid-stats", "--timeout", str(PATIENCE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        result = json.loads(done.stdout)["result"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return None
    pair = result.get("browser_path", ""), result.get("driver_path", "")
    return pair if all(path and Path(path).exists() for path in pair) else None


def starts(browser: str) -> bool:
    """Whether a browser opens an empty page: a downloaded one may lack libraries of the system."""
    try:
        command = [browser, *FLAGS, "--dump-dom", "about:blank"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "<html" in done.stdout


def find() -> tuple[str, str] | None:
    """A browser that starts and its driver, without any download: Chromium, Chrome or Edge."""
    if pair := on_path():
        return pair if starts(pair[0]) else None
    for browser in ("chrome", "edge"):
        pair = managed(browser, "--offline")
        if pair and starts(pair[0]):
            return pair
    return None


def printer() -> str | None:
    """The command of a browser that prints: from the PATH, without a driver, or managed."""
    if path := next(filter(None, map(shutil.which, PAIRS)), None):
        return path
    pairs = (managed(browser, "--offline") for browser in ("chrome", "edge"))
    return next((pair[0] for pair in pairs if pair), None)


def from_apt() -> bool:
    """Install Debian's Chromium, as root or by sudo without a password; whether that worked."""
    if shutil.which("apt-get") is None:
        return False
    rights = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    if rights and (
        shutil.which("sudo") is None
        or subprocess.run([*rights, "true"], capture_output=True).returncode
    ):
        return False
    quiet = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = ["install", "-y", "--no-install-recommends", "chromium", "chromium-driver"]
    return all(
        subprocess.run([*quiet, *words], stdout=subprocess.DEVNULL).returncode == 0
        for words in (["update"], install)
    )


def ensure() -> tuple[str, str] | None:
    """A browser that starts and its driver, downloaded or installed if there is none."""
    if pair := find():
        return pair
    print("Fetching a browser ...", flush=True)
    pair = managed("chrome")
    if pair and starts(pair[0]):
        return pair
    if from_apt() and (pair := on_path()) and starts(pair[0]):
        return pair
    pair = managed("edge")
    return pair if pair and starts(pair[0]) else None


if __name__ == "__main__":
    if ensure() is None:
        sys.exit(
            "No browser can be found or installed; install Chromium with chromedriver, Chrome or "
            "Edge. The tests that need none run by python -m pytest -m 'not browser'"
        )
