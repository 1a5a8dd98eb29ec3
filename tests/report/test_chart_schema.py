from pathlib import Path
from typing import Any

from efficientformer.report import render_report


def test_every_chart_of_a_run_is_what_the_schema_of_vega_lite_allows(
    checked_charts: list[Any], run_dir: Path, v2_run_dir: Path
) -> None:
    for folder in (run_dir, v2_run_dir):
        render_report(folder)
    assert len(checked_charts) > 20
