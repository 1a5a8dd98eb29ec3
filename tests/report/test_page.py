import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efficientformer.arch.spaces import IMAGENET
from efficientformer.errors import RecordError
from efficientformer.reading import read_record
from efficientformer.records import write_record, write_text
from efficientformer.report import render_report
from efficientformer.report.run.result_sections import promise_sentence

from .page import Page, is_whole


def test_a_full_run_fills_every_section(run_dir: Path) -> None:
    path = render_report(run_dir)
    page = Page(path)
    assert path == run_dir / "report.html" and not page.open
    assert page.texts["h1"] == ["2 of 3 latency promises were kept; 1.1ms was missed by 0.022\u202fms (2.0\u202f%)."]
    assert len(page.texts["h2"]) == 9 and len(page.all("section")) == 10
    assert page.source.count('class="note"') == 1  # only the one for browsers without JavaScript
    charts = [attributes for attributes in page.all("div") if attributes.get("class") == "chart"]
    assert len(charts) == 17
    assert {chart["data-spec"] for chart in charts} == set(page.data)
    for chart in charts:
        assert chart["aria-label"] and chart["role"] == "img"
    for text in page.data.values():
        assert json.loads(text)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    links = [attributes["href"] for attributes in page.all("a")]
    assert "networks/60pct/model.onnx" in links
    assert all((run_dir / str(link)).is_file() for link in links if not str(link).startswith("#"))


def test_balanced_accuracy_is_next_to_top1_where_classes_are_uneven(run_dir: Path) -> None:
    assert "<small>balanced" not in render_report(run_dir).read_text(encoding="utf-8")
    path = run_dir / "networks" / "60pct" / "evaluation.json"
    record = read_record(path, Any)
    record["per_class"][0] |= {"num_images": 5, "top1": 20.0}
    rest = [row["top1"] for row in record["per_class"][1:]]
    write_record(path, record)
    source = render_report(run_dir).read_text(encoding="utf-8")
    expected = (20 + sum(rest)) / len(record["per_class"])
    assert source.count("<small>balanced") == 1 and f"balanced {expected:.1f}" in source
    assert "Top-1 by confidence" not in source, "a record of an earlier version"
    bins = [{"confidence": 90.0, "top1": 80.0, "num_images": 9}]
    new = {"balanced_accuracy": 12.3, "calibration_error": 45.6, "calibration": bins}
    write_record(path, {**record, **new})
    source = render_report(run_dir).read_text(encoding="utf-8")
    assert "balanced 12.3" in source and "Top-1 by confidence" in source and "<td>45.6</td>" in source


def test_polishing_is_described_where_it_changed_the_network(run_dir: Path) -> None:
    source = render_report(run_dir).read_text(encoding="utf-8")
    assert source.count("polishing improved the network from") == 1 and "For 40%, polishing" in source


def test_trials_state_whether_another_network_was_better(run_dir: Path) -> None:
    source = render_report(run_dir).read_text(encoding="utf-8")
    assert source.count("networks were trained alone for a few epochs") == 3
    assert source.count("The one that slimming found is the best, with 62.5") == 2
    assert source.count("The best has 62.5") == 1 and "the one that slimming found has 61.5" in source


def test_a_supernet_without_paths_says_what_importance_is(run_dir: Path) -> None:
    record = read_record(run_dir / "supernet" / "record.json", Any)
    assert "no paths to choose from" not in render_report(run_dir).read_text(encoding="utf-8")
    del record["alphas"]
    write_record(run_dir / "supernet" / "record.json", record)
    page = Page(render_report(run_dir))
    assert "no paths to choose from" in page.source and "91.4" in page.source
    assert is_whole(page.source) and "spec-alphas" not in page.data


def test_a_parent_is_shown_in_place_of_a_supernet(run_dir: Path) -> None:
    record = read_record(run_dir / "supernet" / "record.json", Any)
    del record["alphas"]
    parent = {"init": "/home/somebody/large.safetensors", "head": "new", "top1": 88.8, "elastic_epochs": 4}
    write_record(run_dir / "supernet" / "record.json", {**record, "parent": parent, "epochs": 7})
    page = Page(render_report(run_dir))
    for words in (
        "The parent is large.safetensors",
        "fine-tuned for 7 epochs with a new head",
        "88.8",
        ">parent</th>",
        "below it for 4 epochs",
    ):
        assert words in page.source
    assert "/home/somebody" not in page.source and is_whole(page.source)


