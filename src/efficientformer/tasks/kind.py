"""A task as a value: what the labels of an image are, what a network loses by them, and how it is scored."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, Unpack

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions
from efficientformer.data.loading.loader import Batch, View
from efficientformer.data.mixing import Mixing
from efficientformer.data.transforms import Preprocessing
from efficientformer.tasks.task import Task
from efficientformer.tasks.words import TaskWords

Batches = Iterable[Batch]
Reduction = Literal["mean", "sum"]
LOGITS = "logits"
"""The output of an exported file that computes what the network does."""


class Scores(Protocol):
    """Scores of a network on images, as attributes by their names in records; percentages."""

    @property
    def primary(self) -> float:
        """The score that networks are compared by."""
        ...

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        """The content of `evaluation.json` without provenance."""
        ...


class Count(Protocol):
    """The primary score of a network over batches that are added one by one."""

    def add(self, logits_BK: Tensor, labels: Tensor) -> None: ...

    def best(self, num_left: int) -> float:
        """The score, in percent, if `num_left` further images are answered as well as can be, or more than that."""
        ...


class TaskKind(Protocol):
    """All that the task of a run decides. Everything else asks it.

    Labels are what the loader gives. Targets are what logits are compared with: `targets` of labels, those that a
    `Mixing` makes of a batch, and the `answers` or `decisions` of another network.
    """

    @property
    def words(self) -> TaskWords: ...

    @property
    def eval_batch_size(self) -> int:
        """Images that are scored at a time."""
        ...

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        """The images at a path with their labels. Raises DataError for what cannot be used as such a set."""
        ...

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> View:
        """Images and labels to train with, drawn anew for every epoch."""
        ...

    def score_view(self, preprocessing: Preprocessing) -> View:
        """Images and labels of an evaluation, labels that lie in images at the size of these. Draws nothing."""
        ...

    def task(self, mixing: Mixing) -> Task:
        """The loss of a network's training, against the targets that `mixing` makes."""
        ...

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Mixing:
        """Targets of a batch of these training images. is_weighted: by the inverse frequency of classes."""
        ...

    def comparable(self, network: nn.Module) -> nn.Module:
        """What two forms of a network are compared by: the network itself, unless it chooses between outputs that
        rounding can exchange."""
        ...

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        """What an exported file computes for an input of `grid`, and the name of its output: the network itself, or the
        network and what makes its outputs useful."""
        ...

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> Scores:
        """Scores of a model, put into evaluation mode, on every batch. on_batch: called with its number of images.

        Raises TrainingError for logits that are not finite.
        """
        ...


class SearchedTask(TaskKind, Protocol):
    """A task that networks are slimmed for, or learn from a teacher for."""

    def eval_view(self, preprocessing: Preprocessing) -> View:
        """Images and labels that score a search, at the size of the network's input. Draws nothing."""
        ...

    def supernet_mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> tuple[Mixing | None, float]:
        """The same for steps of a supernet of MetaPaths, None for the labels as they are; and the smoothing that is
        left to the loss."""
        ...

    def targets(self, labels: Tensor) -> Tensor:
        """Labels as targets, without smoothing."""
        ...

    def answers(self, logits_BK: Tensor) -> Tensor:
        """What a network answers, as targets of another: its probabilities."""
        ...

    def decisions(self, logits_BK: Tensor) -> Tensor:
        """What a network decides for, as targets of another."""
        ...

    def loss(
        self, logits_BK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """The loss of a batch over its images. label_smoothing: what `supernet_mixing` left."""
        ...

    def divergence(self, logits_BK: Tensor, taught_BK: Tensor, temperature: float) -> Tensor:
        """Mean Kullback-Leibler divergence of the answers from a teacher's, both at a temperature, times its square."""
        ...

    def losses_at(self, factors: Tensor, logits_BK: Tensor, labels: Tensor) -> Tensor:
        """Losses (factors, B) of every image where logits are multiplied by each of the factors."""
        ...

    def count(self) -> Count: ...
