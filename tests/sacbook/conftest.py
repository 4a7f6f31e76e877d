"""The built book and the browser that all tests of the book share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from sacbook import forked
from sacutils.files import home

from . import browser


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[None]:
    """The notebooks that tests execute start their kernels in one place."""
    with forked.server() as place, pytest.MonkeyPatch.context() as patch:
        for name, value in place.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def html() -> Path:
    folder = (home() / os.environ.get("SAC_HTML", "_build/smoke/html")).resolve()
    if not (folder / "index.html").is_file():
        pytest.fail(
            f"There is no built book in {folder}; build it first (make book PROFILE=smoke) or set "
            "SAC_HTML.",
            pytrace=False,
        )
    return folder


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver
