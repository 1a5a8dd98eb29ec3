"""References in the report: a row beneath each budget, and the headline where they are more accurate."""

from pathlib import Path
from typing import Any

import pytest

from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.report import render_report
from efficientformer.report.run.result_sections import better_references, other_references
from efficientformer.tasks.words import CLASSIFICATION


def reference(**changes: Any) -> dict[str, Any]:
    row = {"name": "levit_128.fb_dist_in1k", "measured_ms": 1.234, "measured_interval_ms": [1.2, 1.25], "kept": True}
    row |= {"interval_percent": 95.0, "sessions": 6, "top1": 91.0, "top5": 99.0, "num_images": 250}
    return {**row, "num_params": 9_210_000, "macs": 406_000_000, "onnx": "references/levit/model.onnx", **changes}


def test_the_promises_have_a_row_for_each_reference(run_dir: Path) -> None:
    """It stands beneath its budget, and the headline says where it is better."""
    result = read_record(run_dir / "result.json", Any)
    assert "published, fine-tuned" not in render_report(run_dir).read_text(encoding="utf-8")
    hostile = "<script>alert(9)<x>"
    result[0] |= {"top1": 88.0, "reference": reference()}
    result[1] |= {"top1": 88.0, "reference": reference(name=hostile, top1=87.0, macs=None)}
    result[2] |= {"top1": 88.0, "reference": None}
    write_record(run_dir / "result.json", result)
    page = render_report(run_dir).read_text(encoding="utf-8")
    assert hostile not in page and page.count("published, fine-tuned") == 2
    headline = page[page.index("<h1") : page.index("</h1>")]
    assert "For 60% (" in headline and "For 40%" not in headline
    assert (
        "the published levit_128.fb_dist_in1k, fine-tuned alike, is more accurate: 91.0 % top-1 against 88.0 %"
        in headline
    )
    table = page[page.index('<table class="promises">') :]
    places = [
        table.index(text) for text in ("60%</th>", "levit_128.fb_dist_in1k</th>", "40%</th>", "&lt;script&gt;alert(9)")
    ]
    assert places == sorted(places) and "9.21" in table and "1.23" in table
    assert "the network found is more accurate than the published &lt;script&gt;" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top1": 91.0}, "is more accurate: 91.0 % top-1 against 88.0 % on 250 images"),
        ({"top1": 85.0}, "the network found is more accurate than the published levit_128.fb_dist_in1k, fine-tuned"),
        ({"top1": 88.01}, "the network found is as accurate as the published"),
        ({"top1": 91.0, "kept": False}, "is over the budget; fine-tuned alike it has 91.0 % top-1, not 88.0 %"),
    ],
)
def test_a_reference_is_better_only_within_its_budget(changes: dict[str, Any], words: str) -> None:
    rows = [{"title": "8ms", "score": 88.0, "reference": reference(**changes)}]
    better, others = better_references(rows, CLASSIFICATION), other_references(rows, CLASSIFICATION)
    assert len(better) == ("is more accurate:" in words) and len(others) == 1 - len(better)
    assert words in (better + others)[0] and (better + others)[0].startswith("For 8ms ")
