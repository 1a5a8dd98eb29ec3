from typing import Any

import pytest

from efficientformer.arch.spaces import QUICK
from efficientformer.pipeline.phases.verify import correct_broken
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.corrections import read_corrections
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A run whose first promise was broken by half a percent and whose second was kept."""
    run_dir = RunDir(tmp_path)
    found = {"architecture": QUICK.smallest().to_json(), "origins": [[0]] * 4, "accuracy": 50.0, "step": 0}
    found |= {"polish": [], "trials": [], "target_ms": 1.0}
    budgets = [
        {"budget": "3ms", "budget_value": {"text": "3ms", "value": 3.0, "unit": "ms"}, "slug": "3ms", "budget_ms": 3.0}
        | {"predicted_ms": 2.55, **found},
        {"budget": "1ms", "budget_value": {"text": "1ms", "value": 1.0, "unit": "ms"}, "slug": "1ms", "budget_ms": 1.0}
        | {"predicted_ms": 0.8, **found},
    ]
    promises = [
        {"budget": "3ms", "slug": "3ms", "budget_ms": 3.0, "predicted_ms": 2.55, "measured_interval_ms": [3.0, 3.015]},
        {"budget": "1ms", "slug": "1ms", "budget_ms": 1.0, "predicted_ms": 0.8, "measured_interval_ms": [0.9, 0.95]},
    ]
    start = {name: found[name] for name in ("architecture", "origins", "accuracy")} | {"latency_ms": 4.0}
    trace = {"metric": "top1", "start": start, "steps": [], "budgets": budgets, "corrections": []}
    write_record(run_dir.trace, {**trace, "num_evaluations": 1})
    write_record(run_dir.stamp("slim"), {"settings": {}, "inputs": {}, "version": ""})
    write_record(run_dir.table, {})
    rows: list[dict[str, Any]] = []
    for promise in promises:
        low, high = promise["measured_interval_ms"]
        measured = {"measured_ms": low, "measured_p50_ms": low, "percentile": "p50", "limits": {}}
        rows.append({**promise, **measured, "kept": high <= promise["budget_ms"]})
    largest = {"p50_ms": 4.0, "interval_ms": [4.0, 4.0]}
    record = {"clock": "cpu", "runtime": {}, "largest": largest, "rounds": 40, "promises": rows}
    write_record(run_dir.verification, record)
    return Workspace(run_dir, resolve_settings({}), RunConsole())


def test_the_next_aim_lies_below_the_network_that_was_too_slow(workspace):
    correct_broken(workspace)
    corrections = read_corrections(workspace)
    assert list(corrections) == ["3ms"]
    next_target_ms = 3.0 * (1 - workspace.settings.slim.headroom) / corrections["3ms"]
    assert next_target_ms < 2.55 / 1.005


def test_a_new_table_needs_no_old_correction(workspace):
    correct_broken(workspace)
    write_record(workspace.run_dir.table, {"new": True})
    assert read_corrections(workspace) == {}
