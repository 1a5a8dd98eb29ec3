"""Distillation: a task whose loss adds what a teacher answers for the same images.

hard: a second head learns the teacher's likeliest class (Touvron et al., 2021; this paper, section 5). soft: the
logits learn the teacher's, softened by a temperature (Hinton et al., 2015). features: soft, and at first the maps that
leave the four stages learn the teacher's (Romero et al., 2015).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.arch.resolution import Grid, grid_of_input
from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import UsageError
from efficientformer.models.network import Network
from efficientformer.tasks.kind import SearchedTask
from efficientformer.tasks.task import Task
from efficientformer.tasks.teacher_source import DistillationKind
from efficientformer.tasks.teachers import Teacher, resized

ADAPTERS = "teacher_adapters"
FADED_AT = 0.5
"""Progress of training at which maps are no longer compared."""


class Distillation(Task):
    """The loss of `task`, and that of a teacher: `1 - weight` of the one and `weight` of the other.

    The teacher sees what the student sees: images that the task mixed are mixed for both. Images whose label is
    `UNLABELLED`, after all others of a batch, have the teacher's loss alone.

    task: calls the model once in a step.
    teacher: a network is one that sees the student's images as they are and has its classes, in their order.
    task_kind: what networks answer, and how answers are compared.
    weight: of the teacher's loss; half and half is the paper's.
    temperature: divides the logits of both, in soft and features; the loss is multiplied by its square, so that the
        gradient keeps its size.

    Before training call `attach` with the network, after it `detach` with the network that is kept.
    """

    def __init__(
        self,
        task: Task,
        teacher: Teacher | nn.Module,
        kind: DistillationKind = "soft",
        *,
        task_kind: SearchedTask,
        weight: float = 0.5,
        temperature: float = 1.0,
    ) -> None:
        self._task, self._kind, self._weight, self._temperature = task, kind, weight, temperature
        self._task_kind = task_kind
        self.uses_all_parameters = task.uses_all_parameters and kind != "features"  # maps are compared at first only
        self._teacher = Teacher(teacher) if isinstance(teacher, nn.Module) else teacher
        self._last_loss: Tensor | None = None

    def attach(self, network: Network) -> None:
        """Give the network what it needs to be taught: for hard a second head, which is a copy of the first unless it
        has one, for features adapters from its maps to the teacher's, which are trained with it.

        Raises UsageError for a teacher with another number of classes or, for features, without such maps.
        """
        like = next(network.parameters())
        blank_1CHW = torch.zeros(1, network.in_chans, *_grid(network), device=like.device)
        self._teacher.require_classes(network.num_classes, blank_1CHW, self._task_kind.words.name)
        if self._task_kind.words.is_dense and self._kind != "soft":
            raise UsageError(f"Distillation {self._kind} is for classifiers: networks of masks or boxes learn soft.")
        if self._kind == "hard":
            if network.head_dist is None:
                network.head_dist = copy.deepcopy(network.head)
            network.set_distilled_training()
        if self._kind == "features":
            widths = zip(network.architecture.widths, self._teacher.map_widths(_strides(network)), strict=True)
            network.add_module(ADAPTERS, nn.ModuleList(_adapter(own, theirs) for own, theirs in widths).to(like))

    @staticmethod
    def detach(network: nn.Module) -> None:
        """Take the adapters away. Both heads stay: evaluation takes their mean, and a deploy form is one head."""
        if isinstance(network, Network):
            network.set_distilled_training(False)
        if hasattr(network, ADAPTERS):
            delattr(network, ADAPTERS)

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        images_BCHW, labels_B = batch
        num_labelled = int((labels_B.view(len(labels_B), -1)[:, 0] != UNLABELLED).sum())
        fading = max(0.0, 1 - progress / FADED_AT) if self._kind == "features" else 0.0
        student = _Student(model, images_BCHW[num_labelled:], has_maps=fading > 0)
        labelled = Batch(images_BCHW[:num_labelled], labels_B[:num_labelled])
        by_labels = self._task.loss(student, labelled, progress)
        by_teacher = self._teacher_loss(model, student, fading)
        self._last_loss = by_teacher.detach()
        return (1 - self._weight) * by_labels + self._weight * by_teacher

    def _teacher_loss(self, model: Any, student: "_Student", fading: float) -> Tensor:
        if not fading:
            return self._logits_loss(student.taught_BK, self._teacher.logits(student.images_BCHW))
        taught_BK, theirs = self._teacher.logits_and_maps(student.images_BCHW, _strides(model))
        adapters = getattr(model, ADAPTERS)
        losses = [
            map_loss(adapter(own), their) for adapter, own, their in zip(adapters, student.maps, theirs, strict=True)
        ]
        return self._logits_loss(student.taught_BK, taught_BK) + fading * torch.stack(losses).mean()

    def _logits_loss(self, logits_BK: Tensor, taught_BK: Tensor) -> Tensor:
        if taught_BK.ndim == 4:  # the teacher may see images of another size
            taught_BK = resized(taught_BK, (logits_BK.shape[2], logits_BK.shape[3]))
        if self._kind == "hard":
            return self._task_kind.loss(logits_BK, self._task_kind.decisions(taught_BK))
        return self._task_kind.divergence(logits_BK, taught_BK, self._temperature)

    def prepare(self, model: nn.Module, step: int) -> None:
        self._task.prepare(model, step)

    def lr_scales(self) -> dict[str, float]:
        return self._task.lr_scales()

    def logged(self) -> dict[str, float]:
        own = {} if self._last_loss is None else {"teacher_loss": self._last_loss.item()}
        return {**self._task.logged(), **own}


def map_loss(map_BCHW: Tensor, taught_BCHW: Tensor) -> Tensor:
    """Mean squared error as a share of the teacher's mean square: maps of all stages and networks count alike."""
    taught_BCHW = resized(taught_BCHW, (map_BCHW.shape[2], map_BCHW.shape[3]))
    return functional.mse_loss(map_BCHW, taught_BCHW) / taught_BCHW.square().mean().clamp(min=1e-12)


