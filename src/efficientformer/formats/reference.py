"""Records of references: published networks that are fine-tuned as the networks of a run are trained."""

from typing import NotRequired

from typing_extensions import TypedDict

from efficientformer.formats.values import Count, FolderName, Interval, Milliseconds, Percent, Positive, Provenance


class ChosenReference(TypedDict):
    """The published network that a budget's network is compared with. name: None where there is none, by `reason`."""

    budget: str
    slug: FolderName
    name: FolderName | None
    reason: str | None


class ReferencesRecord(TypedDict):
    """`references/chosen.json`. asked: the setting `reference`."""

    asked: str
    rows: list[ChosenReference]
    provenance: NotRequired[Provenance]


class _Measured(TypedDict):
    name: FolderName
    measured_ms: Milliseconds
    measured_interval_ms: Interval
    interval_percent: Percent
    sessions: Count
    kept: bool


class ReferenceMeasured(_Measured):
    """The measurement of a reference, in `verification.json`, interleaved with the networks of the run."""

    budget: str
    slug: FolderName
    budget_ms: Milliseconds


class ReferenceResult(_Measured):
    """A reference in `result.json`: scored on the same images, by the same means. macs: None if not counted."""

    top1: NotRequired[Percent]
    top5: NotRequired[Percent]
    balanced_accuracy: NotRequired[Percent]
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    """In place of the three, of several labels an image."""
    box_ap: NotRequired[Percent]
    """In place of the three, of a detection."""
    num_images: Positive
    num_params: Count
    macs: Count | None
    onnx: str
