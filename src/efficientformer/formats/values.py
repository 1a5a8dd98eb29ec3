"""Values that records are made of."""

from pathlib import PurePath
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from efficientformer.arch.spec import NUM_STAGES, Architecture

MOST_MS = 1e9
MAX_CLASSES, MAX_RESOLUTION = 100_000, 4096

Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Positive = Annotated[int, Field(ge=1, le=10**15)]
Index = Annotated[int, Field(ge=0, le=10**6)]
Milliseconds = Annotated[float, Field(ge=1e-9, le=MOST_MS)]
"""A latency: positive and finite."""
MillisecondsBetween = Annotated[float, Field(ge=-MOST_MS, le=MOST_MS)]
"""A difference of latencies, or an estimate that noise can make negative."""
Interval = Annotated[list[Milliseconds], Field(min_length=2, max_length=2)]
Factor = Annotated[float, Field(ge=1e-6, le=1e6)]
"""A ratio of two latencies."""
Factors = Annotated[list[Factor], Field(min_length=2, max_length=2)]
Resolution = Annotated[int, Field(ge=1, le=MAX_RESOLUTION)]
"""Side of a square input, in pixels."""
NumClasses = Annotated[int, Field(ge=1, le=MAX_CLASSES)]
ClassNames = Annotated[list[str], Field(fail_fast=True, max_length=MAX_CLASSES)]
TaskName = Literal["classification", "multi_label", "detection", "instance", "semantic"]
DENSE_TASKS: tuple[TaskName, ...] = ("detection", "instance", "semantic")
"""Tasks whose labels lie in the images, as masks and boxes do."""
PRIMARY: dict[TaskName, str] = {
    "classification": "top1",
    "multi_label": "mean_ap",
    "detection": "box_ap",
    "instance": "mask_ap",
    "semantic": "miou",
}
"""By task, the score that networks are compared by, as records name it."""


def has_score(content: Any, prefix: str = "") -> Any:
    """Raise ValueError unless a record has the primary score of a task, by its name behind `prefix`."""
    names = [prefix + name for name in PRIMARY.values()]
    if not any(name in content for name in names):
        raise ValueError(f"{names[0]} is missing")
    return content


Samples = Annotated[list[Milliseconds], Field(fail_fast=True)]


def _architecture(content: dict[str, Any]) -> dict[str, Any]:
    Architecture.from_json(content)
    return content


ArchitectureValue = Annotated[dict[str, Any], AfterValidator(_architecture)]
"""See `arch.spec.ArchitectureRecord`."""


def _resolution(value: Any) -> Any:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(type(side) is int and 1 <= side <= MAX_RESOLUTION for side in sides):
        raise ValueError(f"must be a side in pixels or [height, width], from 1 to {MAX_RESOLUTION}")
    return value


Resolutions = Annotated[Any, AfterValidator(_resolution)]
"""Side of a square input, or [height, width]."""


def _folder_name(name: str) -> str:
    if name != PurePath(name).name or name in ("", ".", "..") or "\\" in name or "\0" in name or len(name) > 100:
        raise ValueError("must be the name of a folder")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]
Origins = Annotated[list[list[Index]], Field(min_length=NUM_STAGES, max_length=NUM_STAGES)]
"""For every block the supernet block that it comes from, stage by stage."""


def check_origins(content: Any) -> Any:
    """Raise ValueError unless a record's origins and architecture have the same blocks."""
    depths = [len(stage["blocks"]) for stage in content["architecture"]["stages"]]
    if "origins" in content and [len(stage) for stage in content["origins"]] != depths:
        raise ValueError(f"origins must have {depths} blocks, as the architecture has")
    return content


class Provenance(TypedDict):
    """Where a record comes from; see `provenance.provenance`."""

    machine: dict[str, Any]
    versions: dict[str, Any]
    time: NotRequired[str]
    load: NotRequired[Any]
    command: NotRequired[str]
    revision: NotRequired[str | None]
