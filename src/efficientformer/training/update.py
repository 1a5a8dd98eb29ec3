"""The change of the weights by the losses of a step, which is not taken where it would damage them."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from efficientformer.training.clipping import clip_gradients
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
    """Changes a state by losses. Call `prepare` before the first forward pass of a step, `add` with the loss of each of
    its batches, and then `take`.

    scaled: see `clip_gradients`.
    warn: called with a sentence on the first step that is not taken.
    """

    def __init__(
        self,
        state: TrainingState,
        recipe: Recipe,
        world: World,
        warn: Callable[[str], None],
        scaled: Collection[str] = (),
    ) -> None:
        self._state, self._recipe, self._world, self._warn, self._scaled = state, recipe, world, warn, scaled
        self._statistics = KeptStatistics(state.model)
        self._losses: list[Tensor] = []

    def prepare(self) -> None:
        self._statistics.keep()
        self._losses.clear()
        self._state.optimizer.zero_grad(set_to_none=True)

    def add(self, loss: Tensor) -> None:
        """Add the gradient of one batch of the step."""
        self._losses.append(loss.detach().clone())
        (loss / self._recipe.accumulate).backward()

    def take(self, lr: float) -> float:
        """Take the step, and return its mean loss over batches and processes.

        A step whose gradient or statistics are not finite is not taken: weights, statistics, optimizer and average stay
        as they were. Raises TrainingError for a loss that is not finite, and after ten such steps in a row.
        """
        state = self._state
        own_loss = torch.stack(self._losses).float().mean()
        mean_loss, statistics_norm = self._world.mean(torch.stack([own_loss, self._statistics.norm(own_loss)]))
        gradient_norm = clip_gradients(state.model, self._recipe, self._scaled)
        is_finite = (gradient_norm.isfinite() & statistics_norm.isfinite()).to(mean_loss)
        # The only time that a step waits for the device.
        loss_value, is_sound = torch.stack([mean_loss, is_finite]).tolist()
        require_finite_loss(loss_value, state.step, lr, self._recipe)
        if is_sound:
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
