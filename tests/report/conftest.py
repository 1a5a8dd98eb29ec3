from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import pytest

from .made_run import V2_SPACE, write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "fruit & co")


@pytest.fixture
def v2_run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "v2", V2_SPACE)


@pytest.fixture(scope="session")
def write_large_run() -> Callable[..., Path]:
    return write_run


@pytest.fixture
def checked_charts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The charts that were drawn, each compared with the schema of Vega-Lite, which pages leave out."""
    to_dict, whole, open_charts = alt.TopLevelMixin.to_dict, [], []

    def checking(chart: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        if not open_charts:  # a part of a chart is not valid by itself
            whole.append(chart)
        open_charts.append(chart)
        try:
            return to_dict(chart, *arguments, **{**options, "validate": len(open_charts) == 1})
        finally:
            open_charts.pop()

    monkeypatch.setattr(alt.TopLevelMixin, "to_dict", checking)
    return whole
