import itertools
import re

import pytest

from efficientformer.report.analysis.hotspot_figures import hotspots_figure
from efficientformer.report.style import to_svg

pytestmark = pytest.mark.usefixtures("checked_charts")


def row(model, runtime="onnxruntime", total_ms=10.0, unassigned_ms=0.5, **classes):
    about = {"model": model, "title": model.title(), "runtime": runtime, "source": "a profiler <b>"}
    return {**about, "total_ms": total_ms, "classes": classes, "unassigned_ms": unassigned_ms}


ROWS = [
    row("deit", attention=4.0, mlp=5.5),
    row("resnet", total_ms=2.0, unassigned_ms=-0.1, convolution=2.1),
    row("deit", runtime="openvino", total_ms=8.0, unassigned_ms=0.0, attention=3.0, mlp=5.0),
    row("deit", runtime="ncnn", total_ms=None, unassigned_ms=None),
]


def data_of(figure, key):
    return [
        value
        for layer in figure.spec["layer"]
        for value in layer["data"]["values"]
        if key in value
    ]  # fmt: skip


def test_bars_are_made_of_their_classes_end_to_end():
    segments = [item for item in data_of(hotspots_figure(ROWS), "part") if item["runtime"] == "onnxruntime"]
    deit = [item for item in segments if item["network"] == "Deit"]
    assert [item["part"] for item in deit] == ["MLP", "attention", "between operators"]
    assert [(item["from"], item["to"]) for item in deit] == [(0.0, 5.5), (5.5, 9.5), (9.5, 10.0)]
    assert [item["share"] for item in deit] == ["55.0 %", "40.0 %", "5.0 %"]
    assert [item["part"] for item in segments if item["network"] == "Resnet"] == ["convolution"]


def test_every_runtime_has_a_panel_and_one_without_a_profiler_says_so():
    words = [item["words"] for item in data_of(hotspots_figure(ROWS), "words")]
    assert {"onnxruntime", "openvino", "ncnn", "no profiler", "10.0 ms", "8.00 ms"} <= set(words)


def test_rows_do_not_overlap():
    bars = sorted({(item["top"], item["bottom"]) for item in data_of(hotspots_figure(ROWS), "part")})
    assert all(lower[0] > upper[1] for upper, lower in itertools.pairwise(bars))
    assert len(bars) == 3


def test_the_legend_has_what_is_drawn_and_nothing_else():
    labels = [entry.label for entry in hotspots_figure(ROWS).legend]
    assert labels == ["convolution", "MLP", "attention", "between operators"]
    assert [entry.label for entry in hotspots_figure([ROWS[1]]).legend] == ["convolution"]


def test_words_name_the_largest_class():
    alt_text = hotspots_figure(ROWS).alt
    assert "Deit, onnxruntime: 10.0 ms, 55 % of it MLP." in alt_text
    assert "Deit, ncnn: no profiler." in alt_text


@pytest.mark.parametrize("rows", [ROWS, ROWS[3:], []])
def test_it_draws(rows):
    pytest.importorskip("vl_convert")
    svg = to_svg(hotspots_figure(rows), width=680)
    assert svg.startswith("<svg") and not re.search(r"var\(--|NaN", svg)
