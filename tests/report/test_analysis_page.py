import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.report.page import Page
from tests.report.test_page_in_browser import BROWSER, DRAWN, FLAGS

from efficientformer.errors import RecordError
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.report.analysis.page import PAGE_NAME, RECORD_NAME, render_analysis

pytestmark = pytest.mark.usefixtures("checked_charts")

HOSTILE = "<script>alert(1)</script>"


def experiment(claim: str | None, runtime: str, ratio: float, **changes: Any) -> dict[str, Any]:
    paper = {"words": "LeViT-256 takes 44.5 ms with HardSwish", "source": "as reported", "ratio": 3.74}
    return {
        "observation": 4,
        "name": "HardSwish against ReLU in the MLP",
        "setting": "4 in a row",
        "is_network": False,
        "runtime": runtime,
        "subject": "MLP with HardSwish",
        "baseline": "MLP with ReLU",
        "ratio": ratio,
        "interval": [ratio * 0.97, ratio * 1.04],
        "rounds_interval": [ratio * 0.98, ratio * 1.02],
        "subject_ms": ratio,
        "baseline_ms": 1.0,
        "subject_macs": 1200,
        "baseline_macs": 1000,
        "claim": claim,
        "claim_words": claim and "HardSwish can be badly supported and then slow.",
        "bound": claim and "at least",
        "threshold": 1.5 if claim else None,
        "verdict": ("holds" if ratio > 1.6 else "does not hold here") if claim else None,
        "paper": paper if claim else None,
        **changes,
    }


def claim_row(**verdicts: str) -> dict[str, Any]:
    found = {"num_held": 1, "num_experiments": 1, "low": 1.0, "high": 2.0, "meaning": "Avoid HardSwish."}
    return {
        "claim": "hardswish",
        "topic": "HardSwish",
        "observation": 4,
        "words": "HardSwish can be badly supported and then slow.",
        "runtimes": {name: {"verdict": verdict, **found} for name, verdict in verdicts.items()},
        "across": None,
    }


def trial(option: str, ratio: float, **changes: Any) -> dict[str, Any]:
    effect = "saves" if ratio < 0.98 else "costs"
    return {
        **experiment(None, "mnn", ratio, name=f"{option} against GELU"),
        **{"choice": "activation", "option": option, "against": "GELU", "place": "stage 1", "effect": effect},
        **changes,
    }


def with_choices(record: dict[str, Any]) -> dict[str, Any]:
    record["trials"] = [trial("ReLU", 0.5), trial("HardSwish", 1.3)]
    runtimes = {"mnn": {"options": [], "meaning": "ReLU is the fastest."}}
    record["choices"] = [
        {"choice": "activation", "title": "Activation", "words": "GELU or ReLU.", "runtimes": runtimes}
    ]
    return record


def change(percent: float) -> dict[str, Any]:
    return {"choice": "ReLU", "networks": [{"network": "L1", "percent": percent}]}


@pytest.fixture
def record() -> dict[str, Any]:
    names = ("onnxruntime", "mnn")
    return {
        "format": 1,
        "resolution": 64,
        "device": "local",
        "threads": 1,
        "clock": "cpu",
        "rounds": 40,
        "runtimes": [{"name": n, "version": "1.2-build", "compute_unit": "cpu", "options": {"a": 1}} for n in names],
        "claims": [claim_row(onnxruntime="does not hold here", mnn="holds")],
        "advice": [
            {"runtime": "onnxruntime", "saves": [change(-8.0)], "costs": [], "equal": [], "untold": []},
            {"runtime": "mnn", "saves": [], "costs": [], "equal": [change(0.1)], "untold": []},
        ],
        "experiments": [
            experiment("hardswish", "onnxruntime", 1.02),
            experiment("hardswish", "mnn", 3.4),
            experiment(None, "mnn", 1.1, name="SiLU against ReLU in the MLP"),
        ],
        "switches": [
            {
                "observation": 4,
                "network": "L1",
                "choice": "ReLU",
                "runtime": name,
                "ratio": ratio,
                "interval": [ratio - 0.02, ratio + 0.02],
                "effect": effect,
            }
            for name, ratio, effect in (("onnxruntime", 0.92, "saves"), ("mnn", 1.001, "no difference"))
        ],
        "differences": [],
        "controls": [
            {"runtime": "onnxruntime", "is_network": True, "ratio": 1 / 1.013, "candidate": "L1", "copy": "L1, copy"}
        ],
        "candidates": [],
        "failures": [{"runtime": "mnn", "candidate": "L1 with SiLU", "reason": f"no operator {HOSTILE}"}],
        "hotspots": [
            {
                "model": "levit_256",
                "title": "LeViT-256",
                "runtime": "onnxruntime",
                "total_ms": 10.0,
                "source": "the runtime's profiler",
                "classes": {"attention": 4.0, "mlp": 5.5},
                "unassigned_ms": 0.5,
                "num_fused": {},
                "is_shares": False,
            }
        ],
        "provenance": {"machine": {"cpu": "A chip"}, "versions": {}, "time": "2026-11-22T10:00:00+00:00", "load": 1.0},
    }


def render(record: Any, folder: Path) -> Page:
    write_record(folder / RECORD_NAME, record)
    return Page(render_analysis(folder))


