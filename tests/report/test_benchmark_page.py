import copy
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from efficientformer.errors import RecordError
from efficientformer.records import write_record
from efficientformer.report.benchmark.findings import findings, headline, pareto_front, usable
from efficientformer.report.benchmark.page import render_benchmark

pytestmark = pytest.mark.usefixtures("checked_charts")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<img src=x onerror=alert(1)>"


def result(runtime: str, p50_ms: float | None, reference_ms: float, problem: str | None = None) -> dict[str, Any]:
    """A result whose interval is 1 % wide."""
    if p50_ms is None:
        names = ("p50_ms", "interval_ms", "p90_ms", "p99_ms", "disturbed_percent", "calm", "settled", "samples_ms")
        names += ("ratio", "ratio_interval", "max_abs_difference", "relative_difference")
        return {"runtime": runtime, **dict.fromkeys(names), "tolerance": 0.01, "problem": problem}
    ratio = None if problem else p50_ms / reference_ms
    return {
        "runtime": runtime,
        "p50_ms": p50_ms,
        "interval_ms": [0.995 * p50_ms, 1.005 * p50_ms],
        "p90_ms": 1.1 * p50_ms,
        "p99_ms": 1.2 * p50_ms,
        "disturbed_percent": 5.0,
        "calm": True,
        "settled": True,
        "ratio": ratio,
        "ratio_interval": ratio and [0.995 * ratio, 1.005 * ratio],
        "max_abs_difference": 1e-6,
        "relative_difference": 4.0 if problem else 1e-5,
        "tolerance": 0.01,
        "problem": problem,
        "samples_ms": [p50_ms] * 40,
    }


def network(name: str, title: str, macs: int, top1: float | None, *results: dict[str, Any]) -> dict[str, Any]:
    kind = "zoo" if name.startswith("efficientformer") else "timm"
    return {
        "name": name,
        "title": title,
        "source": {"kind": kind, "target": name},
        "deploy_form": "as in timm",
        "weights": "random",
        "num_params": macs // 100,
        "macs": macs,
        "resolution": [224, 224],
        "top1": top1,
        "top5": None,
        "top1_source": top1 and "a table",
        "paper": None,
        "results": list(results),
    }


@pytest.fixture
def record() -> dict[str, Any]:
    """Four networks on two runtimes; one is wrong on the second runtime, and one cannot be run there."""
    fast, slow = ("onnxruntime", 10.0), ("openvino", 20.0)

    def both(factor: float) -> list[dict[str, Any]]:
        return [result(name, factor * reference, reference) for name, reference in (fast, slow)]

    wrong, failed = result("openvino", 9.0, 20.0, "wrong output: 4"), result("openvino", None, 20.0, f"no {HOSTILE}")
    models = [
        network("efficientformer_l1", "EfficientFormer-L1", 1_290_000_000, 79.2, *both(2.1)),
        network("mobilenetv2_140", "MobileNetV2 x1.4", 582_000_000, 76.5, *both(1.0)),
        network("slow_net", "SlowNet", 582_000_000, 75.0, both(3.0)[0], wrong),
        network("other", HOSTILE, 300_000_000, None, both(0.5)[0], failed),
    ]
    pair = {
        "network": "efficientformer_l1",
        "baseline": "mobilenetv2_140",
        "paper_ms": [1.6, 1.6],
        "paper_top1": [79.2, 74.7],
        "paper_device": "iPhone 12, neural engine",
        "results": [
            {"runtime": name, "ratio": 2.1, "ratio_interval": [2.05, 2.15]} for name in ("onnxruntime", "openvino")
        ],
    }
    return {
        "format": 1,
        "suite": {"name": "paper", "description": "", "missing": {"CSwin-T": "not in timm"}},
        "reference": "mobilenetv2_140",
        "device": "local",
        "runtimes": [
            {"name": name, "version": "1.2.3-beta", "compute_unit": "CPU", "options": {"mode": "fast"}}
            for name in ("onnxruntime", "openvino")
        ],
        "threads": 1,
        "clock": "cpu",
        "rounds": 40,
        "models": models,
        "comparisons": [pair],
        "agreements": [{"runtimes": ["onnxruntime", "openvino"], "kendall_tau": 0.98, "num_networks": 4}],
        "sources": {"timm": {"title": "timm", "url": "https://example.org", "kept": "all", "date": "2025-10-30"}},
        "provenance": {
            "machine": {"cpu": "a processor", "cores": 2},
            "versions": {"timm": "1.0"},
            "time": "2026-11-22T20:00:00+00:00",
            "load": 0.5,
            "command": "efficientformer benchmark",
        },
    }


