import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from efficientformer.arch.spaces import QUICK, V2_QUICK
from efficientformer.errors import RecordError
from efficientformer.latency.tables.formulas import table_formulas
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.report import summary_figure, wording
from efficientformer.report.run.figures import plane, wilson
from efficientformer.report.run.heatmaps import alphas, confusion, most_confused, unique_names
from efficientformer.report.run.latency_figures import block_latencies, block_legend, network_errors
from efficientformer.report.run.load import load_run
from efficientformer.report.run.slimming_figures import slimming
from efficientformer.report.run.training_figures import (
    MAX_POINTS,
    class_accuracy,
    network_curve,
    reliability,
    supernet_curve,
)
from efficientformer.report.style import COLORS, finish, rounded

pytestmark = pytest.mark.usefixtures("checked_charts")


def values(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """Every row of every layer that has `field`."""
    data = [spec.get("data", {}), *(layer.get("data", {}) for layer in spec.get("layer", []))]
    rows = {json.dumps(row): row for part in data for row in part.get("values", []) if field in row}
    return list(rows.values())


def test_the_plane_holds_path_networks_and_budgets(run_dir: Path) -> None:
    figure = plane(load_run(run_dir))
    assert figure is not None
    trace = read_record(run_dir / "slim/trace.json", Any)
    assert len({row["step"] for row in values(figure.spec, "what")}) == len(trace["steps"]) + 1
    networks = values(figure.spec, "score_interval")
    assert [row["mark"] for row in networks] == ["circle", "square", "triangle-up"]
    for row in networks:
        assert (
            row["low_ms"] < row["latency_ms"] < row["high_ms"] and row["low_score"] < row["score"] < row["high_score"]
        )
    assert sorted(row["color"] for row in values(figure.spec, "label")) == sorted(row["color"] for row in networks)


def test_slimming_shows_the_action_of_every_step(run_dir: Path) -> None:
    figures = slimming(load_run(run_dir))
    assert figures is not None
    trace = read_record(run_dir / "slim/trace.json", Any)
    shown = {row["step"]: row["action"] for row in values(figures[0].spec, "action") if row["step"]}
    assert shown == {step["step"]: step["candidates"][step["taken"]]["action"] for step in trace["steps"]}


def test_errors_of_the_table_are_signed_percentages(run_dir: Path) -> None:
    table = read_record(run_dir / "table.json", Any)
    figures = network_errors(table)
    assert figures is not None
    rows = values(figures[1].spec, "group")
    assert {row["group"] for row in rows} == {"calibration", "held out", "extreme"}
    for row in rows:
        assert row["error_percent"] == pytest.approx(100 * (row["predicted_ms"] / row["measured_ms"] - 1), abs=0.01)


def test_block_latencies_cover_the_widths_of_the_table(run_dir: Path) -> None:
    table = read_record(run_dir / "table.json", Any)
    panels = block_latencies(table)
    assert [(stage, size) for stage, size, _ in panels] == [
        (stage, wording.grid((side, side))) for stage, side in ((1, 32), (2, 16), (3, 8), (4, 4))
    ]
    kinds = [{row["kind"] for row in values(figure.spec, "width")} for *_, figure in panels]
    assert kinds == [{"MB4D"}, {"MB4D"}, {"MB4D", "MB3D"}, {"MB4D", "MB3D"}]
    del table["entries"]["MB4D@32x32,mlp_ratio=4:16>16"]
    assert [row["width"] for row in values(block_latencies(table)[0][2].spec, "width")] == [32]


def test_block_latencies_of_v2_have_a_line_per_expansion_and_the_halves_of_an_attnffn() -> None:
    entries = {}
    for part, formula in table_formulas(V2_QUICK, 28, 10).items():
        entries[part.key] = {"latency_ms": sum(map(abs, formula.weights.values()))}
    table = {"space": V2_QUICK.to_json(), "resolution": 28, "entries": entries}
    panels = block_latencies(table)
    lines = [{(row["kind"], row["line"]) for row in values(figure.spec, "width")} for *_, figure in panels]
    ffns = {("FFN", f"{wording.TIMES}{expansion}") for expansion in (1, 2, 4)}
    assert lines == [ffns, ffns, ffns | {("MHSA", "")}, ffns | {("MHSA", "")}]
    assert [entry.label for entry in block_legend(table)] == ["FFN", "MHSA", f"{wording.TIMES}4: expansion 4"]
    stages = (*V2_QUICK.stages[:3], replace(V2_QUICK.stages[3], heads=(4, 2, 1)))
    space = replace(V2_QUICK, name="heads", stages=stages)
    for part in table_formulas(space, 28, 10):
        entries[part.key] = {"latency_ms": 1.0}
    panels = block_latencies({"space": space.to_json(), "resolution": 28, "entries": entries})
    assert {row["line"] for row in values(panels[3][2].spec, "width") if row["kind"] == "MHSA"} == {"4h", "2h", "1h"}
    assert block_legend({"space": space.to_json()})[-1].label == "4h: 4 heads"
    first = {"space": QUICK.to_json(), "resolution": 28, "entries": {}}
    assert [entry.label for entry in block_legend(first)] == ["MB4D", "MB3D"]


def test_alphas_have_a_cell_for_every_path(run_dir: Path) -> None:
    record = read_record(run_dir / "supernet/record.json", Any)
    rows = values(alphas(record["alphas"]).spec, "choice")
    assert len(rows) == sum(len(paths) for stage in record["alphas"] for paths in stage)
    assert not [row for row in rows if row["stage"] < 3 and row["choice"] == "MB3D"]


def test_long_curves_are_thinned_to_means() -> None:
    metrics = [{"step": step, "epoch": step / 100, "loss": float(step % 2), "lr": 0.1} for step in range(10_000)]
    figure = supernet_curve(metrics)
    assert figure is not None
    rows = values(figure.spec, "loss")
    assert len(rows) <= MAX_POINTS and rows[-1]["step"] == 9_999
    assert rows[0]["loss"] == pytest.approx(0.5, abs=0.02)
    assert supernet_curve([]) is None


def test_curves_keep_only_the_lines_that_have_the_metric(run_dir: Path) -> None:
    run = load_run(run_dir)
    figure = network_curve(run.networks, "val_top1", "validation top-1 (%)")
    assert figure is not None and len(figure.legend) == 3
    expected = sum("val_top1" in line for network in run.networks for line in network.metrics)
    assert len(values(figure.spec, "val_top1")) == expected


def test_classes_that_share_a_name_stay_apart(run_dir: Path) -> None:
    assert unique_names(["a", "b", "a"]) == ["a", "b", "a (2)"]
    figure = class_accuracy(load_run(run_dir).networks)
    assert figure is not None
    assert len({row["name"] for row in values(figure.spec, "num_images")}) == 10


def test_a_class_without_images_is_left_out_of_its_figure(run_dir: Path) -> None:
    path = run_dir / "networks/60pct/evaluation.json"
    record = read_record(path, Any)
    record["per_class"][1] |= {"top1": None, "num_images": 0}
    write_record(path, record)
    figure = class_accuracy(load_run(run_dir).networks[:1])
    assert figure is not None
    names = [row["name"] for row in values(figure.spec, "num_images")]
    assert len(names) == 9 and names[:2] == [record["per_class"][0]["name"], record["per_class"][2]["name"]]


def test_confusion_is_shared_out_by_true_class() -> None:
    figure = confusion("x", ["a", "b", "c"], [[3, 1, 0], [0, 4, 0], [2, 0, 0]])
    assert figure is not None
    shares = {(row["truth"], row["guess"]): row["share"] for row in values(figure.spec, "share")}
    assert shares == {("a", "a"): 0.75, ("a", "b"): 0.25, ("b", "b"): 1.0, ("c", "a"): 1.0}
    assert confusion("x", ["c"] * 41, [[0] * 41] * 41) is None
    assert confusion("x", ["a", "b"], [[0, 0], [0, 2]]) is not None
    assert [(row["truth"], row["num"]) for row in most_confused(["a", "b"], [[1, 2], [5, 0]])] == [("b", 5), ("a", 2)]


def test_wilson_interval_matches_the_textbook() -> None:
    # Brown, Cai and DasGupta (2001): 9 of 10 gives 0.596 to 0.982.
    assert wilson(90.0, 10) == pytest.approx((59.6, 98.2), abs=0.1)
    assert wilson(100.0, 20)[1] == pytest.approx(100.0)
    assert wilson(0.0, 0) == (0.0, 100.0)


def test_numbers_are_cut_to_what_can_be_seen() -> None:
    assert rounded(0.0123456789) == 0.012346
    assert rounded(123456.789, 3) == 123000
    assert rounded(0) == 0 and rounded(None) is None


def test_a_chart_with_nan_is_refused() -> None:
    import altair as alt

    chart = alt.Chart(alt.Data(values=[{"a": float("nan")}])).mark_point().encode(x="a:Q")
    with pytest.raises(ValueError, match="JSON"):
        finish("broken", chart, "broken", 100)


def test_summary_figure_is_a_self_contained_svg(run_dir: Path) -> None:
    svg = summary_figure(run_dir)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "slimming path" in root.attrib["aria-label"]
    assert "var(--" not in svg and COLORS["series-0"][0] in svg
    assert "trained for 60%" in svg and "href" not in svg
    assert "<script" not in svg


def test_summary_figure_says_what_is_missing(run_dir: Path) -> None:
    (run_dir / "slim/trace.json").rename(run_dir / "trace.json")
    for name in ("result.json", "verification.json"):
        (run_dir / name).unlink()
    with pytest.raises(RecordError, match="efficientformer slim"):
        summary_figure(run_dir)
    write_record(run_dir / "slim/trace.json", {"start": 3})
    with pytest.raises(RecordError, match=r"trace\.json cannot be used: metric is missing"):
        summary_figure(run_dir)


def test_confidence_is_drawn_where_it_was_recorded(run_dir: Path, tmp_path: Path) -> None:
    assert reliability(load_run(run_dir).networks) is None, "evaluations of earlier versions"
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "networks" / "40pct" / "evaluation.json"
    empty = {"confidence": None, "top1": None, "num_images": 0}
    bins = [
        empty,
        {"confidence": 30.0, "top1": 10.0, "num_images": 4},
        {"confidence": 90.0, "top1": 80.0, "num_images": 9},
    ]
    write_record(path, {**read_record(path, Any), "calibration_error": 12.3, "calibration": bins})
    figure = reliability(load_run(tmp_path / "run").networks)
    assert figure is not None
    points = values(figure.spec, "num_images")
    assert [(row["confidence"], row["top1"], row["num_images"]) for row in points] == [(30, 10, 4), (90, 80, 9)]
