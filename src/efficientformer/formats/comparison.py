"""Records of comparisons: what is kept beside an exported file, `benchmark.json`, `analysis.json`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.formats.table import RuntimeRecord
from efficientformer.formats.values import (
    Count,
    Factor,
    Factors,
    Interval,
    Milliseconds,
    Number,
    NumClasses,
    Percent,
    Positive,
    Provenance,
    Resolution,
    Samples,
    TaskName,
)


class KeptExport(TypedDict):
    """Beside an exported file that is kept for later comparisons."""

    input_shape: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=4, max_length=4)]
    num_params: Count
    macs: Count | None
    deploy_form: str
    weights: str
    logits: Annotated[list[Annotated[list[Number], Field(fail_fast=True)]], Field(fail_fast=True)]
    digest: str


class BenchmarkResult(TypedDict):
    """A network on a runtime; without a measurement, everything but the problem is None."""

    runtime: str
    p50_ms: Milliseconds | None
    interval_ms: Interval | None
    p90_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    disturbed_percent: Percent | None
    calm: bool | None
    settled: bool | None
    ratio: Factor | None
    ratio_interval: Factors | None
    max_abs_difference: Number | None
    relative_difference: Number | None
    problem: str | None
    samples_ms: Samples | None


class BenchmarkRow(TypedDict):
    name: str
    title: str
    source: dict[str, str]
    deploy_form: str | None
    weights: str | None
    num_params: Count | None
    macs: Count | None
    resolution: Annotated[list[Resolution], Field(min_length=2, max_length=2)] | None
    top1: Percent | None
    top5: Percent | None
    top1_source: str | None
    paper: dict[str, Number | None] | None
    score: NotRequired[Percent | None]
    """Of a task model of a run, on the validation images of that run."""
    results: list[BenchmarkResult]


class BenchmarkTask(TypedDict):
    """The task of models that are compared, and the head of those that were named."""

    name: TaskName
    head: str
    num_classes: NumClasses
    published_recipe: str


class PublishedDense(TypedDict):
    """Figures that a paper reports of a backbone with its own heads and training."""

    name: str
    title: str
    source: str
    box_ap: NotRequired[Percent]
    ap50: NotRequired[Percent]
    ap75: NotRequired[Percent]
    mask_ap: NotRequired[Percent]
    miou: NotRequired[Percent]


class BenchmarkRecord(TypedDict):
    """`benchmark.json`."""

    format: int
    suite: dict[str, Any] | None
    reference: str
    runtimes: list[RuntimeRecord]
    threads: Positive
    clock: Literal["cpu", "wall"]
    rounds: Count
    models: Annotated[list[BenchmarkRow], Field(min_length=1)]
    comparisons: list[dict[str, Any]]
    agreements: list[dict[str, Any]]
    sources: dict[str, dict[str, Any]]
    task: NotRequired[BenchmarkTask]
    published: NotRequired[list[PublishedDense]]
    provenance: Provenance


class AnalysisRecord(TypedDict):
    """`analysis.json`."""

    format: int
    runtimes: list[RuntimeRecord]
    experiments: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    switches: list[dict[str, Any]]
    advice: list[dict[str, Any]]
    trials: NotRequired[list[dict[str, Any]]]
    choices: NotRequired[list[dict[str, Any]]]
    hotspots: list[dict[str, Any]]
    provenance: Provenance