def with_ratio(record: dict[str, Any], paper_ms: list[float], *intervals: list[float]) -> str:
    """The first finding, for a pair with other milliseconds in the paper and other ratios here."""
    pair = record["comparisons"][0]
    pair["paper_ms"] = paper_ms
    for row, (low, high) in zip(pair["results"], intervals, strict=True):
        row |= {"ratio": (low + high) / 2, "ratio_interval": [low, high]}
    return findings(record)[0]


def test_the_papers_headline_is_answered_from_the_numbers(record):
    sentence = findings(record)[0]
    assert sentence == (
        "EfficientFormer-L1 takes 2.10 [2.05–2.15] times as long as MobileNetV2 x1.4 with ONNX Runtime and 2.10 "  # noqa: RUF001
        "[2.05–2.15] times with OpenVINO. The paper reports equal latency (1.6 and 1.6 ms) on an iPhone 12, neural "  # noqa: RUF001
        "engine: not confirmed here. EfficientFormer-L1 has 2.22 times the MACs, which is about the ratio of the "
        "latencies. Published top-1: 79.2 % against 76.5 %."
    )
    assert headline(record).startswith("EfficientFormer-L1 takes 2.10 times as long as MobileNetV2 x1.4 with ONNX")


@pytest.mark.parametrize(
    ("paper_ms", "intervals", "verdict"),
    [
        ([1.6, 1.6], ([0.97, 1.01], [1.0, 1.02]), "the same here"),
        ([1.6, 1.6], ([0.5, 0.6], [1.4, 1.5]), "not confirmed here"),
        (
            [2.7, 1.6],
            ([1.3, 1.4], [1.2, 1.3]),
            "the order is the same here, and the ratio is 0.7 to 0.8 times the paper's",
        ),
        ([1.6, 7.3], ([1.1, 1.2], [1.3, 1.4]), "the order is reversed here"),
        ([1.6, 7.3], ([0.8, 0.9], [1.3, 1.4]), "depends on the runtime, or the difference is too small"),
    ],
)
def test_verdicts_follow_from_intervals_and_the_papers_rounding(record, paper_ms, intervals, verdict):
    assert verdict in with_ratio(record, paper_ms, *intervals)


def test_what_was_not_measured_is_not_claimed(record):
    for row in record["comparisons"][0]["results"]:
        row |= {"ratio": None, "ratio_interval": None}
    assert not any("paper" in sentence for sentence in findings(record))
    assert headline(record) == f"{HOSTILE} is the fastest of 4 networks with ONNX Runtime: 5.00\u202fms"


def test_wrong_outputs_are_never_ranked(record):
    assert [row["name"] for row, _ in usable(record, "openvino")] == ["efficientformer_l1", "mobilenetv2_140"]
    assert not any("SlowNet" in sentence for sentence in findings(record) if "with OpenVINO" in sentence)


def test_what_beats_an_efficientformer_is_stated_and_ties_are_not(record):
    beaten = "EfficientFormer-L1 is slower than SlowNet and has a lower published top-1."
    rival = next(row for row in record["models"] if row["title"] == "SlowNet")
    rival["top1"] = 81.5
    assert not any(sentence.endswith(beaten) for sentence in findings(record))
    rival["results"][0] |= {"p50_ms": 20.0, "interval_ms": [19.5, 20.895]}
    assert not any(sentence.endswith(beaten) for sentence in findings(record))
    rival["results"][0]["interval_ms"] = [19.5, 20.5]
    assert f"With ONNX Runtime, {beaten}" in findings(record)


def test_the_front_holds_what_nothing_else_beats(record):
    rows = [
        ({"title": str(index), "top1": top1}, {"p50_ms": ms})
        for index, (ms, top1) in enumerate(
            [(5.0, 70.0), (4.0, 70.0), (6.0, 75.0), (7.0, 74.0), (8.0, 80.0), (1.0, None)]
        )
    ]
    assert [row["title"] for row in pareto_front(rows)] == ["1", "2", "4"]


