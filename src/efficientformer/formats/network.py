"""Records of one network: `networks/*/*.json`, and the metadata of weights files and exported files."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.formats.values import (
    ArchitectureValue,
    ClassNames,
    Count,
    Factor,
    Factors,
    FolderName,
    Number,
    NumClasses,
    Percent,
    Positive,
    Provenance,
    Resolutions,
    TaskName,
    has_score,
)
from efficientformer.reading import rule

EVALUATION_MIB = 1024
"""A confusion matrix grows with the square of the number of classes."""
Channels = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=3, max_length=3)]
Deviations = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=3, max_length=3)]


class PreprocessingRecord(TypedDict):
    """See `data.transforms.Preprocessing`."""

    resolution: Resolutions
    mean: Channels
    std: Deviations
    crop_ratio: Annotated[float, Field(gt=0, le=1)]
    is_stretched: NotRequired[Literal[True]]


class ArchitectureFile(TypedDict):
    """`architecture.json`."""

    architecture: ArchitectureValue
    resolution: Resolutions
    num_classes: NumClasses
    classes: ClassNames
    preprocessing: NotRequired[PreprocessingRecord]
    task: NotRequired[TaskName]


class DescribedNetwork(TypedDict):
    """What a file with an architecture may say of its network."""

    architecture: ArchitectureValue
    resolution: NotRequired[Resolutions]
    num_classes: NotRequired[NumClasses]
    preprocessing: NotRequired[PreprocessingRecord]


class TrainRecord(TypedDict):
    """`train.json`."""

    epochs: Positive
    num_steps: Positive
    trained_epochs: NotRequired[Positive]
    """Epochs until `train.patience` ended the training, or all."""
    best_epoch: NotRequired[Positive]
    kept_epoch: NotRequired[Positive]
    init: str
    head: NotRequired[str]
    init_resolution: NotRequired[Resolutions]
    teacher: NotRequired[str]
    distillation: NotRequired[str]
    num_unlabelled: NotRequired[Count]
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    provenance: Provenance


class ClassScore(TypedDict):
    """top1, or ap of several labels an image and of a detection: its average precision; of masks iou. Of instances
    ap is that of masks."""

    name: str
    iou: NotRequired[Percent | None]
    accuracy: NotRequired[Percent | None]
    """Share of the pixels of the class that are right."""
    num_pixels: NotRequired[Count]
    top1: NotRequired[Percent | None]
    ap: NotRequired[Percent | None]
    box_ap: NotRequired[Percent | None]
    num_images: Count
    num_boxes: NotRequired[Count]


class ConfidenceBin(TypedDict):
    """See `tasks.classification.calibration.ConfidenceBin`."""

    confidence: Percent | None
    top1: Percent | None
    num_images: Count


class Evaluation(TypedDict):
    """`evaluation.json`: scores on the validation images, in percent."""

    top1: NotRequired[Percent]
    top5: NotRequired[Percent]
    balanced_accuracy: NotRequired[Percent]
    """Mean of `top1` over the classes that have images."""
    calibration_error: NotRequired[Percent]
    """With the two below it, of classification; records of earlier versions have none."""
    negative_log_likelihood: NotRequired[Annotated[float, Field(ge=0, le=1e12)]]
    """In nats."""
    calibration: NotRequired[Annotated[list[ConfidenceBin], Field(min_length=1, max_length=100)]]
    """Bins of confidence of equal width, from 0 to 100 %."""
    mean_ap: NotRequired[Percent]
    """In place of the three, of several labels an image: the mean of `ap` over the classes that have images."""
    miou: NotRequired[Percent]
    """In place of the three, of masks: the mean of `iou`, which a class has if a pixel is of it or taken for it."""
    mean_accuracy: NotRequired[Percent]
    pixel_accuracy: NotRequired[Percent]
    box_ap: NotRequired[Percent]
    """In place of the three, of a detection: the mean of `ap` over the classes that have boxes."""
    ap50: NotRequired[Percent]
    ap75: NotRequired[Percent]
    ap_small: NotRequired[Percent]
    ap_medium: NotRequired[Percent]
    ap_large: NotRequired[Percent]
    mask_ap: NotRequired[Percent]
    """Of instances: the mean of `ap`, beside `box_ap` and its kind."""
    mask_ap50: NotRequired[Percent]
    mask_ap75: NotRequired[Percent]
    mask_ap_small: NotRequired[Percent]
    mask_ap_medium: NotRequired[Percent]
    mask_ap_large: NotRequired[Percent]
    num_images: Positive
    per_class: Annotated[list[ClassScore], Field(fail_fast=True)]
    confusion: NotRequired[Annotated[list[Annotated[list[Count], Field(fail_fast=True)]], Field(fail_fast=True)]]
    """Images, of masks pixels, by true class (rows) and predicted class; may be empty."""
    provenance: NotRequired[Provenance]


@rule(Evaluation)
def _is_of_one_task(record: Evaluation) -> None:
    needed = {"mean_ap": "ap", "mask_ap": "ap", "box_ap": "ap", "miou": "iou"}
    of_class = next((of_class for primary, of_class in needed.items() if primary in record), "top1")
    if of_class == "top1":
        for name in ("top1", "top5", "confusion"):
            if name not in record:
                raise ValueError(f"{name} is missing")
    for index, row in enumerate(record["per_class"]):
        if of_class not in row:
            raise ValueError(f"per_class.{index}.{of_class} is missing")
    size, rows = len(record["per_class"]), record.get("confusion", [])
    if rows and (len(rows) != size or any(len(row) != size for row in rows)):
        raise ValueError(f"confusion must have {size} rows of {size} numbers, one for each of per_class")


class ExampleImage(TypedDict):
    """A scored image: its name, its score in percent, and its drawings, JPEG files in the folder of the record. One of
    two drawings shows the labels, the other what was found."""

    file: str
    score: Percent
    drawings: Annotated[list[FolderName], Field(min_length=1, max_length=2)]


class ExampleClass(TypedDict):
    name: str
    color: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class ExamplesRecord(TypedDict):
    """`examples.json`: the best and the worst of the validation images, in this order, and the colors of classes."""

    format: Literal[1]
    best: Annotated[list[ExampleImage], Field(max_length=16)]
    worst: Annotated[list[ExampleImage], Field(max_length=16)]
    num_images: Count
    """Those that have a score."""
    classes: list[ExampleClass]
    provenance: NotRequired[Provenance]


class FormsRecord(TypedDict):
    """See `models.deploy.forms.DeployForms`."""

    pooling: Literal["products", "difference"]
    projections: Literal["joined", "separate"]


class ComparedForms(TypedDict):
    forms: FormsRecord
    ratio: Factor
    interval: Factors


class ExportRecord(TypedDict):
    """`export.json`."""

    file: str
    bytes: Count
    max_abs_difference: Annotated[float, Field(ge=0, le=1e12)]
    tolerance: Annotated[float, Field(ge=0, le=1e12)]
    forms: NotRequired[FormsRecord]
    compared: NotRequired[list[ComparedForms]]
    deploy_form: NotRequired[str]
    """Of a network of timm, which has no `forms`; its costs follow from the file."""
    num_params: NotRequired[Count]
    macs: NotRequired[Count | None]
    metadata: dict[str, str]
    provenance: NotRequired[Provenance]


class LoggedStep(TypedDict):
    """A line of any training's log: a step, and its figures by name."""

    step: Count


