"""A real browser that reads a page: what it says, asks for and complains of; the system's chromium and chromedriver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
REQUIRED = "CORESET_REQUIRE_BROWSER"
"""If it is set, a browser that is absent fails the tests instead of skipping them."""
INSIDE = ("file:", "data:", "about:", "chrome:", "devtools:")


@dataclass
class Seen:
    """What a browser noted while it showed a page."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Requests for anything that is not in the file itself."""
        return [url for url in self.requests if not url.startswith(INSIDE)]


class Browser:
    """One browser, one tab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1280, dark: bool = False, unfold: bool = True) -> Seen:
        """Show a page, all its groups and tables unfolded or as it comes, and say what was noted of it."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.seen()  # of the page before
        self.driver.get(page.resolve().as_uri())
        if unfold:
            self.script("for (const one of document.querySelectorAll('details')) one.open = true")
        self.script("window.scrollTo(0, document.body.scrollHeight)")
        return self.seen()

    def command(self, name: str, **given: object) -> None:
        """Tell the browser what no page can."""
        self.driver.execute_cdp_cmd(name, given)

    def script(self, text: str, *given: object) -> Any:
        """What a script of the test, not of the page, returns."""
        return self.driver.execute_script(text, *given)

    def seen(self) -> Seen:
        """What was noted since this was asked last."""
        found = Seen([entry["message"] for entry in self.driver.get_log("browser")])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.requests.append(message["params"]["request"]["url"])
            if message["method"] == "Page.javascriptDialogOpening":
                found.complaints.append(f"dialog: {message['params']['message']}")
        return found

    def violations(self) -> list[str]:
        """What axe-core has against the page as it is shown."""
        self.script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
        run = (
            "const end = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(end, e => end(String(e)))"
        )
        found = self.driver.execute_async_script(run)
        assert isinstance(found, dict), found
        assert len(found["passes"]) > 10
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in a folder; skips the test where there is none."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        why = "chromium and chromedriver are not installed"
        pytest.fail(why) if os.environ.get(REQUIRED) else pytest.skip(why)
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.set_capability("unhandledPromptBehavior", "dismiss")
    started = Chrome(options=options, service=Service(driver))
    try:
        started.set_script_timeout(60)
        yield Browser(started)
    finally:
        started.quit()
