"""The last shortlist of each device, in this user's cache, so that `design` need not measure one.

A shortlist belongs to a device (as a latency table does), a runtime and its precision, a number of threads, a clock and
a resolution. A newer one of the same takes its place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.errors import EfficientFormerError
from efficientformer.formats.shortlist import ShortlistRecord
from efficientformer.paths import user_folder
from efficientformer.provenance import FINGERPRINT
from efficientformer.reading import read_record
from efficientformer.records import digest, write_record

Grid = tuple[int, int]


def keep_shortlist(record: ShortlistRecord) -> Path:
    """Keep a shortlist for later runs; returns its file. Raises EfficientFormerError where that is impossible."""
    resolution = record["resolution"]
    grid = None if resolution is None else (resolution[0], resolution[1])
    path = _path(record["provenance"]["machine"], record["runtime"], record["threads"], record["clock"], grid)
    write_record(path, record)
    return path


def find_shortlist(
    machine: Mapping[str, Any], runtime: Mapping[str, Any], threads: int, clock: str, resolution: Grid
) -> ShortlistRecord | None:
    """The last shortlist of this device at `resolution`, else the one with each network at its own; None if neither.

    machine, runtime: as a measurement has them. Raises RecordError for a file that is damaged, EfficientFormerError for
    a user without a home folder.
    """
    for grid in (resolution, None):
        path = _path(machine, runtime, threads, clock, grid)
        if path.exists():
            return read_record(path, ShortlistRecord)
    return None


def _path(machine: Mapping[str, Any], runtime: Mapping[str, Any], threads: int, clock: str, grid: Grid | None) -> Path:
    about = {
        **{name: machine.get(name) for name in FINGERPRINT},
        **{name: runtime.get(name) for name in ("name", "precision", "compute_unit")},
        **{"threads": threads, "clock": clock, "resolution": grid},
    }
    try:
        return user_folder("cache") / "shortlists" / f"{digest(about)[:16]}.json"
    except RuntimeError as error:
        raise EfficientFormerError("This user has no home folder to keep a shortlist in.") from error
