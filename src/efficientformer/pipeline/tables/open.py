"""Find and load a finished latency table, and open the device that it is about."""

from pathlib import Path
from typing import TYPE_CHECKING

from efficientformer.arch.resolution import grid_of_input
from efficientformer.errors import UsageError
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.stamps import accept_output, read_stamp
from efficientformer.run_dir import RunDir

if TYPE_CHECKING:
    from efficientformer.latency.runtime import Runtime

MIN_ROUNDS = 2


def table_path(path: Path | str) -> Path:
    """The file of a table, given that file or a run directory. Raises UsageError if it does not exist."""
    path = usable_path(path, "table")
    file = RunDir(path).table if path.is_dir() else path
    if not file.is_file():
        problem = "is not a file" if file.exists() else "does not exist"
        raise UsageError(
            f"{file} {problem}. Give a table.json or a run directory with one; 'efficientformer table --run-dir "
            f"{path if path.suffix != '.json' else path.parent}' makes it."
        )
    return file


def load_table(path: Path | str) -> LatencyTable:
    """The table of a file or a run directory. Raises UsageError if there is none, RecordError if it is unreadable."""
    return LatencyTable.load(table_path(path))


def open_table_device(table: LatencyTable, device: DeviceOptions) -> "Runtime":
    """The table's own runtime and number of threads, on the given device."""
    return open_device(device, str(table.runtime["name"]), table.threads)


def save_table(table: LatencyTable, path: Path) -> None:
    """Save a table. In the place of a run's own, it counts as that if it has the same space, resolution and classes."""
    table.save(path)
    run_dir = RunDir(path.parent)
    made = read_stamp(run_dir.stamp("table")) if path.name == run_dir.table.name else None
    if made is not None:
        settings, classes = made["settings"], made["inputs"].get("the number of classes")
        resolution = list(grid_of_input(table.resolution))
        given = settings.get("resolution")
        measured = (settings.get("space"), given and list(grid_of_input(given)), classes)
        content = {name: value for name, value in table.space.to_json().items() if name != "name"}
        if measured in [(space, resolution, str(table.num_classes)) for space in (table.space.name, content)]:
            accept_output(run_dir, "table", run_dir.table)
