"""What a task and its scores are called: in records, tables and pages. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efficientformer.formats.values import DENSE_TASKS, PRIMARY, TaskName


@dataclass(frozen=True)
class TaskWords:
    """The names of a task and of its scores, all of which are percentages.

    name: in records and in the metadata of files.
    labels: those of an image, as in "images with ...".
    title: of `primary`, for people.
    long_title: the same at the beginning of a sentence.
    of_class: the score of one class, in records.
    class_title: the same for people.
    balanced: the score that judges networks where classes are balanced, in records.
    further: titles of further scores, by their names in records.
    explained: what tables of the scores do not say by themselves, in a sentence.
    confusable: what has one class, which another can be taken for: images, pixels, or nothing.
    image_title: the score of one image, by which overlays of the best and the worst are chosen; nothing for a task
        without them.
    image_explained: what it is, and how it is drawn.
    unsearched: why networks for it cannot be slimmed to a budget or taught by others, in one line; empty if they can.
    is_share: whether `primary` is a share of the images, whose interval follows from their number.
    """

    name: TaskName
    labels: str
    title: str
    long_title: str
    of_class: str
    class_title: str
    balanced: str
    further: Mapping[str, str] = field(default_factory=dict)
    explained: str = ""
    confusable: str = ""
    image_title: str = ""
    image_explained: str = ""
    unsearched: str = ""
    is_share: bool = False

    @property
    def primary(self) -> str:
        """The score that networks are compared by, in records."""
        return PRIMARY[self.name]

    @property
    def is_dense(self) -> bool:
        """Whether labels lie in the images, as masks and boxes do."""
        return self.name in DENSE_TASKS

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can score the candidates of a search."""
        return "likelihood", self.primary

    @property
    def metadata(self) -> dict[str, str]:
        """What files say of the task in addition to class names: nothing for classification, as files always did."""
        return {} if self.name == CLASSIFICATION.name else {"task": self.name}


def _quality(shape: str) -> str:
    return (
        "Quality of an image: the overlaps of the objects that are found, added up, over their number and half the "
        f"number of the missed and of the wrong ones (panoptic quality). An object is found by a {shape} of its class "
        "that overlaps it by 50 % or more and has a score of 30 % or more, as those that are drawn."
    )


CLASSIFICATION = TaskWords(
    "classification",
    labels="one label each",
    title="top-1",
    long_title="Top-1 accuracy",
    of_class="top1",
    class_title="top-1",
    balanced="balanced_accuracy",
    further={"balanced_accuracy": "balanced accuracy", "top5": "top-5", "calibration_error": "calibration error"},
    explained="Balanced: the mean of the classes' top-1, in which a class of few images counts as much as one of many. "
    "Calibration error: the distance of confidence, the probability of the likeliest class, from top-1, in 15 bins of "
    "confidence of equal width, and its mean over the images.",
    confusable="images",
    is_share=True,
)
MULTI_LABEL = TaskWords(
    "multi_label",
    labels="several labels or none",
    title="mAP",
    long_title="Mean average precision",
    of_class="ap",
    class_title="average precision",
    balanced="mean_ap",
    explained="mAP: the mean of the classes' average precision, the area under precision over recall as the images are "
    "ranked by the score of the class; without a class that no image has.",
)
SEMANTIC = TaskWords(
    "semantic",
    labels="a class for every pixel",
    title="mIoU",
    long_title="Mean IoU",
    of_class="iou",
    class_title="IoU",
    balanced="miou",
    further={"mean_accuracy": "mean accuracy", "pixel_accuracy": "pixel accuracy"},
    explained="mIoU: the mean of the classes' IoU, the share of the pixels that are both of a class and taken for it "
    "among those that are either, over all images at their own size; without ignored pixels, and without a class that "
    "no pixel is of or taken for.",
    confusable="pixels",
    image_title="mIoU of the image",
    image_explained="mIoU of an image: the mean IoU of the classes that are in it, from its own pixels. Left the "
    "labels, right what the network found; pixels that are ignored are left as they are.",
)
DETECTION = TaskWords(
    "detection",
    labels="boxes around their objects",
    title="box AP",
    long_title="Average precision of boxes",
    of_class="ap",
    class_title="average precision",
    balanced="box_ap",
    further={
        "ap50": "AP50",
        "ap75": "AP75",
        "ap_small": "AP of small objects",
        "ap_medium": "AP of medium objects",
        "ap_large": "AP of large objects",
    },
    explained="Box AP: the area under precision over recall, its mean over the classes and over overlaps that count as "
    "found (intersection over union from 50 to 95 %). AP50, AP75: at one overlap. Small objects have less than 32 x 32 "
    "pixels of the image at its own size, large ones more than 96 x 96.",
    image_title="quality",
    image_explained=_quality("box") + " Dashed: the labelled boxes, with a name where no box finds them.",
)
INSTANCE = TaskWords(
    "instance",
    labels="masks of their objects",
    title="mask AP",
    long_title="Average precision of masks",
    of_class="ap",
    class_title="average precision",
    balanced="mask_ap",
    further={
        "mask_ap50": "mask AP50",
        "mask_ap75": "mask AP75",
        "box_ap": "box AP",
        "ap50": "box AP50",
        "ap75": "box AP75",
    },
    explained="Mask AP: the area under precision over recall, its mean over the classes and over overlaps of masks "
    "that count as found (intersection over union from 50 to 95 %). AP50, AP75: at one overlap. Box AP: that of "
    "boxes.",
    image_title="quality",
    image_explained=_quality("mask") + " White outlines: the labelled masks, with a name where no mask finds them.",
    unsearched="Mask R-CNN is trained and evaluated only: train --task instance --init NETWORK. The head that design "
    "budgets and that learns from teachers is that of --task detection.",
)
TASKS: tuple[TaskWords, ...] = (CLASSIFICATION, MULTI_LABEL, INSTANCE, DETECTION, SEMANTIC)
"""Scores of instances have those of boxes, so `words_of` asks for them first."""


def task_words(name: str | None) -> TaskWords:
    """The words of a task; records of earlier versions name none, and are of classification."""
    return next((words for words in TASKS if words.name == name), CLASSIFICATION)


def words_of(record: Mapping[str, Any]) -> TaskWords:
    """The words of the task that a record with a primary score is of."""
    return next((words for words in TASKS if words.primary in record), CLASSIFICATION)
