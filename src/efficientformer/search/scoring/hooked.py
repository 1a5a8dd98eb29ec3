"""A network in evaluation mode while hooks see what it computes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(network: nn.Module, hooks: Sequence[RemovableHandle]) -> Iterator[None]:
    """Evaluation mode within; after it the hooks are gone, and the network is in the mode that it was in."""
    was_training = network.training
    try:
        network.eval()
        yield
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
