"""Settings of a training's teacher; a part of `train`. The first sentence of a docstring is the help of its flag."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from efficientformer.tasks.teacher_source import DistillationKind

NONE = "none"
"""Turns off what a recipe or an earlier call asked for: a teacher, unlabelled photographs, another run's supernet."""


PARENT_AS_TEACHER = "parent"
"""The network of --init, after it was fine-tuned."""


def _or_none(value: Any) -> Any:
    return None if value == NONE else value


OrNone = Annotated[str | None, BeforeValidator(_or_none)]


class TeacherSettings(BaseModel):
    """What a network learns from in addition to labels."""

    teacher: OrNone = None
    """Network to learn from: a name of timm's, FILE, NAME:FILE, parent or none. FILE is weights of a run, ONNX or
    TorchScript; NAME:FILE is weights of timm's network; parent is the network of design --init."""
    distillation: DistillationKind = "soft"
    """What the teacher gives. hard: its likeliest class, to a second head (the paper). soft: its logits. features:
    its logits and, in the first half of training, the maps of its four stages."""
    distillation_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the teacher in the loss. The labels have the rest."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of both networks' logits. Of soft and features."""
    unlabelled: OrNone = None
    """Folder of photographs without labels, or none. They are learned from the teacher alone."""
    unlabelled_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of unlabelled photographs in a step. They are added to batch_size."""

    @property
    def idle(self) -> frozenset[str]:
        """Dotted names of those without effect in this training, and of places, whose content counts instead."""
        names = {"teacher", "unlabelled", *(() if self.teacher else OF_TEACHER)}
        names |= {"temperature"} if self.distillation == "hard" else set()
        names |= {"unlabelled_share"} if self.unlabelled is None else set()
        return frozenset(f"train.{name}" for name in names)


OF_TEACHER = ("distillation", "distillation_weight", "temperature", "unlabelled_share")
"""Settings of `train` without effect where there is no teacher."""
WITHOUT_TEACHER = TeacherSettings().idle
"""Dotted names of the settings of `train` that a training without a teacher does not have."""
