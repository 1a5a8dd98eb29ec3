"""The forward pass of a network, compiled for its training where a training asks for it.

A module that torch.compile returns has other names of weights. So for the time of a step the network's forward pass is
the compiled one, and checkpoints, averages and files are those of a training without.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from efficientformer.errors import TrainingError, UsageError

Forward = Callable[..., Any]


def require_compiler() -> None:
    """Raises UsageError where nothing can be compiled."""
    # As PyTorch looks for it; asking PyTorch takes seconds.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise UsageError(
            f"train.compile needs a C++ compiler, and there is no {compiler} here: install it, name another in the "
            "environment variable CXX, or leave the setting out."
        )


def compiled_forward(model: nn.Module) -> Forward:
    """The forward pass of a model, compiled at its first call, which takes up to minutes, for inputs of one size.

    It draws the random numbers of the pass as it stands, so both train alike but for rounding. Calling it raises
    TrainingError where it cannot be compiled. Raises UsageError as `require_compiler` does.
    """
    require_compiler()
    forward = torch.compile(model.forward, dynamic=False, options={"fallback_random": True})

    def call(*inputs: Any) -> Any:
        try:
            return forward(*inputs)
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException  # seconds to import

            if not isinstance(error, TorchDynamoException):
                raise
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(f"The network cannot be compiled ({reason}). Leave out train.compile.") from error

    return call


@contextmanager
def with_forward(model: nn.Module, forward: Forward | None) -> Iterator[None]:
    """`model` has this forward pass until the end; its own where there is None."""
    if forward is None:
        yield
        return
    model.forward = forward
    try:
        yield
    finally:
        del model.forward
