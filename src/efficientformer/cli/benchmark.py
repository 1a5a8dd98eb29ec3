"""Verb `benchmark`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.options import JsonOption, OutOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.pipeline.settings.benchmark import OUT, BenchmarkSettings

SettingsOption = Annotated[BenchmarkSettings, Parameter(name="*", negative_iterable=())]


def benchmark(
    *models: str, settings: SettingsOption = BenchmarkSettings(), out: OutOption = OUT, json: JsonOption = False
) -> None:
    """Measure any networks on any runtimes, interleaved: latency, ratios, published accuracy.

    With --task semantic or detection task models are compared: networks of this package with a head, files and run
    directories of the task, next to the published figures of the paper's Table 2.

    A network is a name of this package (efficientformer_l1), a name of timm (resnet50, timm:efficientformer_l1), an
    .onnx file, or a run directory. All are measured in deploy form in the same randomly interleaved rounds, and every
    output is compared with PyTorch's. After an interruption the same command resumes.

    For example:

        efficientformer benchmark --suite paper --runtime onnxruntime --runtime openvino
        efficientformer benchmark efficientformer_l1 mobilenetv2_140 runs/photos/networks/8ms --json
        efficientformer benchmark mobile.onnx repvit_m1_0 --resolution 192 --reference repvit_m1_0
        efficientformer benchmark --task semantic efficientformer_l1 runs/streets --resolution 256x320

    Parameters
    ----------
    models: str
        Networks to compare, in addition to those of the suite.
    out: Path
        Folder of benchmark.json, benchmark.html and the exported networks.
    json: bool
        Print the record as one JSON document.
    """
    from efficientformer.pipeline.benchmark import benchmark as run_benchmark

    record = run_benchmark(*models, settings=settings, out=out)
    if json:
        print_json(record)
    else:
        _print_table(record, out)


def _print_table(record: dict[str, Any], out: Path) -> None:
    from efficientformer.report.benchmark.findings import findings
    from efficientformer.report.benchmark.published import published_figures
    from efficientformer.tasks.words import task_words

    task = record.get("task")
    columns = [
        "network",
        "px",
        "params",
        "MACs",
        "top-1" if task is None else f"{task_words(task['name']).title} in its run",
    ]
    for runtime in record["runtimes"]:
        columns += [f"{runtime['name']} ms [95 %]", "ratio"]
    score = "top1" if task is None else "score"
    print_rows(columns, (_cells(model, score) for model in record["models"]), wide=True)
    problems = [
        f"{model['title']}: {problem}"
        for model in record["models"]
        for problem in dict.fromkeys(result["problem"] for result in model["results"] if result["problem"])
    ]
    print_lines([*problems, *findings(record)])
    if task is not None:
        _print_published(published_figures(record))
    print_lines([f"Page: {out / 'benchmark.html'}"])


def _print_published(figures: dict[str, Any]) -> None:
    from efficientformer.report.wording import ms, percent

    print_lines(["", f"Published figures, with the papers' heads and training ({figures['recipe']}):"])
    columns = ["backbone", *(f"{title} %" for title in figures["scores"])]
    columns += [f"{title} ms here" for title in figures["runtimes"]]
    rows = ([row["title"], *map(percent, row["scores"]), *map(ms, row["p50_ms"])] for row in figures["published"])
    print_rows(columns, rows, wide=True)


def _cells(model: dict[str, Any], score: str = "top1") -> list[str]:
    from efficientformer.report.wording import ms

    cells = [
        model["title"],
        "-" if model["resolution"] is None else "x".join(map(str, dict.fromkeys(model["resolution"]))),
        "-" if model["num_params"] is None else f"{model['num_params'] / 1e6:.1f}M",
        "-" if model["macs"] is None else f"{model['macs'] / 1e6:.0f}M",
        "-" if model[score] is None else f"{model[score]:.1f}%",
    ]
    for result in model["results"]:
        if result["p50_ms"] is None:
            cells += ["failed", "-"]
            continue
        p50, low, high = map(ms, (result["p50_ms"], *result["interval_ms"]))
        cells.append(f"{p50} [{low}, {high}]{' WRONG OUTPUT' if result['problem'] else ''}")
        cells.append("-" if result["ratio"] is None else f"{result['ratio']:.2f}")
    return cells
