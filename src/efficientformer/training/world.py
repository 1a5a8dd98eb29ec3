"""Processes, started by `torchrun`, that train one network together: each computes its part of every batch.

Weights and logits are the same in all of them at every step, since the first one's are shared at the start and
gradients are averaged. Each process draws its own paths, widths and mixing, as if its part were a batch of its own.
Batch norm sees the part of its own process, as in the paper's recipe. Only the first process writes.
"""

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from efficientformer.errors import TrainingError, UsageError
from efficientformer.models.weights_file import content_digest


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
        """The images of a batch for this process.

        Raises UsageError unless all processes get the same number, and more than one: batch norm needs two.
        """
        if len(indices) % self.size:
            raise UsageError(
                f"A batch of {len(indices)} images cannot be divided evenly among {self.size} processes. Choose a "
                f"multiple of {self.size} as the batch size."
            )
        if self.size > 1 and len(indices) == self.size:
            raise UsageError(
                f"A batch of {len(indices)} images is one image for each of {self.size} processes, and batch norm "
                f"needs two. Choose a batch size of at least {2 * self.size}, or start fewer processes."
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
        """Average the gradients. Where a path was not sampled, its gradient is zero; if in no process, it has none."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if self.size == 1 or not parameters:
            return
        has_gradient = [parameter.grad is not None for parameter in parameters]
        counts = torch.tensor(has_gradient, dtype=torch.int32, device=parameters[0].device)
        dist.all_reduce(counts)
        trained = [parameter for parameter, count in zip(parameters, counts.tolist(), strict=True) if count]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.average(parameter.grad for parameter in trained if parameter.grad is not None)

    @torch.no_grad()
    def share_first(self, model: nn.Module) -> None:
        """Copy the weights and statistics of the first process into every other one."""
        tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.broadcast(flat, src=0)
        for tensor, theirs in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(theirs.view_as(tensor))

    def require_one_start(self, checkpoint: dict[str, Any] | None) -> None:
        """Raises TrainingError unless all processes continue from the same checkpoint, or all from none."""
        if self.size == 1:
            return
        own = None if checkpoint is None else (checkpoint["counters"]["step"], content_digest(checkpoint["model"]))
        first, *others = self.gather(own)
        for rank, other in enumerate(others, start=1):
            if other != first:
                raise TrainingError(
                    f"Process {rank} would continue from {_start_text(other)} and process 0 from {_start_text(first)}. "
                    "Every machine needs the same run directory: put it on storage that they share."
                )

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank, in every process; they wait for one another."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def broadcast_first(self, answer: bool) -> bool:
        """The first process' answer, in every process; they wait for it."""
        return self.gather(answer)[0]


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _start_text(start: tuple[int, str] | None) -> str:
    return "the beginning" if start is None else f"step {start[0]} (weights {start[1][:8]})"


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
        # Else its threads may still run while the interpreter ends, which then aborts, now and then.
        atexit.register(_leave)
    return World(
        rank=dist.get_rank(),
        size=size,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
