"""Verb `benchmark`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from efficientformer.cli.options import DeviceOption, JsonOption, print_json
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions

UNBROKEN = 1000


def benchmark(
    *models: str,
    suite: Literal["paper", "mobile"] | None = None,
    runtime: Annotated[tuple[str, ...], Parameter(name="--runtime", negative_iterable=())] = ("onnxruntime",),
    threads: int = 1,
    clock: Clock | None = None,
    rounds: int = 40,
    resolution: int | None = None,
    reference: str | None = None,
    device: DeviceOption = DeviceOptions(),
    out: Annotated[Path, Parameter(name=("--out", "--run-dir"))] = Path("runs/benchmark"),
    json: JsonOption = False,
) -> None:
    """Measure any networks on any runtimes side by side: latency, ratios, published accuracy.

    A network is a name of ours (efficientformer_l1), a name of timm (resnet50, timm:efficientformer_l1), an .onnx
    file, or a run directory. All take their turn in the same randomly interleaved rounds, in the form in which they
    would be deployed, and each output is compared with PyTorch's. Interrupted, the same command goes on.

    For example:

        efficientformer benchmark --suite paper --runtime onnxruntime --runtime openvino
        efficientformer benchmark efficientformer_l1 mobilenetv2_140 runs/photos/networks/8ms --json
        efficientformer benchmark mobile.onnx repvit_m1_0 --resolution 192 --reference repvit_m1_0

    Parameters
    ----------
    models: str
        Networks, beside those of the suite.
    suite: str
        paper: the networks of the paper's Table 1; mobile: mobile networks of today.
    runtime: tuple[str, ...]
        A runtime; give the option several times to compare several.
    threads: int
        Threads of a call.
    clock: str
        cpu time of the one thread (default with one thread) or wall time.
    rounds: int
        Interleaved rounds, at least 40.
    resolution: int
        Input size for all networks that can take it, in pixels; by default each has its own.
    reference: str
        The network that ratios are to; by default the suite's, or the first.
    out: Path
        Folder of benchmark.json, benchmark.html and the exported networks.
    json: bool
        Print the record as one JSON document.
    """
    from efficientformer.pipeline.benchmark import BenchmarkRequest
    from efficientformer.pipeline.benchmark import benchmark as run_benchmark
    from efficientformer.pipeline.run.console import RunConsole

    request = BenchmarkRequest(models, suite, runtime, threads, clock, rounds, resolution, reference, device)
    record = run_benchmark(request, out, RunConsole())
    if json:
        print_json(record)
    else:
        _print_table(record, out)


def _print_table(record: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from efficientformer.report.benchmark.findings import findings

    console = Console(highlight=False, markup=False)
    columns = ["network", "px", "params", "MACs", "top-1"]
    for runtime in record["runtimes"]:
        columns += [f"{runtime['name']} ms [95 %]", "ratio"]
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for model in record["models"]:
        table.add_row(*_cells(model))
    # As wide as it needs: a terminal breaks long lines more legibly than a table breaks its cells.
    Console(highlight=False, markup=False, width=UNBROKEN).print(table)
    for model in record["models"]:
        for problem in dict.fromkeys(result["problem"] for result in model["results"] if result["problem"]):
            console.print(f"{model['title']}: {problem}", soft_wrap=True)
    for sentence in findings(record):
        console.print(sentence, soft_wrap=True)
    console.print(f"Page: {out / 'benchmark.html'}", soft_wrap=True)


def _cells(model: dict[str, Any]) -> list[str]:
    from efficientformer.report.wording import ms

    cells = [
        model["title"],
        "-" if model["resolution"] is None else str(model["resolution"][0]),
        "-" if model["num_params"] is None else f"{model['num_params'] / 1e6:.1f}M",
        "-" if model["macs"] is None else f"{model['macs'] / 1e6:.0f}M",
        "-" if model["top1"] is None else f"{model['top1']:.1f}%",
    ]
    for result in model["results"]:
        if result["p50_ms"] is None:
            cells += ["failed", "-"]
            continue
        p50, low, high = map(ms, (result["p50_ms"], *result["interval_ms"]))
        cells.append(f"{p50} [{low}, {high}]{' WRONG OUTPUT' if result['problem'] else ''}")
        cells.append("-" if result["ratio"] is None else f"{result['ratio']:.2f}")
    return cells
