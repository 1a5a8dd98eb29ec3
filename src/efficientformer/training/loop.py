"""The training loop of networks and supernets, for every task.

Every step is a pure function of (weights, seed, step): batches come from a stateless stream and the random generators
are seeded per step, so a run that was killed and resumed ends with the same bits as one that was not.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn, optim

from efficientformer.data.loader import Batch
from efficientformer.errors import TrainingError
from efficientformer.models.weights_file import reason_in_one_line
from efficientformer.tasks.task import Task
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.finite import (
    KeptStatistics,
    all_skipped_text,
    require_finite_gradients,
    require_finite_loss,
    require_finite_weights,
    skipped_text,
)
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.optimizer import build_optimizer
from efficientformer.training.recipe import Recipe
from efficientformer.training.world import World

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

Batches = Iterator[Batch]

_INITIAL_WEIGHTS = 2**32 - 1
"""Pseudo-step whose seed initializes the weights."""


_COUNTERS = ("step", "loss_sum", "loss_count", "skipped_steps", "skipped_in_row")


@dataclass
class TrainingState:
    """The content of a checkpoint.

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
    def networks(self) -> list[nn.Module]:
        return [self.model] if self.ema is None else [self.model, self.ema.module]

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


def fit(
    model: nn.Module,
    task: Task,
    batches_from: Callable[[int], Batches],
    recipe: Recipe,
    *,
    checkpoint: CheckpointFile,
    log: MetricsLog,
    on_step: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[int, nn.Module], dict[str, float]] | None = None,
    best: BestEpoch | None = None,
    warn: Callable[[str], None] = lambda _: None,
    world: World = World(),
) -> nn.Module:
    """Train `model` in place and return the network to use: its moving average where the recipe keeps one.

    batches_from: `batches_from(step)` is the endless stream of batches from that step on.
    checkpoint: training continues from it, if there is one of this run.
    on_step: called as `on_step(steps done, loss)`.
    on_epoch: called as `on_epoch(epoch, network)`; may return scores for the log.
    best: judges every epoch. It may end the training early, on the schedule of all epochs, and may load the weights of
        the best epoch into the network that is returned.
    warn: called with a sentence on the first step that is not taken, and at the end on their number.
    world: of several processes each gets its own part of a batch, and the first one writes.

    A step whose gradient is not finite is not taken: weights, optimizer and average stay as they are. Raises
    TrainingError when the loss is not finite, after ten such steps in a row, and for weights that are not finite; the
    last checkpoint is kept. Raises it too if the processes do not continue from the same checkpoint.
    """
    # Channels last: 1.5 times as fast on CPUs, and maps become tokens without a copy.
    model.to(memory_format=torch.channels_last)
    device = next(model.parameters()).device
    saved = checkpoint.load()
    world.require_one_start(saved)
    if saved is None:
        world.share_first(model)
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
    statistics = KeptStatistics(model)
    if world.is_first:
        log.rewind(state.step)
    averaged = model if ema is None else ema.module
    log_every = max(1, recipe.steps_per_epoch // 5)

    batches = batches_from(state.step)
    while state.step < recipe.num_steps and not (best is not None and best.is_over):
        batch = next(batches).to(device)
        _seed_step(recipe.seed, state.step, world.rank)
        lr = recipe.lr(state.step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]

        task.prepare(model, state.step)
        model.train()
        statistics.keep()
        progress = state.step / recipe.num_steps
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            loss = task.loss(model, batch, progress)
        mean_loss = loss.detach().clone()
        statistics_norm = statistics.norm(mean_loss)
        world.average([mean_loss, statistics_norm])
        loss_value = mean_loss.item()
        require_finite_loss(loss_value, state.step, lr, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        world.average_gradients(model)
        gradient_norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        if bool(gradient_norm.isfinite() & statistics_norm.isfinite()):
            optimizer.step()
            if ema is not None:
                ema.update(model, step=state.step)
            state.skipped_in_row = 0
        else:
            statistics.undo()
            if not state.skipped_steps:
                warn(skipped_text(state.step))
            state.skipped_steps += 1
            state.skipped_in_row += 1
            require_finite_gradients(state.skipped_in_row, state.step, lr, recipe)

        state.step += 1
        state.loss_sum += loss_value
        state.loss_count += 1
        epoch = state.step / recipe.steps_per_epoch
        is_last = state.step == recipe.num_steps
        if is_last or state.step % log_every == 0:
            if world.is_first:
                recent_loss = state.loss_sum / state.loss_count
                skipped = {"skipped_steps": state.skipped_steps} if state.skipped_steps else {}
                log.write(step=state.step, epoch=round(epoch, 4), loss=recent_loss, lr=lr, **task.logged(), **skipped)
            state.loss_sum, state.loss_count = 0.0, 0
        if on_step is not None:
            on_step(state.step, loss_value)
        is_saved = is_last or (world.is_first and checkpoint.is_due())
        if is_saved:
            require_finite_weights(state.networks, state.step, lr, recipe)
        if is_last or state.step % recipe.steps_per_epoch == 0:
            scores = {} if best is None else best.see(round(epoch), averaged, world)
            if world.is_first and on_epoch is not None:
                scores |= on_epoch(round(epoch), averaged)
            if world.is_first and scores:
                log.write(step=state.step, epoch=round(epoch, 4), **scores)
        if world.is_first and is_saved:
            checkpoint.save(state.to_checkpoint())
    if best is not None:
        best.give_back(averaged)
    if state.skipped_steps > 1:
        warn(all_skipped_text(state.skipped_steps, recipe.num_steps))
    return averaged


def _moving_average(model: nn.Module, decay: float) -> "ModelEmaV3":
    from timm.utils import ModelEmaV3  # seconds to import

    return ModelEmaV3(model, decay=decay, use_warmup=True)


def seed_initial_weights(seed: int) -> None:
    """Seed every generator that initial weights are drawn from."""
    _seed_step(seed, _INITIAL_WEIGHTS)


def _seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed every generator that a step may draw from: paths, widths, dropped branches and mixing differ by process."""
    mixed = int(np.random.SeedSequence((seed, step, rank) if rank else (seed, step)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)
