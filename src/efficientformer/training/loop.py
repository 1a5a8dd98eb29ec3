"""The training loop of networks and supernets, for every task.

Every step is a pure function of (weights, seed, step): batches come from a stateless stream and the random generators
are seeded per step, so a run that was killed and resumed ends with the same bits as one that was not.
"""

import random
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch
from efficientformer.errors import TerminatedError
from efficientformer.tasks.task import Task
from efficientformer.training.batch_norm import synchronized
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.compiled import compiled_forward, with_forward
from efficientformer.training.finite import all_skipped_text, require_finite_weights
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe
from efficientformer.training.state import TrainingState, begin
from efficientformer.training.termination import terminated_text
from efficientformer.training.update import Update
from efficientformer.training.world import World, not_yet_averaged

Batches = Iterator[Batch]

_INITIAL_WEIGHTS = 2**32 - 1
"""Pseudo-step whose seed initializes the weights."""


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
    is_terminated: Callable[[], bool] = lambda: False,
) -> nn.Module:
    """Train `model` in place and return the network to use: its moving average where the recipe keeps one.

    batches_from: `batches_from(step)` is the endless stream of batches from that step on, of which a step takes
        `recipe.accumulate`.
    checkpoint: training continues from it, if there is one of this run.
    on_step: called as `on_step(steps done, loss)`.
    on_epoch: called as `on_epoch(epoch, network)`; may return scores for the log.
    best: judges every epoch. It may end the training early, on the schedule of all epochs, and may load the weights of
        the best epoch into the network that is returned.
    warn: called with a sentence on the first step that is not taken, and at the end on their number.
    world: of several processes each gets its own part of a batch, and the first one writes.
    is_terminated: asked after every step whether to write a checkpoint and raise TerminatedError.

    A step whose gradient is not finite is not taken: weights, optimizer and average stay as they are. Raises
    TrainingError when the loss is not finite, after ten such steps in a row, and for weights that are not finite; the
    last checkpoint is kept.
    """
    state = begin(model, task, recipe, checkpoint, best, world)
    update = Update(state, recipe, world, warn, task.lr_scales())
    shared_loss = world.shared(_Loss(model, task), uses_all=task.uses_all_parameters)
    forward = compiled_forward(model) if recipe.is_compiled else None
    device = next(model.parameters()).device
    is_synchronized = recipe.sync_batch_norm and world.size > 1
    if world.is_first:
        log.rewind(state.step)

    batches = batches_from(state.step)
    while not state.is_over(recipe):
        _seed_step(recipe.seed, state.step, 0 if is_synchronized else world.rank)
        lr = recipe.lr(state.step)
        state.set_lr(lr)

        task.prepare(model, state.step)
        model.train()
        update.prepare()
        with synchronized(is_synchronized), with_forward(model, forward):
            for number, batch in enumerate(islice(batches, recipe.accumulate), start=1):
                with not_yet_averaged(shared_loss, is_last=number == recipe.accumulate):
                    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                        loss = shared_loss(batch.to(device), state.step / recipe.num_steps)
                    update.add(loss)
        loss_value = update.take(lr)

        is_last = state.step == recipe.num_steps
        is_epoch = is_last or state.step % recipe.steps_per_epoch == 0
        if is_last or state.step % max(1, recipe.steps_per_epoch // 5) == 0:
            _log_losses(state, task, recipe, lr, log if world.is_first else None)
        if on_step is not None:
            on_step(state.step, loss_value)
        is_ending = is_terminated()
        is_saved = is_last or (world.is_first and (is_ending or checkpoint.is_due()))
        if is_saved:
            require_finite_weights(state.networks, state.step, lr, recipe)
        if is_epoch:
            epoch = state.step / recipe.steps_per_epoch
            scores = {} if best is None else best.see(round(epoch), state.averaged, world)
            if world.is_first and on_epoch is not None:
                scores |= on_epoch(round(epoch), state.averaged)
            if world.is_first and scores:
                log.write(step=state.step, epoch=round(epoch, 4), **scores)
        if world.is_first and is_saved:
            checkpoint.save(state.to_checkpoint())
        if is_ending and not is_last:
            raise TerminatedError(terminated_text(state.step, recipe.num_steps))
    if best is not None:
        best.give_back(state.averaged)
    if state.skipped_steps > 1:
        warn(all_skipped_text(state.skipped_steps, recipe.num_steps))
    return state.averaged


class _Loss(nn.Module):
    """The loss of a task as a module: what processes that train together wrap."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, batch: Batch, progress: float) -> Tensor:
        return self._task.loss(self.model, batch, progress)


def _log_losses(state: TrainingState, task: Task, recipe: Recipe, lr: float, log: MetricsLog | None) -> None:
    """Write the mean loss since the last call, where this process has the log."""
    if log is not None:
        epoch, loss = round(state.step / recipe.steps_per_epoch, 4), state.loss_sum / state.loss_count
        skipped = {"skipped_steps": state.skipped_steps} if state.skipped_steps else {}
        log.write(step=state.step, epoch=epoch, loss=loss, lr=lr, **task.logged(), **skipped)
    state.loss_sum, state.loss_count = 0.0, 0


def seed_initial_weights(seed: int) -> None:
    """Seed every generator that initial weights are drawn from."""
    _seed_step(seed, _INITIAL_WEIGHTS)


def _seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed every generator that a step may draw from: paths, widths, dropped branches and mixing differ by process."""
    mixed = int(np.random.SeedSequence((seed, step, rank) if rank else (seed, step)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)
