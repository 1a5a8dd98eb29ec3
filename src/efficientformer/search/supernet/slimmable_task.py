"""The training loss of a slimmable network: the sandwich with in-place distillation (V2, section on joint search)."""

import random

from torch import Tensor, nn

from efficientformer.arch.space import SearchSpace
from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import Mixing
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.tasks.kind import SearchedTask
from efficientformer.tasks.task import Task


class SlimmableTask(Task):
    """The loss of a training step: the mean of that of the largest network, the smallest and random ones.

    The first learns from the labels, the others from its outputs (Yu and Huang, 2019). Random networks have random
    widths, places, kinds and expansions: that is the paper's elastic depth, too. The mean instead of the paper's sum of
    gradients makes no difference to AdamW, and leaves the limit of the gradient's norm what it is for a network.

    mix: the targets of a batch, and mixup and cutmix; once for all networks of a step.
    networks: how many a step trains; four in the paper. Two are the largest and a random one, one is a random one.
    recompute: see `SlimmableNetwork.forward_at`.
    kind: what the labels are, and the loss.
    """

    def __init__(self, mix: Mixing, *, kind: SearchedTask, networks: int = 4, recompute: bool = False) -> None:
        self._mix, self._networks, self._recompute, self._kind = mix, networks, recompute, kind

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        assert isinstance(model, SlimmableNetwork)
        images_BCHW, targets = self._mix(*batch)
        first, *others = self._drawn(model.space)
        logits_BK = model.forward_at(first, images_BCHW, self._recompute)
        loss = self._kind.loss(logits_BK, targets)
        answers = self._kind.answers(logits_BK.detach())
        for subnet in others:
            logits_BK = model.forward_at(subnet, images_BCHW, self._recompute)
            loss = loss + self._kind.loss(logits_BK, answers)
        return loss / (1 + len(others))

    def _drawn(self, space: SearchSpace) -> list[Subnet]:
        """The networks of a step, the teacher first."""
        rng = random.Random(random.getrandbits(64))  # seeded by the loop, step by step
        ends = [Subnet.largest(space), Subnet.smallest(space)][: self._networks - 1]
        return [*ends, *(Subnet.random(space, rng) for _ in range(self._networks - len(ends)))]
