"""`table.json`: the latency lookup table. See `latency.tables.table.LatencyTable`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.formats.values import (
    ArchitectureValue,
    Milliseconds,
    MillisecondsBetween,
    Number,
    NumClasses,
    Positive,
    Provenance,
    Resolutions,
)

Between = Annotated[list[MillisecondsBetween], Field(min_length=2, max_length=2)]
Mib = Annotated[float, Field(ge=0, le=1e9)]


class PartEntry(TypedDict):
    """One part of the space. An entry is a weighted sum of measurements: noise can make it negative."""

    part: dict[str, Any]
    """See `arch.parts.Part`."""
    latency_ms: MillisecondsBetween
    interval_ms: Between
    samples: Positive
    chains_mib: Annotated[list[Annotated[list[Number], Field(min_length=3, max_length=3)]], Field(fail_fast=True)]


class SpreadRecord(TypedDict):
    log_half_width: Annotated[float, Field(ge=0, le=10)]
    fastest_ms: Milliseconds
    slowest_ms: Milliseconds


class TableEnd(TypedDict):
    """The largest or the smallest network of the space."""

    architecture: ArchitectureValue
    p50_ms: Milliseconds
    interval_ms: Between
    predicted_ms: MillisecondsBetween


class TableNetwork(TypedDict):
    """A whole network that was measured."""

    architecture: ArchitectureValue
    measured_ms: Milliseconds
    interval_ms: Between
    predicted_ms: MillisecondsBetween
    held_out: bool


class ErrorRecord(TypedDict):
    mean_percent: Annotated[float, Field(ge=0, le=1e12)]
    max_percent: Annotated[float, Field(ge=0, le=1e12)]
    kendall_tau: Annotated[float, Field(ge=-1.001, le=1.001)]
    num_networks: Annotated[int, Field(ge=0, le=10**6)]


class RuntimeRecord(TypedDict):
    """`Runtime.describe()`."""

    name: str
    version: NotRequired[Any]


class HistoryEntry(TypedDict):
    what: str


class InterpolationRecord(TypedDict):
    mean_ms: MillisecondsBetween
    max_ms: MillisecondsBetween
    noise_ms: MillisecondsBetween
    latency_ms: MillisecondsBetween
    num_knots: Positive


class WidthStepRecord(TypedDict):
    family: str
    narrow: Positive
    wide: Positive
    narrow_ms: MillisecondsBetween
    wide_ms: MillisecondsBetween


class TableRecord(TypedDict):
    """`interpolation` and `steps` follow from the entries; they are for readers of the file."""

    format: int
    space: dict[str, Any]
    """See `arch.space.SpaceRecord`."""
    resolution: Resolutions
    num_classes: NumClasses
    runtime: RuntimeRecord
    threads: Annotated[int, Field(ge=1, le=10**6)]
    clock: Literal["cpu", "wall"]
    entries: dict[str, PartEntry]
    scale: Annotated[float, Field(ge=0, le=1e9)]
    offset_ms: Annotated[float, Field(ge=0, le=1e9)]
    cache_mib: Mib
    ms_per_mib: Annotated[float, Field(ge=0, le=1e9)]
    spread: SpreadRecord
    largest: TableEnd
    smallest: TableEnd
    networks: list[TableNetwork]
    error: ErrorRecord
    interpolation: dict[str, InterpolationRecord]
    steps: list[WidthStepRecord]
    history: list[HistoryEntry]
    provenance: Provenance
