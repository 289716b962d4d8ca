"""HTML pages in headless Chromium: run by `make test-browser`; skipped if Chromium is not installed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SANDBOX = [] if hasattr(os, "geteuid") and os.geteuid() else ["--no-sandbox"]  # root has none


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SANDBOX)
        yield browser
        browser.close()


class Watched:
    """A page, and all that it did besides showing itself: requests, console lines, errors, dialogs."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def outside(self, *inside: str) -> list[str]:
        """The addresses that were asked for and do not begin with one of those given."""
        return [url for url in self.asked if not url.startswith((*inside, "data:"))]

    def findings(self) -> list[str]:
        """What axe finds serious or critical, by rule and place."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]


Open = Callable[..., Watched]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open an address, at a color scheme and width, in a context of its own."""
    contexts = []

    def open_it(address: str | Path, scheme: str = "light", width: int = 1280) -> Watched:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(15_000)
        contexts.append(context)
        return Watched(context, address.as_uri() if isinstance(address, Path) else address)

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def viewed(built: Path) -> Iterator[str]:
    """The address at which the command shows the small world."""
    command = [sys.executable, "-m", "pipeline", "view", str(built), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
