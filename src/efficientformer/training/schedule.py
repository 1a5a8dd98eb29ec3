"""Learning rate as a pure function of progress, so that a resumed run needs no scheduler state."""

import math


def cosine_lr(step: int, num_steps: int, *, peak_lr: float, warmup_steps: int, final_share: float = 0.01) -> float:
    """Linear warm-up to `peak_lr`, then a half cosine down to `final_share` of it."""
    if step < warmup_steps:
        return peak_lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak_lr * (final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress)))
