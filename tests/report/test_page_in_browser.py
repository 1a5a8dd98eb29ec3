"""The page in a real browser, without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from efficientformer.report import render_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DRAWN = "[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)"

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH; the page is not tried in one"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any, run_dir: Path) -> Iterator[Any]:
    """Open the report offline, at a width and in a color scheme; in the end nothing was fetched or went wrong."""
    path = render_report(run_dir)
    contexts, troubles, requests = [], [], []

    def open_page(width: int = 1280, color_scheme: str = "light") -> Any:
        viewport = {"width": width, "height": 900}
        context = browser.new_context(offline=True, viewport=viewport, color_scheme=color_scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function(DRAWN, timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith("file://")] == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_every_chart_draws_marks_and_fits(visit: Any, width: int, color_scheme: str) -> None:
    page = visit(width, color_scheme)
    marks = page.eval_on_selector_all(
        ".chart",
        "charts => charts.map(chart => chart.querySelectorAll('svg .role-mark [d], svg .role-mark line').length)",
    )
    assert len(marks) == 17 and min(marks) > 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    overflowing = """svgs => svgs.filter(svg => {
        const inner = svg.getBBox(), box = svg.viewBox.baseVal;
        return inner.x < -1 || inner.x + inner.width > box.width + 1
            || inner.y < -1 || inner.y + inner.height > box.height + 1;
    }).map(svg => svg.closest('[data-spec]').dataset.spec)"""
    assert page.eval_on_selector_all(".chart svg", overflowing) == []


def test_colors_follow_the_scheme_without_drawing_again(visit: Any) -> None:
    page = visit()
    fill = "getComputedStyle(document.querySelector('#plane .role-axis-label text')).fill"
    light = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(fill) != light
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(fill) == light


def test_a_click_leaves_the_values_of_a_point_on_the_page(visit: Any) -> None:
    page = visit()
    page.locator("#plane .mark-symbol path").last.click()
    assert "trained for: 1.1ms" in page.locator("#plane .readout").inner_text()
    assert "widths" in page.locator("#vg-tooltip-element").inner_text()


def test_hostile_names_are_inert_wherever_they_show(visit: Any) -> None:
    page = visit()
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    cell = page.locator("[data-spec='spec-confusion-60pct'] [aria-label*='true class: <script>alert(1)']").first
    cell.scroll_into_view_if_needed()
    cell.click(force=True)
    assert "<script>alert(1)</script>" in page.locator("#vg-tooltip-element").inner_text()
    assert "<script>alert(1)</script>" in page.locator("#data").inner_text()
    assert page.locator("img").count() == 0
    assert page.locator("script:not([type])").count() == 2


def test_without_javascript_the_numbers_are_still_there(browser: Any, run_dir: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(render_report(run_dir).as_uri())
    assert "charts of this page need JavaScript" in page.locator("main").inner_text()
    assert page.locator(".promises tbody tr").count() == 3
    assert page.locator("svg.architecture").count() == 4
    context.close()
