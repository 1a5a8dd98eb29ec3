"""The best epoch of a training: its weights are kept, and epochs without a better one end the training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from efficientformer.training.world import World


@dataclass
class BestEpoch:
    """The best of the epochs that were judged so far. Of equal scores the first is the best.

    judge: the score of a network, higher is better; called in the first process alone.
    name: of the score in the training log.
    patience: this many epochs without a better score end the training; 0 for none.
    keeps_weights: whether the weights of the best epoch are those of the result, instead of the last epoch's.
    """

    judge: Callable[[nn.Module], float]
    name: str
    patience: int = 0
    keeps_weights: bool = True
    epoch: int = 0
    score: float = -math.inf
    last_epoch: int = 0
    _weights: dict[str, Tensor] | None = None

    @property
    def is_over(self) -> bool:
        """Whether patience ends the training after the last epoch that was judged."""
        return 0 < self.patience <= self.last_epoch - self.epoch

    def see(self, epoch: int, network: nn.Module, world: World) -> dict[str, float]:
        """Judge the network of an epoch; returns the score for the log. All processes call it, and wait for it."""
        score = world.of_first(self.judge(network) if world.is_first else None)
        self.last_epoch = epoch
        if score > self.score:
            self.epoch, self.score = epoch, score
            if self.keeps_weights:
                self._weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return {self.name: score}

    def give_back(self, network: nn.Module) -> None:
        """Load the weights of the best epoch."""
        if self._weights is not None:
            network.load_state_dict(self._weights)

    def to_checkpoint(self) -> dict[str, Any]:
        counters = {"epoch": self.epoch, "score": self.score, "last_epoch": self.last_epoch}
        return {"counters": counters, "weights": self._weights}

    def restore(self, saved: Mapping[str, Any]) -> None:
        counters = saved["counters"]
        self.epoch, self.score = int(counters["epoch"]), float(counters["score"])
        self.last_epoch, self._weights = int(counters["last_epoch"]), saved["weights"]
