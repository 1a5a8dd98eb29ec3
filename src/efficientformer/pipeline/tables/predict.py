"""Predict the latency of a network from a table, and time the parts that the table lacks."""

from pathlib import Path
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.formats.files import read_architecture
from efficientformer.latency.devices import DeviceOptions
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.tables.open import MIN_ROUNDS, load_table, open_table_device, save_table, table_path


def predict(
    path: Path | str,
    network: str,
    *,
    extend: bool = False,
    rounds: int = 24,
    device: DeviceOptions = DeviceOptions(),
    out: Path | None = None,
) -> dict[str, Any]:
    """Latency of a network in milliseconds, with its 95 % interval.

    path: a table.json, or a run directory with one.
    network: a published name, an architecture.json, or the folder of one.
    extend: time the parts that the table lacks, on `device`, and keep them in the table, or in `out`.
    rounds: interleaved timing rounds over these parts.

    Raises LatencyError if parts are missing and `extend` is false.
    """
    if rounds < MIN_ROUNDS:
        raise UsageError(f"--rounds is at least {MIN_ROUNDS}.")
    table, architecture = load_table(path), find_architecture(network)
    num_added = 0
    if extend and table.missing_parts(architecture):
        from efficientformer.latency.tables.extend import extend_table

        with RunConsole().progress("measuring") as progress:
            runtime = open_table_device(table, device)
            extended = extend_table(table, [architecture], runtime, rounds=rounds, progress=progress)
        num_added = len(extended.entries) - len(table.entries)
        table = extended
        save_table(table, out or table_path(path))
    latency_ms = table.predict(architecture)
    return {
        "network": str(architecture),
        "latency_ms": latency_ms,
        "interval_ms": list(table.spread.interval_ms(latency_ms)),
        "num_added": num_added,
    }


def find_architecture(network: str) -> Architecture:
    """The architecture of a published name, or of a JSON file, such as `architecture.json` of a run."""
    if network in ZOO:
        return ZOO[network]
    path = usable_path(network, "network")
    if path.is_dir():
        path /= "architecture.json"
    if not path.is_file():
        raise UsageError(f"{network} is neither {', '.join(ZOO)} nor the file of an architecture.")
    return read_architecture(path)
