"""A measurement of one network in one session. See `latency.timing.measurement.Measurement`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from efficientformer.formats.values import Count, Factor, Factors, Index, Milliseconds, Number, Positive, Provenance


class RatioRecord(TypedDict):
    reference: str
    p50: Factor
    interval: Factors


class MeasurementRecord(TypedDict):
    """`Measurement.to_json`, without the figures that follow from the samples."""

    samples_ms: Annotated[list[Milliseconds], Field(fail_fast=True, min_length=1)]
    clock: Literal["cpu", "wall"]
    warmup_runs: Count
    calls_per_sample: Positive
    runtime: dict[str, Any]
    threads: Positive
    batch_size: Positive
    resolution: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    provenance: Provenance
    ratio: RatioRecord | None
    disturbed_rounds: Annotated[list[Index], Field(fail_fast=True)]
    quiet_median: bool
    calm: bool
    settled: bool
    conditions: dict[str, Any]
    memory_mib: Number | None


def _rounds_exist(record: MeasurementRecord) -> MeasurementRecord:
    disturbed, count = set(record["disturbed_rounds"]), len(record["samples_ms"])
    if max(disturbed, default=-1) >= count or len(disturbed) == count:
        raise ValueError(f"disturbed_rounds must be some of {count} rounds, and not all")
    return record


MeasurementValue = Annotated[MeasurementRecord, AfterValidator(_rounds_exist)]
