"""Records of a run as a whole: images, stamps, measured promises, result."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.formats.measurement import MeasurementValue
from efficientformer.formats.network import PreprocessingRecord
from efficientformer.formats.reference import ReferenceMeasured, ReferenceResult
from efficientformer.formats.shortlist import PublishedFigures
from efficientformer.formats.values import (
    MOST_MS,
    ArchitectureValue,
    ClassNames,
    Count,
    FolderName,
    Interval,
    Milliseconds,
    Percent,
    Provenance,
    TaskName,
)
from efficientformer.reading import rule


class SplitRecord(TypedDict):
    num_images: Count
    per_class: Annotated[list[Count], Field(fail_fast=True)]


class Skipped(TypedDict):
    file: str
    reason: str


class DataRecord(TypedDict):
    """`data.json`."""

    name: str
    task: NotRequired[TaskName]
    """Without it, classification."""
    classes: ClassNames
    train: SplitRecord
    val: SplitRecord
    skipped: Annotated[list[Skipped], Field(fail_fast=True)]
    digest: NotRequired[str]
    split_rule: NotRequired[str]
    layout: NotRequired[str]
    notes: NotRequired[list[str]]
    preprocessing: NotRequired[PreprocessingRecord]
    provenance: NotRequired[Provenance]


@rule(DataRecord)
def _counts_every_class(record: DataRecord) -> None:
    for name in ("train", "val"):
        if len(record[name]["per_class"]) != len(record["classes"]):
            raise ValueError(f"{name}.per_class must have {len(record['classes'])} numbers, one for each of classes")


class StampRecord(TypedDict):
    """`stamps/*.json`: what the records of a finished phase depend on."""

    settings: dict[str, Any]
    inputs: dict[str, str]
    version: str
    outputs: NotRequired[dict[str, str]]
    """SHA-256 of each file, by its path in the run directory."""


class CorrectionsRecord(TypedDict):
    """`slim/corrections.json`: measured over predicted latency by the folder of a budget's network."""

    table: str
    scales: dict[str, Annotated[float, Field(ge=1e-3, le=1e3)]]


class BudgetValue(TypedDict):
    """See `pipeline.run.budget.Budget`."""

    text: str
    value: Annotated[float, Field(gt=0, le=MOST_MS)]
    unit: Literal["ms", "us", "s", "%"]


class TakenLimit(TypedDict):
    most: Annotated[float, Field(gt=0, le=1e12)]
    measured: Annotated[float, Field(ge=0, le=1e12)]


class _Promise(TypedDict):
    budget: str
    slug: FolderName
    budget_ms: Milliseconds
    predicted_ms: Milliseconds
    measured_p50_ms: Milliseconds
    measured_interval_ms: Interval
    interval_percent: NotRequired[Percent]
    """Confidence of the interval; absent from records of one session, where it is 95."""
    sessions: NotRequired[Count]
    kept: bool
    percentile: Literal["p50", "p90"]
    measured_ms: Milliseconds
    limits: dict[str, TakenLimit]


class PromiseRow(_Promise):
    """The measurement of one exported file."""

    measured_p90_ms: NotRequired[Milliseconds]
    all_p50_ms: NotRequired[Milliseconds]
    disturbed_percent: NotRequired[Percent]


class LargestMeasured(TypedDict):
    p50_ms: Milliseconds
    interval_ms: Interval


class Verification(TypedDict):
    """`verification.json`."""

    clock: Literal["cpu", "wall"]
    runtime: dict[str, Any]
    opened_in: NotRequired[Literal["new processes", "one process"]]
    interval_of: NotRequired[str]
    largest: LargestMeasured
    promises: list[PromiseRow]
    references: NotRequired[list[ReferenceMeasured]]
    measurements: NotRequired[dict[str, dict[str, Any]]]
    """See `latency.timing.repeated.Repeated`, and `Measurement` for records of one session."""
    rounds: Count
    provenance: NotRequired[Provenance]


class SessionValue(TypedDict):
    """One session of a verification.

    look: the number of the attempt that it was taken for.
    digests: SHA-256 of the files, by name of the network.
    measurements: by name of the network.
    """

    look: Count
    digests: dict[str, str]
    measurements: dict[str, MeasurementValue]


class SessionLine(TypedDict):
    """A line of `verification.sessions.jsonl`: a session, or the end of an attempt. of: digest of its device."""

    of: str
    session: NotRequired[SessionValue]
    looked: NotRequired[Count]


class ResultRow(_Promise):
    """A network of `result.json`, which is a list of these."""

    top1: NotRequired[Percent]
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    box_ap: NotRequired[Percent]
    mask_ap: NotRequired[Percent]
    balanced_accuracy: NotRequired[Percent]
    num_params: Count
    macs: Count
    architecture: ArchitectureValue
    onnx: str
    published: NotRequired[PublishedFigures | None]
    """The best published network within the budget, None if no network is; absent without a shortlist."""
    reference: NotRequired[ReferenceResult | None]
    """The published network that was fine-tuned for the budget, None if none fits; absent unless one was asked for."""
