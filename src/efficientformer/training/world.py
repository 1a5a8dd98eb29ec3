"""Processes, started by `torchrun`, that train one network together: each computes its part of every batch.

Weights and logits are the same in all of them at every step: all start from the first one's, and PyTorch's
DistributedDataParallel averages the gradients. Each process draws its own paths, widths and mixing, as if its part were
a batch of its own, and batch norm sees that part; if batch norm is synchronized, all draw the same. Only the first
process writes, and all continue from its checkpoint: machines need no common storage for it.
"""

import atexit
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from efficientformer.errors import UsageError

PATIENCE = timedelta(days=7)
"""How long processes wait for one that has other work to do."""


@dataclass(frozen=True)
class World:
    """This process is number `rank` of `size`; number `local_rank` of `local_size` on its machine.

    group: the processes as PyTorch knows them; None for its default group.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    group: Any = None

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

    def shared(self, loss: nn.Module, *, uses_all: bool = False) -> nn.Module:
        """A module that computes a loss from this process' part of a batch, with gradients that are means over all
        processes. Weights and statistics become those of the first process.

        uses_all: whether every loss depends on every parameter. If not, a parameter without a gradient in some
            processes has a zero there, such as one of a path that was not sampled.
        """
        if self.size == 1:
            return loss
        shared = DistributedDataParallel(loss, find_unused_parameters=not uses_all)
        shared.broadcast_buffers = False  # from the first step on; at the start statistics are shared as well
        return shared

    def patient(self) -> "World":
        """The same processes, who wait for one another for days: one may measure or train meanwhile."""
        return self if self.size == 1 else replace(self, group=dist.new_group(backend="gloo", timeout=PATIENCE))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values over the processes; they wait for one another."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def of_first(self, value: Any) -> Any:
        """The first process' value, in every process; they wait for it."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, group=self.group)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank, in every process; they wait for one another."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value, group=self.group)
        return values


def not_yet_averaged(shared: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """For a batch of a step of several: only after the last one are gradients averaged over the processes."""
    return shared.no_sync() if isinstance(shared, DistributedDataParallel) and not is_last else nullcontext()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


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
        store, rank, size = next(dist.rendezvous("env://"))
        # Processes that torchrun starts again meet at the same store, which has the addresses of those that ended.
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        # Else its threads may still run while the interpreter ends, which then aborts, now and then.
        atexit.register(_leave)
    return World(
        rank=dist.get_rank(),
        size=size,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
