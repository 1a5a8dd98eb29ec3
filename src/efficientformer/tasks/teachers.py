"""A teacher: a trained classifier that answers for the images and the classes of a student."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import UsageError
from efficientformer.formats.values import TaskName
from efficientformer.tasks.words import TaskWords

WITHOUT = "or train without a teacher: --teacher none"
ONE_SCORE_EACH = 2, 1, 0, "a score for each class. Choose a classifier"
ANSWERS: dict[TaskName, tuple[int, int, int, str]] = {
    "semantic": (4, 1, 0, "logits of the classes for every pixel. Choose a network for masks"),
    "detection": (3, 2, 5, "boxes of the cells of a one-stage head. Choose a network for boxes"),
}
"""Of dense tasks the axes of a network's answers, the axis of the classes, how many further numbers lie on it, and what
they are."""


class View:
    """Images of a student, as a network with a preprocessing of its own sees them: resized, normalized anew."""

    def __init__(self, student: Preprocessing, teacher: Preprocessing) -> None:
        self._grid = teacher.grid
        pairs = list(zip(student.mean, student.std, teacher.mean, teacher.std, strict=True))
        self._is_same = student.mean == teacher.mean and student.std == teacher.std
        self._scale_C11 = torch.tensor([std / own_std for _, std, _, own_std in pairs]).view(3, 1, 1)
        self._shift_C11 = torch.tensor([(mean - own) / own_std for mean, _, own, own_std in pairs]).view(3, 1, 1)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        if not self._is_same:
            images_BCHW = images_BCHW * self._scale_C11.to(images_BCHW) + self._shift_C11.to(images_BCHW)
        return resized(images_BCHW, self._grid)


class Teacher:
    """A network whose answers a student learns. It is not trained: it has no gradient and stays in evaluation mode.

    module: images (B, 3, H, W) to logits (B, K).
    view: what the module sees of the student's images; by default the images themselves.
    order: for each class of the student, its place among those of the module; by default they are in the same order.
    name: in messages.
    """

    def __init__(
        self, module: nn.Module, *, view: View | None = None, order: Sequence[int] | None = None, name: str = "teacher"
    ) -> None:
        self._module, self._view, self._name = module.eval(), view, name
        self._order = None if order is None or list(order) == list(range(len(order))) else list(order)

    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of the student's images, in the order of the student's classes."""
        with torch.no_grad():
            return self._ordered(self._on(images_BCHW)(self._seen(images_BCHW)))

    def logits_and_maps(self, images_BCHW: Tensor, strides: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The same, and the maps (B, C, H, W) of these strides, in pixels of the teacher's images. Raises UsageError
        for a teacher that has none."""
        indices = self._map_indices(strides)
        module: Any = self._on(images_BCHW)
        with torch.no_grad():
            last, maps = module.forward_intermediates(self._seen(images_BCHW), indices=indices)
            return self._ordered(module.forward_head(last)), [values.float() for values in maps]

    def map_widths(self, strides: Sequence[int]) -> list[int]:
        """Channels of these maps. Raises UsageError as `logits_and_maps` does."""
        entries = _feature_info(self._module)
        return [int(entries[index]["num_chs"]) for index in self._map_indices(strides)]

    def require_classes(self, num_classes: int, example_BCHW: Tensor, task: TaskName = "classification") -> None:
        """Raises UsageError unless the teacher answers for this task and number of classes, on an example of a
        student's images."""
        logits, (num_axes, axis, num_others, what) = self.logits(example_BCHW), ANSWERS.get(task, ONE_SCORE_EACH)
        if logits.ndim != num_axes or len(logits) != len(example_BCHW):
            shape = list(logits.shape)
            raise UsageError(
                f"Teacher {self._name} gives {shape} for {len(example_BCHW)} images, not {what}, {WITHOUT}."
            )
        if logits.shape[axis] != num_classes + num_others:
            raise UsageError(other_classes(self._name, logits.shape[axis] - num_others, num_classes))

    def _on(self, images_BCHW: Tensor) -> nn.Module:
        like = next(self._module.parameters(), None)
        if like is not None and like.device != images_BCHW.device:
            self._module.to(images_BCHW.device)
        # Whoever else has the module may have set it to train.
        return self._module.eval() if self._module.training else self._module

    def _seen(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW if self._view is None else self._view(images_BCHW)

    def _ordered(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.float() if self._order is None else logits_BK.float()[:, self._order]

    def _map_indices(self, strides: Sequence[int]) -> list[int]:
        entries = _feature_info(self._module)
        # Of several maps of a stride the last is that of the stage's end.
        index_of = {int(entry["reduction"]): index for index, entry in enumerate(entries)}
        if missing := [stride for stride in strides if stride not in index_of]:
            raise UsageError(
                f"Teacher {self._name} has no maps of stride {', '.join(map(str, missing))}, which --distillation "
                "features compares with the student's. Use --distillation soft, or a teacher of four stages."
            )
        return [index_of[stride] for stride in strides]


def resized(images_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Images or maps of another height and width."""
    if tuple(images_BCHW.shape[2:]) == tuple(grid):
        return images_BCHW
    return functional.interpolate(images_BCHW.float(), size=grid, mode="bilinear", antialias=True)


def class_order(name: str, theirs: Sequence[str] | None, ours: Sequence[str]) -> list[int] | None:
    """For each of our classes its place among a teacher's; None if the teacher's have no names.

    Raises UsageError unless both have the same names.
    """
    if theirs is None:
        return None
    if len(theirs) != len(ours):
        raise UsageError(other_classes(name, len(theirs), len(ours)))
    place = {class_name: index for index, class_name in enumerate(theirs)}
    if unknown := [class_name for class_name in ours if class_name not in place]:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UsageError(
            f"Teacher {name} does not know the class '{unknown[0]}'{more} of the images. Fine-tune it on these images "
            f"and give its file, {WITHOUT}."
        )
    return [place[class_name] for class_name in ours]


def other_classes(name: str, theirs: int, ours: int) -> str:
    return (
        f"Teacher {name} has {theirs} classes, and the images have {ours}. Fine-tune it on these images and give its "
        f"file, {WITHOUT}."
    )


def other_task(name: str, theirs: TaskWords, ours: TaskWords) -> str:
    return (
        f"Teacher {name} is for images with {theirs.labels}, and these have {ours.labels}. Fine-tune it on these "
        f"images and give its file, {WITHOUT}."
    )


def _feature_info(module: nn.Module) -> list[Mapping[str, Any]]:
    if not hasattr(module, "forward_intermediates") or not hasattr(module, "forward_head"):
        return []
    info: Any = getattr(module, "feature_info", [])
    return list(getattr(info, "info", info))
