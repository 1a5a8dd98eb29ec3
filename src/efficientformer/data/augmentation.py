"""How strongly training images are augmented, for `train_transform`. Without torch, since settings need it."""

from typing import Literal

Augmentation = Literal["light", "standard", "strong"]
