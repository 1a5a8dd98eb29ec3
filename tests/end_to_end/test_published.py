"""A finished run shows the best published network within each promise, once its device has a shortlist."""

import json
import shutil
from typing import Any

import pytest
import timm
import torch

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


def test_design_compares_a_finished_run_with_a_reference(designed, photos, program, tmp_path, monkeypatch):
    run_dir = shutil.copytree(designed[0], tmp_path / "copy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "weights.pth")
    verified = read_record(run_dir / "verification.json", Any)
    wide, narrow = (promise["budget_ms"] for promise in verified["promises"])
    row: Any = {**made_row("between", (wide + narrow) / 2, 75.0), "name": "test_vit"}  # it takes longer than that
    device = {"machine": verified["provenance"]["machine"], "runtime": verified["runtime"], "clock": verified["clock"]}
    keep_shortlist(made_record([row], resolution=[16, 16], **device))

    asked = ("--reference", "best", "--reference-weights", tmp_path / "weights.pth")
    code, stdout, stderr = program("design", "--data", photos, "--run-dir", run_dir, "--json", *TINY, *asked)
    assert code == 0, stderr
    assert "train 60pct up to date" in stderr and "again, because the references changed" in stderr
    entries = json.loads(stdout)
    reference, files = entries[0]["reference"], run_dir / "references" / "test_vit"
    assert entries == read_record(run_dir / "result.json", Any) and entries[1]["reference"] is None
    assert reference["name"] == "test_vit" and not reference["kept"] and entries[0]["kept"]
    assert reference["top1"] == read_record(files / "evaluation.json", Any)["top1"] and reference["macs"] > 1e5
    # What the made-up device takes for a file of this size, in sessions with the networks of the run.
    expected_ms = 0.05 + (files / "model.onnx").stat().st_size / 2**20
    assert abs(reference["measured_ms"] - expected_ms) < 1e-3 and reference["sessions"] == 6
    assert "test_vit</th>" in (run_dir / "report.html").read_text(encoding="utf-8")
    code, stdout, stderr = program("design", "--data", photos, "--run-dir", run_dir, *TINY)
    assert code == 0 and "again" not in stderr
    assert "  test_vit " in stdout and "is over the budget" in " ".join(stdout.split())