def _adapter(width: int, taught_width: int) -> nn.Conv2d:
    """From the student's channels to the teacher's; at first the identity of those that both have, which is where a
    student that was cut from its teacher starts."""
    adapter = nn.Conv2d(width, taught_width, 1)
    nn.init.dirac_(adapter.weight)
    nn.init.zeros_(adapter.bias)  # type: ignore[arg-type]
    return adapter


class _Student(nn.Module):
    """The network in one step: the task calls it with labelled images and gets their logits.

    Unlabelled images go through the network with them. `images_BCHW` are all of them, `taught_BK` the logits that
    learn from the teacher, `maps` those that leave the stages.
    """

    def __init__(self, model: nn.Module, unlabelled_BCHW: Tensor, *, has_maps: bool) -> None:
        super().__init__()
        self.images_BCHW = self.taught_BK = unlabelled_BCHW  # until it is called
        self.maps: list[Tensor] = []
        self._model, self._unlabelled_BCHW, self._has_maps = model, unlabelled_BCHW, has_maps

    def forward(self, images_BCHW: Tensor) -> Tensor:
        num_labelled = len(images_BCHW)
        if len(self._unlabelled_BCHW):
            images_BCHW = torch.cat([images_BCHW, self._unlabelled_BCHW])
        self.images_BCHW, model = images_BCHW, self._model
        if self._has_maps:
            assert isinstance(model, Network)
            last, maps = model.forward_intermediates(images_BCHW)
            assert isinstance(maps, list)
            outputs, self.maps = model.forward_head(last), maps
        else:
            outputs = model(images_BCHW)
        logits_BK, self.taught_BK = outputs if isinstance(outputs, tuple) else (outputs, outputs)
        return logits_BK[:num_labelled]


def _strides(network: Network) -> list[int]:
    return [entry["reduction"] for entry in network.feature_info]


def _grid(network: Network) -> Grid:
    return grid_of_input(network.resolution)
