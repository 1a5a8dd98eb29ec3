"""Processes, started by `torchrun`, that train one network together: each computes its part of every batch.

Weights, logits and random choices are the same in all of them at every step, since gradients are averaged and the
generators have the same seeds. Batch norm sees the part of its own process, as in the paper's recipe. Only the first
process writes.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from efficientformer.errors import UsageError


@dataclass(frozen=True)
class World:
    """This process is number `rank` of `size`; number `local_rank` of `local_size` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, indices: list[int]) -> list[int]:
        """The images of a batch for this process. Raises UsageError unless all processes get the same number."""
        if len(indices) % self.size:
            raise UsageError(
                f"A batch of {len(indices)} images cannot be divided evenly among {self.size} processes. Choose a "
                f"multiple of {self.size} as the batch size."
            )
        return indices[self.rank :: self.size]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its mean over the processes, in which the shapes must be the same."""
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average_gradients(self, model: nn.Module) -> None:
        """Average the gradients. A parameter without one, such as of a path not sampled, has none in any process."""
        self.average(parameter.grad for parameter in model.parameters() if parameter.grad is not None)

    def broadcast_first(self, answer: bool) -> bool:
        """The first process' answer, in every process; they wait for it."""
        answers = [answer]
        if self.size > 1:
            dist.broadcast_object_list(answers, src=0)
        return answers[0]


def join_world() -> World:
    """The world that `torchrun` describes in the environment, or else this process alone.

    Raises UsageError when the environment describes only a part of a world.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if missing := [name for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE") if name not in os.environ]:
        raise UsageError(f"WORLD_SIZE is {size}, but {' and '.join(missing)} are not set. Start it with torchrun.")
    if not dist.is_initialized():
        local_rank = int(os.environ["LOCAL_RANK"])
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return World(
        rank=dist.get_rank(),
        size=size,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
