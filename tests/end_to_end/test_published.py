"""A finished run shows the best published network within each promise, once its device has a shortlist."""

import json
import shutil
from typing import Any

import pytest

from efficientformer.analysis.shortlist.kept import keep_shortlist
from efficientformer.reading import read_record
from tests.analysis.made_shortlist import made_record, made_row

from .conftest import TINY

pytestmark = pytest.mark.slow


def test_design_verify_and_the_report_show_the_best_published_network(designed, photos, program, tmp_path, monkeypatch):
    run_dir, first, said = designed
    assert "efficientformer shortlist" in said and "published" not in first[0]
    run_dir = shutil.copytree(run_dir, tmp_path / "copy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    verified = read_record(run_dir / "verification.json", Any)
    wide, narrow = (promise["budget_ms"] for promise in verified["promises"])
    rows = [made_row("between", (wide + narrow) / 2, 75.0), made_row("too slow", 2 * wide, 80.0)]
    device = {"machine": verified["provenance"]["machine"], "runtime": verified["runtime"], "clock": verified["clock"]}
    keep_shortlist(made_record(rows, **device))

    code, stdout, stderr = program("verify", "--run-dir", run_dir, "--json")
    assert code == 0, stderr
    shown = [row["best"] and row["best"]["title"] for row in json.loads(stdout)["published"]["rows"]]
    assert shown == ["between", None] and "60%: best published network that fits: between" in stderr
    assert read_record(run_dir / "verification.json", Any) == verified  # nothing was measured again

    code, stdout, stderr = program("design", "--data", photos, "--run-dir", run_dir, "--json", *TINY)
    assert code == 0, stderr
    entries = json.loads(stdout)
    assert entries[0]["published"]["name"] == "between.in1k" and entries[1]["published"] is None
    assert entries == read_record(run_dir / "result.json", Any)
    assert "60%: best published network that fits: between" in (run_dir / "report.html").read_text(encoding="utf-8")
    code, stdout, _ = program("design", "--data", photos, "--run-dir", run_dir, *TINY)
    assert code == 0 and "best published network that fits: between (between.in1k)" in " ".join(stdout.split())
