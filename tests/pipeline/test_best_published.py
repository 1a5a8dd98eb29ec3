"""The best published network within each promise, from made-up shortlists in the cache of this user."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.analysis.made_shortlist import made_record, made_row

from efficientformer.analysis.shortlist.kept import find_shortlist, keep_shortlist
from efficientformer.formats.run import Verification
from efficientformer.formats.shortlist import PublishedRecord
from efficientformer.pipeline.phases import verify
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.shortlists.best_published import shortlist_command, show_best_published
from efficientformer.reading import read_record
from efficientformer.records import write_record

MACHINE = {"cpu": "made up", "cores": 2, "os": "none"}
RUNTIME = {"name": "onnxruntime", "version": "1", "precision": "fp32", "compute_unit": "CPU"}
ROWS = [made_row("small", 4.0, 74.0), made_row("large", 9.0, 80.0, license="mit", more_data="more photos")]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def verification(*budgets_ms: float, percentile: str = "p50") -> Verification:
    promises = [
        {"budget": f"{ms:g}ms", "slug": f"{ms:g}ms", "budget_ms": ms, "percentile": percentile} for ms in budgets_ms
    ]
    content = {"clock": "cpu", "runtime": RUNTIME, "promises": promises, "provenance": {"machine": MACHINE}}
    return cast(Verification, content)


def shown(run, capsys, found: Verification, **settings: Any) -> tuple[PublishedRecord, str]:
    from efficientformer.pipeline.run.console import RunConsole

    workspace = run.workspace(**settings)
    object.__setattr__(workspace, "console", RunConsole())
    capsys.readouterr()
    show_best_published(workspace, found)
    return read_record(run.dir.published, PublishedRecord), " ".join(capsys.readouterr().err.split())


def test_each_budget_has_its_best_published_network(run, capsys):
    keep_shortlist(made_record(ROWS, machine=MACHINE, runtime=RUNTIME, resolution=[16, 16]))
    record, text = shown(run, capsys, verification(3.0, 5.0, 10.0))
    best = [row["best"] and row["best"]["name"] for row in record["rows"]]
    assert best == [None, "small.in1k", "large.in1k"]
    assert record["shortlist"] == {
        **{"time": "2026-11-29T10:00:00+00:00", "rounds": 20, "num_networks": 2, "resolution": [16, 16]}
    }
    assert "3ms: none of 2 published networks fits" in text and "--resolution" not in text
    assert "5ms: best published network that fits: small (small.in1k), 4" in text
    assert "top-1 80.0 % as published at 224 px, licence mit, trained on more than ImageNet-1k: more photos" in text


def test_a_promise_of_the_90th_percentile_is_held_against_that(run, capsys):
    keep_shortlist(made_record(ROWS, machine=MACHINE, runtime=RUNTIME, resolution=[16, 16]))
    for percentile, name in (("p50", "large.in1k"), ("p90", "small.in1k")):
        record, _ = shown(run, capsys, verification(9.1, percentile=percentile))  # 9.09 ms, and 9.18 ms
        best = record["rows"][0]["best"]
        assert best is not None and best["name"] == name


def test_a_device_without_a_shortlist_has_one_line_that_says_how_to_get_it(run, capsys, cache):
    record, text = shown(run, capsys, verification(3.0, 5.0), threads=2)
    assert record["shortlist"] is None and record["rows"] == [] and not cache.exists()
    assert text.count("efficientformer shortlist --threads 2 --resolution 16") == 1 and text.count("known") == 1


def test_a_shortlist_at_other_input_sizes_is_used_and_says_so(run, capsys):
    keep_shortlist(made_record(ROWS, machine=MACHINE, runtime=RUNTIME))
    record, text = shown(run, capsys, verification(3.0, 5.0))
    assert record["shortlist"] is not None and record["shortlist"]["resolution"] is None
    assert "at 224 px, ImageNet-1k top-1 74.0 % as published at 224 px" in text
    assert "none of 2 published networks fits at its own input size" in text and "--resolution 16" in text
    keep_shortlist(made_record(ROWS[1:], machine=MACHINE, runtime=RUNTIME, resolution=[16, 16]))
    assert "none of 1 published networks" in shown(run, capsys, verification(5.0))[1]


@pytest.mark.parametrize(
    "other",
    [
        {"machine": {**MACHINE, "cpu": "another"}},
        {"machine": {**MACHINE, "cores": 4}},
        {"runtime": {**RUNTIME, "name": "openvino"}},
        {"runtime": {**RUNTIME, "precision": "int8"}},
        {"threads": 2},
        {"clock": "wall"},
        {"resolution": [32, 32]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_shortlist_of_another_device_or_way_of_measuring_is_not_used(other):
    keep_shortlist(made_record(ROWS, **{"machine": MACHINE, "runtime": RUNTIME, **other}))
    assert find_shortlist(MACHINE, RUNTIME, 1, "cpu", (16, 16)) is None
    keep_shortlist(made_record(ROWS, machine={**MACHINE, "python": "3.14"}, runtime={**RUNTIME, "version": "2"}))
    assert find_shortlist(MACHINE, RUNTIME, 1, "cpu", (16, 16)) is not None


def test_a_damaged_shortlist_is_a_warning_and_stops_nothing(run, capsys):
    path = keep_shortlist(made_record(ROWS, machine=MACHINE, runtime=RUNTIME))
    path.write_text("{", encoding="utf-8")
    record, text = shown(run, capsys, verification(5.0))
    assert record["shortlist"] is None and "The shortlist of this device is left out" in text


def test_the_command_measures_as_the_run_does():
    settings = resolve_settings({"preset": "quick", "data": "sample", "resolution": 224})
    assert shortlist_command(settings) == "efficientformer shortlist"
    given = {"preset": "quick", "data": "sample", "resolution": [96, 160], "runtime": "openvino", "clock": "wall"}
    settings = resolve_settings({**given, "device": "command:sh ./bench.sh"})
    assert shortlist_command(settings) == (
        "efficientformer shortlist --runtime openvino --clock wall --device 'command:sh ./bench.sh' --resolution 96x160"
    )


def test_verify_shows_it_even_if_nothing_is_measured_again(run, capsys, monkeypatch):
    write_record(run.dir.verification, _full_verification())
    monkeypatch.setattr(verify, "VERIFY", SimpleNamespace(run=lambda *_: None))
    monkeypatch.setattr(verify, "run_networks", lambda _: [])
    assert verify.run(run.workspace())
    assert read_record(run.dir.published, PublishedRecord)["shortlist"] is None
    keep_shortlist(made_record(ROWS, machine=MACHINE, runtime=RUNTIME))
    assert verify.run(run.workspace())
    (row,) = read_record(run.dir.published, PublishedRecord)["rows"]
    assert row["best"] is not None and row["best"]["name"] == "small.in1k"


def _full_verification() -> dict[str, Any]:
    (promise,) = verification(5.0)["promises"]
    measured = {"predicted_ms": 4.0, "measured_ms": 4.0, "measured_p50_ms": 4.0, "measured_interval_ms": [3.9, 4.1]}
    row = {**promise, **measured, "limits": {}, "kept": True}
    largest = {"p50_ms": 9.0, "interval_ms": [8.9, 9.1]}
    origin = {"machine": MACHINE, "versions": {}}
    return {**verification(5.0), "promises": [row], "largest": largest, "rounds": 40, "provenance": origin}
