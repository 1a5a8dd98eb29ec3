"""How training images are drawn and augmented. Without torch, since settings need it."""

from typing import Literal

Augmentation = Literal["light", "standard", "strong"]
"""See `train_transform`."""
Balance = Literal["none", "weights", "sampling"]
"""See `class_weights` and `train_batches`."""
