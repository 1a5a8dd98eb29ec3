"""Records of published networks: `shortlist.json`, and `published.json` of a run."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.formats.table import RuntimeRecord
from efficientformer.formats.values import (
    Count,
    FolderName,
    Interval,
    Milliseconds,
    Percent,
    Positive,
    Provenance,
    Resolution,
    Samples,
)

Grid = Annotated[list[Resolution], Field(min_length=2, max_length=2)]


class PublishedFigures(TypedDict):
    """A published network: what was measured on the device, and what its authors and timm state.

    name: architecture and weights, as timm names them.
    resolution: of the latency, height and width in pixels; None if the network could not be built.
    top1: of ImageNet-1k in percent, at `top1_resolution` pixels.
    license: of the weights.
    more_data: what the weights saw besides ImageNet-1k.
    """

    name: str
    title: str
    resolution: Grid | None
    p50_ms: Milliseconds | None
    interval_ms: Interval | None
    p90_ms: Milliseconds | None
    top1: Percent
    top1_resolution: Resolution
    license: str
    more_data: str | None


class ShortlistRow(PublishedFigures):
    """A network of `shortlist.json`; without a measurement, `problem` is the reason."""

    top1_source: str
    num_params: Count | None
    macs: Count | None
    deploy_form: str | None
    disturbed_percent: Percent | None
    calm: bool | None
    settled: bool | None
    problem: str | None
    samples_ms: Samples | None


class ShortlistBudget(TypedDict):
    """best: the name of the best network within the budget, None if no network is."""

    budget: str
    budget_ms: Milliseconds
    best: str | None


class ShortlistRecord(TypedDict):
    """`shortlist.json`. resolution: of all networks, None if each had its own. seconds: of the command."""

    format: int
    device: str
    runtime: RuntimeRecord
    threads: Positive
    clock: Literal["cpu", "wall"]
    rounds: Count
    resolution: Grid | None
    networks: list[ShortlistRow]
    front: list[str]
    budgets: list[ShortlistBudget]
    sources: dict[str, Any]
    seconds: float
    provenance: Provenance


class UsedShortlist(TypedDict):
    """The shortlist that the networks of `published.json` are from."""

    time: str
    rounds: Count
    num_networks: Count
    resolution: Grid | None


class PublishedRow(TypedDict):
    """best: the most accurate published network within the budget, None if none of those measured is."""

    budget: str
    slug: FolderName
    budget_ms: Milliseconds
    best: PublishedFigures | None


class PublishedRecord(TypedDict):
    """`published.json`: for each budget, the best published network that fits.

    command: what measures published networks on the device of the run.
    shortlist: None while the device has none; then there are no rows.
    """

    command: str
    shortlist: UsedShortlist | None
    rows: list[PublishedRow]
