"""The change of the weights by one loss, which is not taken where it would damage them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from efficientformer.training.finite import (
    KeptStatistics,
    require_finite_gradients,
    require_finite_loss,
    skipped_text,
)
from efficientformer.training.recipe import Recipe
from efficientformer.training.state import TrainingState
from efficientformer.training.world import World


class Update:
    """Changes a state by losses. Call `prepare` before the forward pass, and then `take` with its loss.

    warn: called with a sentence on the first step that is not taken.
    """

    def __init__(self, state: TrainingState, recipe: Recipe, world: World, warn: Callable[[str], None]) -> None:
        self._state, self._recipe, self._world, self._warn = state, recipe, world, warn
        self._statistics = KeptStatistics(state.model)

    def prepare(self) -> None:
        self._statistics.keep()

    def take(self, loss: Tensor, lr: float) -> float:
        """Take the step of a loss, and return its mean over the processes.

        A step whose gradient or statistics are not finite is not taken: weights, statistics, optimizer and average stay
        as they were. Raises TrainingError for a loss that is not finite, and after ten such steps in a row.
        """
        state = self._state
        own_loss = loss.detach().float()
        mean_loss, statistics_norm = self._world.mean(torch.stack([own_loss, self._statistics.norm(own_loss)]))
        loss_value = mean_loss.item()
        require_finite_loss(loss_value, state.step, lr, self._recipe)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient_norm = nn.utils.clip_grad_norm_(state.model.parameters(), self._recipe.clip_norm)
        if bool(gradient_norm.isfinite() & statistics_norm.isfinite()):
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update(state.model, step=state.step)
            state.skipped_in_row = 0
        else:
            self._skip(lr)
        state.step += 1
        state.loss_sum += loss_value
        state.loss_count += 1
        return loss_value

    def _skip(self, lr: float) -> None:
        state = self._state
        self._statistics.undo()
        if not state.skipped_steps:
            self._warn(skipped_text(state.step))
        state.skipped_steps += 1
        state.skipped_in_row += 1
        require_finite_gradients(state.skipped_in_row, state.step, lr, self._recipe)