class MetricsLine(LoggedStep):
    """A line of a run's `metrics.jsonl`: one step, or the score after an epoch."""

    epoch: Annotated[float, Field(ge=0, le=1e9)]
    loss: NotRequired[Number]
    lr: NotRequired[Number]
    temperature: NotRequired[Number]
    teacher_loss: NotRequired[Number]
    loss_objectness: NotRequired[Number]
    """With the four below it, the parts of `loss` of instances, in the last step."""
    loss_rpn_box_reg: NotRequired[Number]
    loss_classifier: NotRequired[Number]
    loss_box_reg: NotRequired[Number]
    loss_mask: NotRequired[Number]
    val_top1: NotRequired[Percent]
    val_mean_ap: NotRequired[Percent]
    val_miou: NotRequired[Percent]
    held_out_top1: NotRequired[Percent]
    held_out_mean_ap: NotRequired[Percent]
    held_out_miou: NotRequired[Percent]
    val_box_ap: NotRequired[Percent]
    held_out_box_ap: NotRequired[Percent]
    val_mask_ap: NotRequired[Percent]
    held_out_mask_ap: NotRequired[Percent]
    held_out_balanced_accuracy: NotRequired[Percent]


class WeightsAbout(TypedDict):
    """Metadata of a weights file, after decoding."""

    architecture: ArchitectureValue
    resolution: Resolutions
    num_classes: Annotated[int, Field(ge=0, le=100_000)]
    in_chans: Annotated[int, Field(ge=1, le=1024)]
    classes: NotRequired[ClassNames | None]
    preprocessing: NotRequired[dict[str, Any] | None]


class DescribedWeights(TypedDict):
    """What metadata of a weights file, or the architecture.json in its folder, say for a network of any architecture.
    What is unknown is None."""

    resolution: Resolutions | None
    in_chans: Annotated[int, Field(ge=1, le=1024)] | None
    classes: ClassNames | None
    preprocessing: dict[str, Any] | None
    task: TaskName | None


class ExportedAbout(TypedDict):
    """Metadata of an exported file, after decoding."""

    classes: Annotated[ClassNames, Field(min_length=1)]
    preprocessing: PreprocessingRecord
    task: NotRequired[TaskName]
    """Without it, classification; so in other files."""


class HubEntry(TypedDict):
    preprocessing: NotRequired[dict[str, Any] | None]


class HubConfig(TypedDict):
    """`config.json` beside weights of the hub: what Transformers and timm put there, and an entry of ours."""

    efficientformer: NotRequired[HubEntry]


class KeptScore(TypedDict):
    """A score of a network that was trained alone."""

    top1: NotRequired[Percent]
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    box_ap: NotRequired[Percent]
    mask_ap: NotRequired[Percent]
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    title: NotRequired[str]


rule(KeptScore)(has_score)