def test_the_page_shows_everything_and_nothing_becomes_markup(record, tmp_path):
    write_record(tmp_path / "benchmark.json", record)
    text = render_benchmark(tmp_path).read_text()
    assert HOSTILE not in text and "&lt;img src=x" in text
    for words in ("CSwin-T", "wrong output", "SlowNet", "a processor", "reference", "Pareto front", "2025-10-30"):
        assert words in text
    assert text.count('class="chart"') == 3
    assert "ONNX Runtime 1.2.3 and OpenVINO 1.2.3 on 1 thread of" in text
    assert "The machine was not calm" not in text


def test_a_disturbed_machine_is_named(record, tmp_path):
    record["models"][0]["results"][0]["calm"] = False
    write_record(tmp_path / "benchmark.json", record)
    assert "The machine was not calm" in render_benchmark(tmp_path).read_text()


def test_a_record_of_another_form_is_a_stated_failure(record, tmp_path):
    path = tmp_path / "benchmark.json"
    with pytest.raises(RecordError, match="does not exist"):
        render_benchmark(tmp_path)
    broken = [[], {"models": 1}, {**record, "format": 2}, {**record, "reference": "nobody"}]
    for name in ("comparisons", "provenance", "runtimes", "threads", "sources"):
        broken.append({key: value for key, value in record.items() if key != name})
    lacking = copy.deepcopy(record)
    del lacking["models"][0]["results"][0]["p50_ms"]
    for content in (*broken, lacking):
        write_record(path, content)
        with pytest.raises(RecordError, match="Run 'efficientformer benchmark' again"):
            render_benchmark(tmp_path)


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_in_a_browser_charts_draw_and_a_click_sorts(record, tmp_path):
    from playwright.sync_api import sync_playwright

    write_record(tmp_path / "benchmark.json", record)
    page_path: Path = render_benchmark(tmp_path)
    troubles: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 400, "height": 900}).new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(page_path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        table = page.locator("table.sortable").first
        heading = table.locator("thead button", has_text="p50").nth(1)
        orders = []
        for _ in range(2):
            heading.click()
            cells = [
                row.locator("td, th").nth(7).get_attribute("data-value") for row in table.locator("tbody tr").all()
            ]
            orders.append([float(cell) for cell in cells if cell])
            assert cells[-1] == ""  # what failed stays last
        browser.close()
    assert orders[0] == sorted(orders[0]) and orders[1] == sorted(orders[1], reverse=True)
    assert all(len(order) == 3 for order in orders) and troubles == []
    assert [one != other for one, other in itertools.pairwise(orders)] == [True]


def test_task_models_have_no_published_top1_and_stand_next_to_published_figures(record, tmp_path):
    for row in record["models"]:
        row.update(top1=None, score=51.2 if row["name"] == "other" else None)
    for row in record["models"]:
        row["source"]["kind"] = "zoo" if row["name"].startswith("efficientformer") else "onnx"
    published = [
        {"name": "efficientformer_l1", "title": "L1", "source": "paper", "box_ap": 37.9, "mask_ap": 35.4, "miou": 38.9},
        {"name": "resnet50", "title": HOSTILE, "source": "paper", "box_ap": 38.0},
        {"name": "l7", "title": "only masks", "source": "paper", "miou": 45.1},
    ]
    source = {"short": "paper", "title": "A paper (2022)", "url": "https://example.org", "kept": "confirmed rows"}
    task = {"name": "detection", "head": "head 96-96", "num_classes": 80, "published_recipe": "Mask R-CNN on COCO"}
    write_record(
        tmp_path / "benchmark.json", {**record, "task": task, "published": published, "sources": {"paper": source}}
    )
    page = render_benchmark(tmp_path).read_text(encoding="utf-8")
    assert "box AP in its run (%)" in page and "51.2" in page and "Top-1 (%)" not in page
    assert "Mask R-CNN on COCO" in page and "37.9" in page and "only masks" not in page and HOSTILE not in page
    assert "it is no Mask R-CNN" in page and page.count(">21.0</td>") == 1, "L1 as measured, next to its figures"
