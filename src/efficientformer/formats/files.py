"""The type of each file of a run directory, and the file of an architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from efficientformer.arch.space_file import SpaceCopy
from efficientformer.arch.spec import Architecture
from efficientformer.errors import ArchitectureError, RecordError
from efficientformer.formats.measurement import MeasurementValue
from efficientformer.formats.network import (
    EVALUATION_MIB,
    ArchitectureFile,
    DescribedNetwork,
    Evaluation,
    ExamplesRecord,
    ExportRecord,
    TrainRecord,
)
from efficientformer.formats.reference import ReferencesRecord
from efficientformer.formats.run import DataRecord, ResultRow, Verification
from efficientformer.formats.shortlist import PublishedRecord
from efficientformer.formats.slimming import Baselines, RankRecord, SupernetRecord, Trace
from efficientformer.formats.table import TableRecord
from efficientformer.formats.values import has_score
from efficientformer.reading import MADE_AGAIN, MOST_MIB, checked, read_record, shown_path
from efficientformer.run_dir import SettingsRecord

RUN_RECORDS: dict[str, Any] = {
    "settings": SettingsRecord,
    "space": SpaceCopy,
    "data": DataRecord,
    "table": TableRecord,
    "supernet_record": SupernetRecord,
    "trace": Trace,
    "baselines": Baselines,
    "rank": RankRecord,
    "references": ReferencesRecord,
    "verification": Verification,
    "published": PublishedRecord,
    "result": list[Annotated[ResultRow, AfterValidator(has_score)]],
}
"""By name in `RunDir`."""
NETWORK_RECORDS: dict[str, Any] = {
    "architecture": ArchitectureFile,
    "train_record": TrainRecord,
    "evaluation": Evaluation,
    "examples": ExamplesRecord,
    "export_record": ExportRecord,
    "latency": MeasurementValue,
}
"""By name in `NetworkFiles`."""
GIVE_ARCHITECTURE = "Give the architecture.json of a network."


def read_any(path: Path, kind: Any, *, remedy: str = MADE_AGAIN) -> Any:
    """A record of a type that is known by name only. Raises RecordError."""
    return read_record(path, kind, most_mib=EVALUATION_MIB if kind is Evaluation else MOST_MIB, remedy=remedy)


def read_architecture(path: Path) -> Architecture:
    """The architecture of an `architecture.json`, or of a file with an architecture alone. Raises RecordError."""
    return read_described(path)[0]


def read_described(path: Path) -> tuple[Architecture, Mapping[str, Any]]:
    """The architecture, and what else the file has on its network: nothing where it is an architecture alone.

    Raises RecordError.
    """
    content: Any = read_record(path, dict, remedy=GIVE_ARCHITECTURE)
    try:
        if "architecture" not in content:
            return Architecture.from_json(content), {}
        record = checked(content, DescribedNetwork)
        return Architecture.from_json(record["architecture"]), record
    except (ArchitectureError, ValueError) as error:
        raise RecordError(f"{shown_path(path)} cannot be used: {error}. {GIVE_ARCHITECTURE}") from error
