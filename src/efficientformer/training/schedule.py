"""Learning rate as a pure function of progress, so that a resumed run needs no scheduler state. Without torch."""

import math
from typing import Literal

Schedule = Literal["cosine", "steps", "poly"]
"""See `scheduled_lr`."""
POWER = 0.9
"""Of the polynomial, as semantic segmentation has it (paper, section 5.3)."""
FINAL_SHARES = {"cosine": 0.01, "poly": 0.0}
"""Last learning rate as a share of the peak, where none is given."""


def scheduled_lr(
    step: int,
    num_steps: int,
    *,
    peak_lr: float,
    warmup_steps: int,
    schedule: Schedule = "cosine",
    first_lr: float | None = None,
    final_lr: float | None = None,
) -> float:
    """The learning rate of a step, counted from 0.

    It rises in a line to `peak_lr`, which step `warmup_steps` has. "cosine": half a cosine down to `final_lr`. "poly":
    a polynomial of power 0.9 down to it. "steps": a tenth of the peak from two thirds of all steps on, a hundredth from
    eleven twelfths on; of 12 epochs that is after 8 and 11.

    first_lr: of step 0; by default the rise starts at 0, one step earlier.
    final_lr: that step `num_steps` would have; by default a hundredth of the peak, and with "poly" 0. "steps" has none.
    """
    if step < warmup_steps:
        if first_lr is None:
            return peak_lr * (step + 1) / warmup_steps
        return first_lr + (peak_lr - first_lr) * step / warmup_steps
    if schedule == "steps":
        # In integers: the boundaries are exact.
        return peak_lr * (0.01 if 12 * step >= 11 * num_steps else 0.1 if 3 * step >= 2 * num_steps else 1.0)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    left = (1 - progress) ** POWER if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * progress))
    final_share = FINAL_SHARES[schedule] if final_lr is None else final_lr / peak_lr
    return peak_lr * (final_share + (1 - final_share) * left)