def write_rounds(run_dir: Path, **trained: float) -> None:
    """Between the first step of the trace and the second, a training that had these scores."""
    path = run_dir / "slim" / "trace.json"
    trace = read_record(path, Any)
    network = {name: trace["steps"][0][name] for name in ("architecture", "origins", "latency_ms")}
    half = {**network, "accuracy": 77.7, **trained, "step": 1, "weights": "half", "epochs": 3}
    second = {**trace["steps"][1], "after": 1, "round": 2}
    budget = {**trace["budgets"][-1], "weights": "half", "step": 2}
    steps = [trace["steps"][0], second, *trace["steps"][2:]]
    write_record(path, {**trace, "steps": steps, "round": half, "budgets": [*trace["budgets"][:-1], budget]})


def test_a_training_between_two_rounds_is_shown(run_dir: Path) -> None:
    assert "two rounds" not in render_report(run_dir).read_text(encoding="utf-8")
    write_rounds(run_dir, top1=78.9)
    page = Page(render_report(run_dir))
    source = page.source
    assert "Slimming went in two rounds: after step 1" in source and "for 3 epochs with the parent as teacher" in source
    assert is_whole(source) and "to 78.9&nbsp;% top-1 on held-out images" in source
    assert "(after step 1 and 3 epochs)" in source
    for figure in ("plane", "slimming-latency", "slimming-accuracy"):
        assert '"detail":{"field":"course"' in page.data[f"spec-{figure}"].replace(" ", ""), "no line joins two courses"


def test_rank_correlation_is_shown_with_its_sample_size(run_dir: Path) -> None:
    assert "scores and the accuracies after training" not in render_report(run_dir).read_text(encoding="utf-8")
    start = read_record(run_dir / "slim" / "trace.json", Any)["start"]
    scores = {"latency_ms": 1.0, "supernet_accuracy": 50.0, "alone_top1": 60.0, "seconds": 1.0}
    networks = [{**scores, "architecture": start["architecture"], "origins": start["origins"]}] * 24
    record = {"kendall_tau": 0.71, "interval": [0.5, 0.85], "latency_tau": 0.6, "networks": networks}
    write_record(run_dir / "rank" / "rank.json", record)
    source = render_report(run_dir).read_text(encoding="utf-8")
    assert "For 24 random networks" in source and "training each one alone is 0.71" in source
    assert "scores and the accuracies after training" in source and "0.50 to 0.85" in source


def write_baselines(run_dir: Path) -> None:
    """Rivals of every budget of the trace, one of them better than slimming."""
    budgets = []
    for row in read_record(run_dir / "slim" / "trace.json", Any)["budgets"]:
        network = {name: row[name] for name in ("architecture", "origins")} | {"latency_ms": row["predicted_ms"]}
        rivals = [
            {**network, "name": "scaled_l1", "accuracy": 80.0, "num_evaluations": 1},
            {**network, "name": "random", "accuracy": 82.5, "mean_accuracy": 79.0, "count": 50, "num_evaluations": 50},
        ]
        optimum = {**network, "name": "surrogate_optimum", "accuracy": 81.0, "num_evaluations": 1}
        surrogate = {"greedy_drop": 2.5, "optimum_drop": 1.25, "gap": 1.25, "slimmed_drop": 2.0, "optimum": optimum}
        slimmed = {**network, "accuracy": 82.0, "num_evaluations": 431}
        about = {"budget": row["budget"], "slug": row["slug"], "latency_ms": row["predicted_ms"]}
        budgets.append({**about, "slimmed": slimmed, "baselines": rivals, "surrogate": surrogate})
    write_record(run_dir / "slim" / "baselines.json", {"metric": "likelihood", "budgets": budgets})


def test_baselines_are_shown_where_they_were_made(run_dir: Path) -> None:
    assert "Comparison with baselines" not in render_report(run_dir).read_text(encoding="utf-8")
    write_baselines(run_dir)
    page = Page(render_report(run_dir))
    assert "Comparison with baselines" in page.texts["h2"] and "best of 50 random networks" in page.texts["th"]
    assert {"+0.5", "\u22122.0", "\u22121.0"} <= set(page.texts["td"])
    assert "would be more than 1.25 points better than slimming" in page.source
    write_record(run_dir / "slim" / "baselines.json", {"budgets": 3})
    assert "baselines.json cannot be used: metric is missing" in render_report(run_dir).read_text(encoding="utf-8")


def test_a_baseline_without_a_network_is_named_with_its_reason(run_dir: Path) -> None:
    write_baselines(run_dir)
    path = run_dir / "slim" / "baselines.json"
    record = read_record(path, Any)
    record["budgets"][0]["missing"] = [{"name": "scaled_v2_s0", "reason": "It cannot be scaled <down>."}]
    del record["budgets"][0]["surrogate"]
    write_record(path, record)
    source = render_report(run_dir).read_text(encoding="utf-8")
    assert source.count("No row for ") == 1 and "No row for scaled EfficientFormerV2-S0 at " in source
    assert "ms: It cannot be scaled &lt;down&gt;.</p>" in source
    assert source.count("were additive, no network of this latency") == len(record["budgets"]) - 1


