"""Verb `analyze`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.options import DeviceOption, JsonOption, print_json
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions


def analyze(
    *,
    out: Annotated[Path, Parameter(name=("--out", "--run-dir"))] = Path("runs/analysis"),
    runtime: Annotated[tuple[str, ...], Parameter(negative_iterable=())] = ("onnxruntime",),
    device: DeviceOption = DeviceOptions(),
    threads: int = 1,
    clock: Clock | None = None,
    resolution: int = 224,
    rounds: int = 60,
    network: Annotated[tuple[str, ...], Parameter(negative_iterable=())] = ("efficientformer_l1", "efficientformer_l3"),
    observation: Annotated[tuple[int, ...], Parameter(negative_iterable=())] = (),
    hotspots: bool = True,
    json: JsonOption = False,
) -> None:
    """Try the paper's four observations about latency on a device, and show where the milliseconds go.

    Patch embedding against a convolution stem, attention against pooling and the reshapes between them, batch norm
    against other norms, and activations: each as a controlled experiment, on parts and in whole networks, with the
    interval of every ratio and a verdict that follows from it. Writes analysis.json and analysis.html. Interrupted,
    the same command goes on.

    For example:

        efficientformer analyze --runtime onnxruntime --runtime openvino --out runs/analysis
        efficientformer analyze --runtime onnxruntime --device ssh:pi@board --observation 4 --network efficientformer_l1

    Parameters
    ----------
    out: Path
        Folder of the record and the page.
    runtime: tuple[str, ...]
        A runtime to measure on; give it again for each further one, and all are timed in the same rounds.
    threads: int
        Threads inside each operator.
    clock: str
        cpu time of the one thread (default with one thread on a CPU that this program drives) or wall time.
    resolution: int
        Size of the images in pixels, a multiple of 32.
    rounds: int
        Interleaved timing rounds over all candidates of an observation; 40 at least.
    network: tuple[str, ...]
        A published network to try the choices in; give it again for each further one.
    observation: tuple[int, ...]
        Number of an observation to try, 1 to 4; all when left out.
    hotspots: bool
        Break known networks down into classes of operators.
    json: bool
        End with the whole record as one JSON document on standard output.
    """
    from efficientformer.pipeline.analyze import AnalysisRequest, summary_lines
    from efficientformer.pipeline.analyze import analyze as run
    from efficientformer.pipeline.run.console import RunConsole

    request = AnalysisRequest(
        out=out,
        runtimes=runtime,
        device=device,
        threads=threads,
        clock=clock,
        resolution=resolution,
        rounds=rounds,
        networks=network,
        observations=observation,
        has_hotspots=hotspots,
    )
    record, page = run(request, RunConsole())
    if json:
        print_json(record)
        return
    _print_summary(summary_lines(record), str(page))


def _print_summary(rows: Any, page: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("the paper says", "runtime", "here", "ratios", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"Page: {page}", soft_wrap=True)
