"""What a training is made of at a step, and how it begins: anew or from a checkpoint."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn, optim

from efficientformer.errors import TrainingError
from efficientformer.models.weights_file import reason_in_one_line
from efficientformer.tasks.task import Task
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.optimizer import build_optimizer
from efficientformer.training.recipe import Recipe
from efficientformer.training.world import World

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

_COUNTERS = ("step", "loss_sum", "loss_count", "skipped_steps", "skipped_in_row")


@dataclass
class TrainingState:
    """The content of a checkpoint.

    loss_sum, loss_count: of the steps that the log does not have yet.
    skipped_steps, skipped_in_row: steps that were not taken since their gradient was not finite; those since the last
        step that was.
    """

    model: nn.Module
    optimizer: optim.Optimizer
    ema: "ModelEmaV3 | None"
    best: BestEpoch | None = None
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped_steps: int = 0
    skipped_in_row: int = 0

    @property
    def averaged(self) -> nn.Module:
        """The network to use: the moving average where the recipe keeps one."""
        return self.model if self.ema is None else self.ema.module

    @property
    def networks(self) -> list[nn.Module]:
        return [self.model] if self.ema is None else [self.model, self.ema.module]

    def is_over(self, recipe: Recipe) -> bool:
        return self.step >= recipe.num_steps or (self.best is not None and self.best.is_over)

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def to_checkpoint(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            **({} if self.best is None else {"best": self.best.to_checkpoint()}),
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if self.ema is not None:
            self.ema.module.load_state_dict(checkpoint["ema"])
        if self.best is not None:
            self.best.restore(checkpoint["best"])
        counters = checkpoint["counters"]
        for name in _COUNTERS:
            if name in counters:  # earlier versions had fewer
                setattr(self, name, type(getattr(self, name))(counters[name]))


def begin(
    model: nn.Module, task: Task, recipe: Recipe, checkpoint: CheckpointFile, best: BestEpoch | None, world: World
) -> TrainingState:
    """The state that a training continues from: that of the first process' checkpoint, or step 0.

    Raises TrainingError for a checkpoint of another training.
    """
    # Channels last: 1.5 times as fast on CPUs, and maps become tokens without a copy.
    model.to(memory_format=torch.channels_last)
    saved = world.of_first(checkpoint.load() if world.is_first else None)
    optimizer = build_optimizer(
        model,
        lr=recipe.peak_lr,
        weight_decay=recipe.weight_decay,
        layer_decay=recipe.layer_decay,
        lr_scales=task.lr_scales(),
    )
    ema = _moving_average(model, recipe.ema_decay) if recipe.ema_decay else None
    state = TrainingState(model, optimizer, ema, best)
    if saved is not None:
        try:
            state.restore(saved)
        except Exception as error:  # whatever the parts of PyTorch raise for another content
            reason = reason_in_one_line(error)
            raise TrainingError(
                f"{checkpoint.path} does not fit this training ({reason}). Delete it to start over."
            ) from error
    return state


def _moving_average(model: nn.Module, decay: float) -> "ModelEmaV3":
    from timm.utils import ModelEmaV3  # seconds to import

    return ModelEmaV3(model, decay=decay, use_warmup=True)
