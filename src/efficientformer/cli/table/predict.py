"""`table predict`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import DeviceOption, JsonOption
from efficientformer.cli.printing import print_json, print_lines
from efficientformer.latency.devices import DeviceOptions


def predict(
    table: Path,
    network: str,
    *,
    extend: Annotated[bool, Parameter(negative=())] = False,
    rounds: int = 24,
    device: DeviceOption = DeviceOptions(),
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    json: JsonOption = False,
) -> None:
    """Predict the latency of a network, with its 95 % interval; missing parts are timed on demand.

    For example:

        efficientformer table predict runs/laptop runs/photos/networks/8ms
        efficientformer table predict runs/laptop efficientformer_l1 --extend --out wider.json

    Parameters
    ----------
    table: Path
        A table.json, or a run directory with one.
    network: str
        A published network such as efficientformer_l1, an architecture.json, or the folder of one.
    extend: bool
        Time the parts that the table lacks, on its own device, and keep them.
    rounds: int
        Interleaved timing rounds over these parts.
    out: Path
        Write the extended table here instead of over the table.
    json: bool
        Print the prediction as one JSON document.
    """
    from efficientformer.pipeline.tables.predict import predict as predict_network

    record = predict_network(table, network, extend=extend, rounds=rounds, device=device, out=out)
    if json:
        print_json(record)
        return
    low, high = record["interval_ms"]
    added = f"; {record['num_added']} entries were measured for it" if record["num_added"] else ""
    print_lines([f"{record['network']}: {record['latency_ms']:.3f} ms [{low:.3f}, {high:.3f}]{added}"])
