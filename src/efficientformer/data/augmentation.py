"""How strongly training images are changed; `data.transforms` does it. Without torch, since settings read it."""

from typing import Literal

Augmentation = Literal["light", "standard", "strong"]
