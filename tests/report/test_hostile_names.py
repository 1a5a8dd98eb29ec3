"""Names of classes, files and folders that act on lines, screens and directions are text on every page."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report.page import Page
from tests.report.test_page_in_browser import BROWSER, DRAWN, FLAGS

from efficientformer.report import render_report

ACTING = ("\x1b[31mred", "two\nlines", "bell\x07", "\u202etxt.exe", "caf\udce9", "[red]x[/]", "\u2028", "x" * 10_000)
SHOWN = ("\\x1b[31mred", "two\\nlines", "bell\\x07", "\\u202etxt.exe", "caf\\udce9", "[red]x[/]", "\\u2028")
HIDDEN = set("\x1b\x07\u202e\u2028\udce9")


@pytest.fixture
def acting_run(tmp_path: Path, write_large_run: Callable[..., Path]) -> Path:
    return write_large_run(tmp_path / "evil\x1b[31m\u202e", classes=ACTING)


def test_a_page_shows_what_acts_as_escapes(acting_run: Path) -> None:
    source = render_report(acting_run).read_text(encoding="utf-8")
    body = source[: source.index("<script>", source.index("<body>"))]
    assert not HIDDEN & set(body)
    page = Page(acting_run / "report.html")
    shown = " ".join(text for tag in ("td", "th", "code", "title") for text in page.texts.get(tag, []))
    for name in SHOWN:
        assert name in shown, name
    assert "evil\\x1b[31m\\u202e" in page.texts["title"][0]


def test_charts_are_drawn_from_names_that_are_text(acting_run: Path) -> None:
    render_report(acting_run)
    specs = [json.loads(data) for data in Page(acting_run / "report.html").data.values()]
    strings = set(_strings(specs))
    assert not HIDDEN & set("".join(strings)) and not any("\n" in text for text in strings)
    assert {"two\\nlines", "\\x1b[31mred", "\\u202etxt.exe"} <= strings


def test_the_records_keep_names_exactly(acting_run: Path) -> None:
    render_report(acting_run)
    assert json.loads((acting_run / "data.json").read_text(encoding="utf-8"))["classes"][:4] == list(ACTING[:4])


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_a_browser_draws_a_page_of_such_names(acting_run: Path) -> None:
    from playwright.sync_api import sync_playwright

    troubles: list[str] = []
    path = render_report(acting_run).rename(acting_run.parent / "report.html")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = running.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function(DRAWN, timeout=30_000)
        text = page.evaluate("document.body.textContent")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert "evil\\x1b[31m\\u202e" in page.title()
        running.close()
    assert troubles == [] and not HIDDEN - {"\u2028"} & set(text.replace("\udce9", ""))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
