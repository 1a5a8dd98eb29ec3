"""The supernet's training loss: weights and path logits together, at fixed or elastic widths."""

import random

from torch import Tensor, nn

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.space import Four, SearchSpace
from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import Mixing as BatchMixing
from efficientformer.search.supernet.mixing import ElasticWidth, Mixing, Noise, Sampling
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.kind import SearchedTask
from efficientformer.tasks.task import Task


class SupernetTask(Task):
    """The loss of a training step of the supernet (paper, section 4.2), with fixed or elastic widths.

    temperature: of the softmax at the start and at the end; geometric in between.
    noise, sampling: see `Mixing`.
    elastic_width: "none" trains the largest widths only, as the paper does. "random" uses random widths in every other
        step. "sandwich" (Yu and Huang, 2019) trains the largest, the smallest and random widths in every step, and the
        two narrower supernets learn from the outputs of the largest. The options of a dense head go with the widths.
    label_smoothing: of the loss.
    mix: the targets of a batch, without the smoothing of `label_smoothing`; None for the labels.
    recompute: see `Supernet.forward`.
    kind: what the labels are, and the loss.
    """

    def __init__(
        self,
        *,
        kind: SearchedTask,
        temperature: tuple[float, float],
        noise: Noise,
        sampling: Sampling,
        elastic_width: ElasticWidth,
        label_smoothing: float,
        mix: BatchMixing | None = None,
        alpha_lr_scale: float = 1.0,
        recompute: bool = False,
    ) -> None:
        self._first, self._last = temperature
        self._noise: Noise = noise
        self._sampling: Sampling = sampling
        self._elastic_width = elastic_width
        self._label_smoothing, self._mix = label_smoothing, mix
        self._alpha_lr_scale = alpha_lr_scale
        self._recompute, self._kind = recompute, kind
        self._temperature = self._first

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        assert isinstance(model, Supernet)
        self._temperature = self._first * (self._last / self._first) ** progress
        images_BCHW, targets = self._mix(*batch) if self._mix else (batch.images, self._kind.targets(batch.labels))
        mixing = Mixing(self._temperature, self._noise, self._sampling)
        widths, head = model.space.max_widths, None
        if self._elastic_width == "random" and random.random() < 0.5:
            widths, head = _random_widths(model.space), _random_head(model.space)
        logits_BK = model.forward_at(widths, images_BCHW, mixing, self._recompute, head)
        loss = self._kind.loss(logits_BK, targets, label_smoothing=self._label_smoothing)
        if self._elastic_width != "sandwich":
            return loss
        answers = self._kind.answers(logits_BK.detach())
        smallest = model.space.head and model.space.head.smallest()
        drawn = _random_widths(model.space), _random_head(model.space)
        for widths, head in ((model.space.min_widths, smallest), drawn):
            logits_BK = model.forward_at(widths, images_BCHW, mixing, self._recompute, head)
            loss = loss + self._kind.loss(logits_BK, answers)
        return loss / 3

    def lr_scales(self) -> dict[str, float]:
        return {"alpha": self._alpha_lr_scale}

    def logged(self) -> dict[str, float]:
        return {"temperature": self._temperature}


def _random_widths(space: SearchSpace) -> Four:
    first, second, third, fourth = (random.choice(space.widths(index)) for index in range(4))
    return first, second, third, fourth


def _random_head(space: SearchSpace) -> DenseHead | None:
    """A dense head of the space, for which classifiers spend no random number."""
    if space.head is None or not space.head.has_choice:
        return None
    return space.head.random(random.Random(random.getrandbits(64)))
