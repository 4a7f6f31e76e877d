"""Read a built book as a reader does: served here, in a Chromium that reaches no other host."""

import functools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver

from sacbook import browsers

FLAGS = (
    "--disable-quic --disable-sync --disable-background-networking --disable-component-update "
    "--disable-dev-shm-usage --hide-scrollbars --window-size=1280,900"
).split()
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}

READ_PAGE = (Path(__file__).parent / "read_page.js").read_text(encoding="utf-8")
AUDIT_PAGE = (Path(__file__).parent / "audit_page.js").read_text(encoding="utf-8")
installed = functools.cache(browsers.find)


@functools.cache
def axe() -> str:
    """axe-core, out of a package that is not imported: it would load another driver of browsers."""
    package = Path(find_spec("axe_playwright_python").origin)
    return package.with_name("axe.min.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Page:
    """What a visit to one page showed."""

    name: str
    facts: dict[str, Any]
    console: list[str]
    requests: list[str]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer an unknown address with the book's own page, as a host of static pages does."""
        page = Path(self.directory) / "404.html"
        if code != 404 or not page.exists():
            return super().send_error(code, message, explain)
        content = page.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields its address, with a final slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium(profile: Path) -> Iterator[WebDriver]:
    """A headless Chromium with an empty profile, which resolves no name of another host."""
    pair = installed()
    assert pair, "Run python -m sacbook.browsers first (make test does so)."
    browser, driver = pair
    edge = "edge" in Path(driver).name
    options = webdriver.EdgeOptions() if edge else webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*browsers.FLAGS, *FLAGS, OFFLINE, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability(
        f"{'ms' if edge else 'goog'}:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = (webdriver.EdgeService if edge else webdriver.ChromeService)(driver)
    session = (webdriver.Edge if edge else webdriver.Chrome)(options, service)
    session.set_script_timeout(300)
    session.set_page_load_timeout(300)
    try:
        yield session
    finally:
        session.quit()


def visit(session: WebDriver, address: str, name: str, audited: bool = False) -> Page:
    """Open a page, wait until its formulas are typeset, and report what it shows. If it is to be
    `audited`, the same load is read again in the dark on a phone, as the fact ``dark``, and the
    serious and critical findings of axe in light and dark are the fact ``axe``.
    """
    session.get(urljoin(address, name))
    facts = _read(session, name)
    if audited:
        session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        session.execute_script("document.documentElement.dataset.theme = 'dark'")
        facts["dark"] = _read(session, name)
        session.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        session.execute_script("document.documentElement.dataset.theme = 'light'")
        session.execute_script(axe())
        facts["axe"] = session.execute_async_script(AUDIT_PAGE)
    console = [
        entry["message"] for entry in session.get_log("browser") if entry["level"] == "SEVERE"
    ]
    return Page(name, facts, console, requests(session))


def _read(session: WebDriver, name: str) -> dict[str, Any]:
    facts = session.execute_async_script(READ_PAGE)
    assert "failure" not in facts, f"{name}: {facts['failure']}"
    return facts


def requests(session: WebDriver) -> list[str]:
    """Addresses that the pages have asked for since the last call."""
    events = (json.loads(entry["message"])["message"] for entry in session.get_log("performance"))
    names = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [name for name in names if name.startswith(("http:", "https:", "ws:", "wss:"))]


def prose(session: WebDriver) -> str:
    """Text of the open page, without code and without typeset formulas."""
    return session.execute_script(
        "const page = document.querySelector('main').cloneNode(true);"
        "const code = 'pre, code, script, style, mjx-container';"
        "page.querySelectorAll(code).forEach((element) => element.remove());"
        "return page.textContent;"
    )


def toc_pages(html: Path) -> list[str]:
    """Pages that the table of contents of a built book lists, the first page included."""
    first = re.search(r'url=([^"]+\.html)', (html / "index.html").read_text(encoding="utf-8"))
    start = first.group(1) if first else "index.html"
    sidebar = (
        (html / start)
        .read_text(encoding="utf-8")
        .partition('class="bd-links')[2]
        .partition("</nav>")[0]
    )
    links = re.findall(r'class="reference internal" href="([^"#]+)"', sidebar)
    return list(dict.fromkeys([start, *links]))


class Links(HTMLParser):
    """Where a page leads to: its links, the files that it needs, and its anchors."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.needed: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.anchors |= {value for value in (values.get("id"), values.get("name")) if value}
        self.links |= {value for value in (values.get("href"), values.get("src")) if value}
        if tag == "link" or values.get("src"):
            self.needed.add(values.get("href") or values.get("src"))
        if values.get("http-equiv") == "Refresh":
            self.links.add(values["content"].partition("url=")[2])


def broken_links(html: Path) -> list[str]:
    """Links, images and anchors within a built book that lead nowhere, as ``page -> target``."""
    pages = {}
    for path in sorted(html.rglob("*.html")):
        if "_static" not in path.parts:
            pages[path] = Links(path.read_text(encoding="utf-8"))
    broken = []
    for path, parsed in pages.items():
        for link in sorted(parsed.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            base = html if parts.path.startswith("/") else path.parent
            target = (
                (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path.resolve()
            )
            page = (
                pages.get(html.resolve() / target.relative_to(html.resolve()))
                if target.is_relative_to(html.resolve())
                else None
            )
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and page and anchor not in page.anchors):
                broken.append(f"{path.relative_to(html)} -> {link}")
    return broken