def test_the_page_shows_which_claims_hold_where(record, tmp_path):
    page = render(record, tmp_path)
    assert not page.open
    (headline,) = page.texts["h1"]
    assert headline.endswith("This does not hold here with ONNX Runtime and holds with MNN")
    text = " ".join(words for texts in page.texts.values() for words in texts)
    assert "does not hold here" in text and "holds" in text and "Avoid HardSwish." in text
    assert "ReLU (L1 \u22128\u202f%)" in text and "None of those tried." in text
    assert "up to 1.3\u202f% with ONNX Runtime" in text
    assert set(page.data) == {
        "spec-activations-hardswish",
        "spec-activations-other",
        "spec-switches",
        "spec-hotspots",
    }


def test_the_headline_counts_what_holds_when_several_claims_were_tried(record, tmp_path):
    record["claims"] += [claim_row(onnxruntime="holds in part", mnn="holds"), claim_row(mnn="cannot be told")]
    (headline,) = render(record, tmp_path).texts["h1"]
    assert headline.startswith("Of the paper's 3 claims about latency, ")
    assert headline.endswith("none (1 more in part) with ONNX Runtime and 2 with MNN hold here")


def values(page: Page, name: str, field: str) -> list[Any]:
    """A field of all rows that the layers of a chart hold."""
    spec = json.loads(page.data[f"spec-{name}"])
    return [row[field] for layer in spec["layer"] for row in layer["data"]["values"] if field in row]


def test_a_figure_holds_ratios_verdicts_threshold_and_the_paper(record, tmp_path):
    page = render(record, tmp_path)
    words = values(page, "activations-hardswish", "words")
    assert {"1.02 \u2717", "3.40 \u2713", "3.74", "4 in a row; 1.20 of the MACs"} <= set(words)
    assert values(page, "activations-hardswish", "dash").count("asked") == 1
    ends = [end for field in ("low", "high") for end in values(page, "activations-hardswish", field)]
    spec = json.loads(page.data["spec-activations-hardswish"])
    low, high = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < min(ends) and max(ends) < high
    other = set(values(page, "activations-other", "words"))
    assert "1.10" in other and "asked" not in values(page, "activations-other", "dash")


def test_choices_of_a_space_are_a_section_of_their_own(record, tmp_path):
    page = render(with_choices(record), tmp_path)
    anchors = [attributes["id"] for attributes in page.all("section")]
    assert anchors.index("choices") == anchors.index("switches") + 1
    text = " ".join(words for texts in page.texts.values() for words in texts)
    assert "no claims of the paper" in text and "ReLU is the fastest." in text
    words = values(page, "choice-activation", "words")
    assert {"ReLU against GELU", "0.50", "1.30"} <= set(words)


def test_choices_alone_are_not_a_failed_test_of_claims(record, tmp_path):
    record.update(claims=[], experiments=[], switches=[], advice=[])
    page = render(with_choices(record), tmp_path)
    assert page.texts["h1"] == ["The choices of a search space on this device"]
    assert "Claim of the paper" not in page.source


def test_strings_of_the_record_never_become_markup(record, tmp_path):
    record["experiments"][0]["name"] = HOSTILE
    record["switches"][0]["choice"] = HOSTILE
    page = render(record, tmp_path)
    assert HOSTILE not in page.source and "&lt;script&gt;" in page.source
    assert len([script for script in page.all("script") if "type" not in script]) == 2


def test_sections_without_rows_are_left_out(record, tmp_path):
    record.update(switches=[], hotspots=[], advice=[], controls=[])
    page = render(record, tmp_path)
    anchors = [attributes["id"] for attributes in page.all("section")]
    assert anchors == ["headline", "activations", "machine"]


@pytest.mark.parametrize("content", [[], {"format": 1}, {"format": 2, "experiments": []}])
def test_a_record_of_something_else_is_one_clear_error(content, tmp_path):
    write_record(tmp_path / RECORD_NAME, content)
    with pytest.raises(RecordError, match="Run 'efficientformer analyze' again"):
        render_analysis(tmp_path)
    assert not (tmp_path / PAGE_NAME).exists()


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(RecordError, match=RECORD_NAME):
        render_analysis(tmp_path)


def test_the_page_is_drawn_without_torch(record, tmp_path):
    render(record, tmp_path)
    code = (
        "import sys; from pathlib import Path; from efficientformer.report.analysis.page import render_analysis; "
        "render_analysis(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
    assert read_record(tmp_path / RECORD_NAME, Any)["format"] == 1


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH; the page is not tried in one")
@pytest.mark.parametrize("width", [1280, 400])
def test_every_figure_draws_and_fits_in_a_browser(record, tmp_path, width):
    from playwright.sync_api import sync_playwright

    render(record, tmp_path)
    troubles: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_context(offline=True, viewport={"width": width, "height": 900}).new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto((tmp_path / PAGE_NAME).as_uri())
        page.wait_for_function(DRAWN, timeout=30_000)
        marks = page.eval_on_selector_all(
            ".chart", "charts => charts.map(chart => chart.querySelectorAll('svg .mark-symbol path').length)"
        )
        scroll_width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert troubles == [] and scroll_width <= width
    assert marks == [3, 1, 2, 0]
