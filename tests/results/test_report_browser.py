"""The report in a real browser: nothing leaves, nothing runs, everybody can read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, browser
from payloads import HIT, OUT, PAYLOADS
from synthetic import Given, selected_from

import coreset
from coreset.dedup import DedupParams
from coreset.results.report import passed
from coreset.results.report.page import SECTIONS
from coreset.results.report.shown import shown
from coreset.sample import SampleParams
from coreset.sources.pairs import Reject

TEXTS = ("caption", "url", "source")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, demo: coreset.Run, chromium: Browser) -> Path:
    """The demo's report."""
    return Path(coreset.report(demo.folder, str(tmp_path_factory.mktemp("report"))).page)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Path:
    """The report of a run whose every text is a payload, each payload in each field."""
    folder = tmp_path_factory.mktemp("hostile") / f"<img src=x onerror={HIT}>"
    count = len(PAYLOADS)
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(count, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    turned = [PAYLOADS[number:] + PAYLOADS[:number] for number in range(len(TEXTS) + 1)]
    texts = {name: dict(zip(PAYLOADS, turned[number + 1], strict=True)) for number, name in enumerate(TEXTS)}
    rejects = [
        Reject(turned[1][number], number, payload, turned[2][number], 1) for number, payload in enumerate(PAYLOADS)
    ]
    text = draw.normal(size=count).astype(np.float32)
    given = Given(PAYLOADS, vectors, text, np.zeros((1, 6), np.float32), texts, rejects)
    windows = SampleParams(n=count, text_rank=(0, 100), centroid_rank=(0, 100), allow_fewer=True)
    selected_from(folder, given, DedupParams(threshold=1.0), windows)
    plan = json.loads((folder / "rows" / "plan.json").read_text())
    plan["params"] = {payload[:100]: payload for payload in PAYLOADS}
    (folder / "rows" / "plan.json").write_text(json.dumps(plan))
    cost = {"seconds": 1.0, "began": PAYLOADS[0], "host": PAYLOADS[1], "workers": 1, "peak_resident_bytes": 1}
    noted = {"root": PAYLOADS[7], "stages": {"rows": cost}, "versions": dict(zip(PAYLOADS, PAYLOADS, strict=True))}
    (folder / "run.json").write_text(json.dumps(noted))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passed, "KEPT_ROWS", count)
        return Path(coreset.report(str(folder)).page)


def test_the_demo_is_shown_and_asks_for_nothing(chromium: Browser, page: Path) -> None:
    seen = chromium.open(page)
    assert seen.complaints == []
    assert seen.outside == []
    assert any(url.startswith("data:image/webp") for url in seen.requests)
    for name, _ in SECTIONS:
        height = chromium.script("return document.getElementById(arguments[0]).offsetHeight", name)
        assert height > 100, name
    assert chromium.script("return document.querySelectorAll('script').length") == 0
    broken = "return [...document.images].filter(one => !one.complete || !one.naturalWidth).length"
    assert chromium.script(broken) == 0
    assert chromium.script("return document.images.length") > 100


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)], ids=["phone, dark", "desktop, light"])
def test_everybody_can_read_it(chromium: Browser, page: Path, width: int, dark: bool) -> None:
    chromium.open(page, width, dark, unfold=dark)
    background = chromium.script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 20, 23)" if dark else "rgb(255, 255, 255)")
    assert chromium.script("return document.documentElement.scrollWidth") <= width
    assert chromium.violations() == []


def test_the_keyboard_reaches_sections_and_groups(chromium: Browser, page: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    chromium.open(page)
    focused = "return document.activeElement.textContent.trim()"
    body = chromium.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert chromium.script(focused) == "Skip to the funnel"
    links = [title for _, title in SECTIONS]
    for title in links:
        chromium.driver.switch_to.active_element.send_keys(Keys.TAB)
        assert chromium.script(focused) == title
    group = chromium.driver.find_element(By.CSS_SELECTOR, "#samples summary")
    group.send_keys(Keys.ENTER)
    assert chromium.script("return document.querySelector('#samples details').open") is False


def test_the_browser_would_notice(chromium: Browser, tmp_path: Path) -> None:
    raw = tmp_path / "raw.html"
    raw.write_text(
        "<!DOCTYPE html><meta charset=utf-8>" + "".join(PAYLOADS[:10]).replace("alert(1)", "console.error(1)")
    )
    seen = chromium.open(raw)
    assert seen.complaints
    assert any(url.startswith(OUT) for url in seen.outside)


def cells(chromium: Browser, selector: str) -> list[list[str]]:
    """The texts of the cells of a table's body, exactly."""
    script = """return [...document.querySelector(arguments[0]).querySelectorAll('tbody tr')].map(
        row => [...row.children].map(cell => cell.textContent))"""
    found: list[list[str]] = chromium.script(script, selector)
    return found


def test_no_text_becomes_more_than_text(chromium: Browser, hostile: Path) -> None:
    seen = chromium.open(hostile, 390)
    assert seen.complaints == []
    assert seen.outside == []
    foreign = "script, iframe, object, embed, form, base, body link, meta[http-equiv=refresh]"
    assert chromium.script("return document.querySelectorAll(arguments[0]).length", foreign) == 0
    names = "return [...document.querySelectorAll('*')].flatMap(one => one.getAttributeNames())"
    assert not [name for name in chromium.script(names) if name.startswith("on")]
    assert chromium.script("return document.querySelectorAll('h1').length") == 1
    assert chromium.script("return [...document.links].every(one => one.getAttribute('href').startsWith('#'))") is True
    assert chromium.script("return document.documentElement.scrollWidth") <= 390


def test_every_payload_is_shown_in_every_field(chromium: Browser, hostile: Path) -> None:
    chromium.open(hostile)
    wanted = [shown(payload) for payload in PAYLOADS]
    lines = cells(chromium, "#samples .rows")
    for column in range(4):  # key, caption, url, source
        assert sorted(line[column] for line in lines) == sorted(wanted)
    values: list[Any] = [json.dumps(payload, ensure_ascii=False) for payload in PAYLOADS]
    assert sorted(line[1] for line in cells(chromium, "#parameters .group")) == sorted(map(shown, values))
    quarantine = "return [...document.querySelectorAll(`#quarantine ${arguments[0]}`)].map(one => one.textContent)"
    assert sorted(chromium.script(quarantine, "h3 code")) == sorted(shown(payload, 80) for payload in PAYLOADS)
    for place, cell in ((1, "tbody th"), (3, "tbody td:nth-child(3)")):
        assert sorted(chromium.script(quarantine, cell)) == sorted(wanted), place
    cards = "return [...document.querySelectorAll(`#samples .card .${arguments[0]}`)].map(one => one.textContent)"
    for name, most in (("caption", 140), ("key", 120)):
        assert sorted(chromium.script(cards, name)) == sorted(shown(payload, most) for payload in PAYLOADS)
    assert shown(PAYLOADS[7]) in chromium.script("return document.getElementById('parameters').textContent")
    assert f"<img src=x onerror={HIT}>" in chromium.script("return document.querySelector('header').textContent")
