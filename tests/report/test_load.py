from pathlib import Path
from typing import Any

import pytest

from efficientformer.errors import RecordError
from efficientformer.reading import read_record
from efficientformer.records import write_record, write_text
from efficientformer.report.run.load import load_run


def test_a_run_is_read_whole(run_dir: Path) -> None:
    run = load_run(run_dir)
    assert set(run.records) == {"settings", "data", "table", "supernet", "trace", "verification", "result"}
    assert [network.slug for network in run.networks] == ["60pct", "40pct", "1.1ms"]
    assert all(network.get("evaluation") and network.metrics for network in run.networks)
    assert run.unreadable == {}


def test_promises_merge_slimming_verification_and_result(run_dir: Path) -> None:
    promise = load_run(run_dir).promises()[0]
    assert promise["step"] == 6 and promise["kept"] is True and promise["num_params"] > 0


def test_what_the_supernet_scores_is_not_passed_off_as_the_network(run_dir: Path) -> None:
    trace = read_record(run_dir / "slim/trace.json", Any)
    write_record(run_dir / "slim/trace.json", {**trace, "budgets": [{**row, "top1": 1.5} for row in trace["budgets"]]})
    (run_dir / "result.json").unlink()
    assert all("top1" not in promise for promise in load_run(run_dir).promises())


def test_a_network_keeps_its_place_before_it_is_trained(run_dir: Path) -> None:
    (run_dir / "networks/60pct/architecture.json").unlink()
    run = load_run(run_dir)
    assert [network.slug for network in run.networks] == ["60pct", "40pct", "1.1ms"]
    described = run.described(run.networks[0])
    assert described is not None
    assert described["architecture"] == read_record(run_dir / "slim/trace.json", Any)["budgets"][0]["architecture"]


def test_missing_records_of_networks_share_one_note_with_the_command(run_dir: Path) -> None:
    for slug in ("60pct", "1.1ms"):
        (run_dir / f"networks/{slug}/evaluation.json").unlink()
    (note,) = load_run(run_dir).network_notes("evaluation")
    assert "networks/60pct/evaluation.json, networks/1.1ms/evaluation.json have not" in note.text
    assert note.command == "efficientformer evaluate --run-dir 'fruit & co'"


def test_an_unreadable_record_is_told_apart_from_a_missing_one(run_dir: Path) -> None:
    write_text(run_dir / "table.json", "{torn")
    run = load_run(run_dir)
    assert run.get("table") is None
    assert "it is not JSON" in run.note("table").text
    assert run.note("table").command.startswith("efficientformer table ")


def test_a_slug_cannot_lead_out_of_the_run(run_dir: Path) -> None:
    result = read_record(run_dir / "result.json", Any)
    (run_dir.parent / "outside").mkdir()
    write_record(run_dir / "result.json", [{**result[0], "budget": "5%", "slug": "../../outside"}, *result])
    assert all(".." not in network.slug for network in load_run(run_dir).networks)


def test_a_torn_last_line_of_metrics_costs_that_line_only(run_dir: Path) -> None:
    path = run_dir / "supernet/metrics.jsonl"
    before = len(load_run(run_dir).supernet_metrics)
    write_text(path, path.read_text(encoding="utf-8") + '{"step": 99')
    assert len(load_run(run_dir).supernet_metrics) == before


@pytest.mark.parametrize("make", [True, False])
def test_what_is_no_run_directory_is_refused(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "empty"
    if make:
        path.mkdir()
    with pytest.raises(RecordError, match="--run-dir"):
        load_run(path)