def test_headings_never_skip_a_level(run_dir: Path) -> None:
    levels = [int(tag[1]) for tag, _ in Page(render_report(run_dir)).tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_nothing_is_fetched_and_only_our_scripts_may_run(run_dir: Path) -> None:
    page = Page(render_report(run_dir))
    assert not [tag for tag, attributes in page.tags if "src" in attributes]
    assert not page.all("link") and not page.all("iframe") and not page.all("img")
    (policy,) = [str(attributes["content"]) for attributes in page.all("meta") if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'") and policy.count("'sha256-") == 2 and "unsafe-eval" not in policy
    assert len([attributes for attributes in page.all("script") if not attributes.get("type")]) == 2


def test_names_from_records_stay_text(run_dir: Path) -> None:
    source = render_report(run_dir).read_text(encoding="utf-8")
    for markup in ("<script>alert", "<img src=x", "<b>X</b>", "</script><img"):
        assert markup not in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source and "{{ 7 * 7 }}" in source and "手紙" in source


def test_rendering_twice_gives_the_same_page(run_dir: Path) -> None:
    first = render_report(run_dir).read_bytes()
    assert render_report(run_dir).read_bytes() == first
    assert not list(run_dir.glob(".report.html.*"))


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("settings.json", "design"),
        ("data.json", "design"),
        ("table.json", "table"),
        ("supernet/record.json", "supernet"),
        ("slim/trace.json", "slim"),
        ("verification.json", "verify"),
        ("result.json", "design"),
        ("networks/40pct/train.json", "train"),
        ("networks/40pct/evaluation.json", "evaluate"),
        ("networks/40pct/export.json", "export"),
    ],
)
def test_a_missing_record_is_named_with_the_command_that_makes_it(run_dir: Path, name: str, verb: str) -> None:
    (run_dir / name).unlink()
    page = Page(render_report(run_dir))
    assert name in page.source and "not been written yet" in page.source
    assert f"efficientformer {verb} --run-dir &#39;fruit &amp; co&#39;" in page.source
    assert "does not have the expected form" not in page.source


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings", 3),
        ("data", []),
        ("table", {"format": 99}),
        ("supernet/record", {"alphas": 3}),
        ("slim/trace", {"budgets": 3}),
        ("verification", {"promises": "x"}),
        ("result", [1]),
        ("networks/40pct/evaluation", {"top1": "<b>"}),
    ],
)
def test_a_record_of_another_form_costs_its_sections_only(run_dir: Path, name: str, content: object) -> None:
    write_record(run_dir / f"{name}.json", content)
    page = Page(render_report(run_dir))
    assert len(page.all("section")) == 10 and len(page.texts["h1"]) == 1
    assert page.data, "the other sections keep their charts"


def test_an_early_run_reports_what_it_has(run_dir: Path, tmp_path: Path) -> None:
    early = tmp_path / "early"
    write_record(early / "table.json", read_record(run_dir / "table.json", Any))
    page = Page(render_report(early))
    assert page.texts["h1"] == ["No network has been found for a latency budget yet."]
    assert {"spec-table-identity", "spec-table-error", "spec-blocks-1"} <= set(page.data)
    assert "does not have the expected form" not in page.source


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "notes.txt", "no record")
    with pytest.raises(RecordError, match="no records"):
        render_report(tmp_path)


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ([], "No network has been found for a latency budget yet."),
        ([None], "Not checked yet: no exported network has been measured against 0 ms."),
        ([True], "The promise was kept: 1.90 of 2.00\u202fms measured."),
        ([False], "The promise was not kept: 0 ms was missed by 0.200\u202fms (10.0\u202f%)."),
        ([True, True], "Both latency promises were kept: 1.90 of 2.00 and 1.90 of 2.00\u202fms measured."),
        ([False, True, False], "1 of 3 latency promises were kept; 0 ms and 2 ms were missed by up to 10.0\u202f%."),
        ([True, None], "1 of 2 latency promises were kept; 1 ms is not checked yet."),
    ],
)
def test_the_headline_says_whether_promises_were_kept(kept: list[bool | None], sentence: str) -> None:
    measured = {True: 1.9, False: 2.2, None: None}
    rows = [
        {"title": f"{index} ms", "budget_ms": 2.0, "measured_ms": measured[value], "kept": value}
        for index, value in enumerate(kept)
    ]
    assert promise_sentence(rows) == sentence


