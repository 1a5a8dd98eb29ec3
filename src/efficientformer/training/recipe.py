"""How to train, as plain values. Without torch, since settings need it."""

from dataclasses import dataclass
from typing import Literal

from efficientformer.training.schedule import Schedule, scheduled_lr

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Recipe:
    """The paper's AdamW and its schedules (section 5), sized by the caller.

    peak_lr, schedule, first_lr, final_lr, lr_warmup_steps: see `scheduled_lr`.
    accumulate: batches of a step, whose gradients are averaged.
    lr_hold_steps: first steps at the peak learning rate; warm-up and decay begin after them.
    clip_norm, agc: largest norm of the gradient; or, in its place, that of a unit's as a share of its weights'. See
        `clip_gradients`.
    ema_decay: of the moving average of the weights; 0 for none.
    layer_decay: see `build_optimizer`.
    sync_batch_norm: whether batch norm sees the batches of all processes, which then draw the same paths, widths, masks
        and mixing.
    precision: of products in the forward and backward passes; weights, norms and losses are in single precision.
    is_compiled: whether torch.compile makes the forward pass of the network and the backward pass.
    """

    num_steps: int
    steps_per_epoch: int
    peak_lr: float
    seed: int
    accumulate: int = 1
    schedule: Schedule = "cosine"
    first_lr: float | None = None
    final_lr: float | None = None
    weight_decay: float = 0.025
    lr_hold_steps: int = 0
    lr_warmup_steps: int = 0
    clip_norm: float = 1.0
    agc: float = 0.0
    ema_decay: float = 0.0
    layer_decay: float = 1.0
    precision: Precision = "fp32"
    sync_batch_norm: bool = False
    is_compiled: bool = False

    def lr(self, step: int) -> float:
        if step < self.lr_hold_steps:
            return self.peak_lr
        return scheduled_lr(
            step - self.lr_hold_steps,
            self.num_steps - self.lr_hold_steps,
            peak_lr=self.peak_lr,
            warmup_steps=self.lr_warmup_steps,
            schedule=self.schedule,
            first_lr=self.first_lr,
            final_lr=self.final_lr,
        )