def test_a_promise_is_missed_by_the_upper_end_of_its_interval() -> None:
    row = {"title": "2 ms", "budget_ms": 2.0, "measured_ms": 1.99, "measured_interval_ms": [1.97, 2.02]}
    assert "missed by 0.020" in promise_sentence([{**row, "kept": False}])


def test_a_large_run_stays_a_small_page(tmp_path: Path, write_large_run: Callable[..., Path]) -> None:
    classes = [f"class {index}" for index in range(1000)]
    folder = write_large_run(tmp_path / "large", IMAGENET, classes, 224, 100_000)
    page = Page(render_report(folder))
    assert len(page.source) < 2_000_000
    assert not [name for name in page.data if name.startswith("spec-confusion")]
    assert "Most frequent confusions" in page.source and "the 24 hardest of 1,000" in page.source


def test_the_package_is_light_and_knows_no_torch(run_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import efficientformer.report as report\n"
        "heavy = {'torch', 'altair', 'vl_convert', 'jinja2', 'numpy', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "report.render_report(Path(sys.argv[1])); report.summary_figure(Path(sys.argv[1]))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_understood_of_the_images_and_left_out_is_shown(run_dir: Path) -> None:
    path = run_dir / "data.json"
    record = json.loads(path.read_text())
    record |= {"layout": "training images in a/", "notes": ["a/test/: not used, since it has no class folders"]}
    record.pop("preprocessing", None)  # earlier versions did not write it
    write_record(path, record)
    page = Page(render_report(run_dir))
    assert "Layout: training images in a/." in page.source and "a/test/: not used" in page.source
    assert not [note for note in page.notes() if "data.json" in note] and "px</p>" not in page.source
    assert "data.json, or another record" not in page.source


def test_promises_with_unequal_sessions_have_confidences_and_numbers_of_their_own(run_dir: Path) -> None:
    path = run_dir / "result.json"
    rows = json.loads(path.read_text())
    assert len(rows) > 1
    for index, row in enumerate(rows):
        row |= {"sessions": 6 if index else 24, "interval_percent": 95.0 if index else 99.97}
    write_record(path, rows)
    source = render_report(run_dir).read_text()
    assert "in 6 to 24 sessions" in source
    assert "(99.9&nbsp;%)" in source and "(95&nbsp;%)" in source and "100.0&nbsp;%)" not in source


def test_a_run_in_a_space_of_v2_is_shown_in_its_words(v2_run_dir: Path) -> None:
    page = Page(render_report(v2_run_dir))
    assert is_whole(page.source) and "cannot be drawn" not in page.source
    assert "contract an MLP" in page.source and "swap a block for a cheaper kind" in page.source
    assert "AttnFFN: attention, then an FFN, on maps" in page.source and "MB3D" not in page.source
    assert "expansions 44-44-4444-444" in page.source and "maps become tokens" not in page.source
    trace = read_record(v2_run_dir / "slim" / "trace.json", Any)
    write_record(v2_run_dir / "slim" / "trace.json", {**trace, "objective": "mes"})
    assert "per point of Mobile Efficiency Score gained" in render_report(v2_run_dir).read_text(encoding="utf-8")


def test_the_promises_show_the_best_published_network_or_how_to_get_it(run_dir: Path) -> None:
    hostile = "<b>LeViT</b>"
    best = {
        **{"name": "levit_128.fb_dist_in1k", "title": hostile, "resolution": [224, 224], "p50_ms": 7.2},
        **{"interval_ms": [7.1, 7.3], "p90_ms": 7.4, "top1": 78.486, "top1_resolution": 224},
        **{"license": "apache-2.0", "more_data": None},
    }
    rows = [{"budget": "8ms", "slug": "8ms", "budget_ms": 8.0, "best": best}]
    rows.append({"budget": "2ms", "slug": "2ms", "budget_ms": 2.0, "best": None})
    used = {"time": "2026-11-29T10:00:00+00:00", "rounds": 20, "num_networks": 55, "resolution": None}
    record = {"command": "efficientformer shortlist", "shortlist": used, "rows": rows}
    assert "published network" not in render_report(run_dir).read_text(encoding="utf-8")  # an earlier run
    write_record(run_dir / "published.json", record)
    page = render_report(run_dir).read_text(encoding="utf-8")
    assert "8ms: best published network that fits" in page and hostile not in page
    assert "ImageNet-1k top-1 78.5 % as published at 224 px, licence apache-2.0" in page
    assert "2ms: none of 55 published networks fits" in page
    write_record(run_dir / "published.json", {**record, "shortlist": None, "rows": []})
    page = render_report(run_dir).read_text(encoding="utf-8")
    assert page.count("none is known on this device") == 1 and "efficientformer shortlist" in page
