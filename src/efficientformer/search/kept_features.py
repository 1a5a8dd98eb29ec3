"""What left the first stages of subnets judged before: subnets that begin alike need not compute it again."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from efficientformer.arch.parts import stage_grids
from efficientformer.arch.spec import NUM_STAGES
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet import Supernet

MAX_BYTES = 2**30
SUBNETS = 4
"""Subnets whose features fit at least; where fewer would, as with many large images, none are kept."""


@dataclass(frozen=True)
class Features:
    """Batches of the images that batch norm is estimated from, and of those that judge, somewhere in a network."""

    estimating: list[Tensor]
    judging: list[Tensor]

    @property
    def num_images(self) -> int:
        return sum(map(len, (*self.estimating, *self.judging)))

    @property
    def num_bytes(self) -> int:
        return sum(batch.nbytes for batch in (*self.estimating, *self.judging))


class KeptFeatures:
    """Features by the beginning of the subnet that they belong to; those asked for longest ago give way to new ones.

    `boundaries` are the numbers of first stages behind which features are kept: where they are small enough.
    """

    def __init__(self, supernet: Supernet, num_images: int, max_bytes: int = MAX_BYTES) -> None:
        grids = stage_grids(supernet.space.stem_strides, supernet.resolution)
        sizes = [4 * w * h * width * num_images for (h, w), width in zip(grids, supernet.space.max_widths, strict=True)]
        self.boundaries = [end for end in range(1, NUM_STAGES) if SUBNETS * sizes[end - 1] <= max_bytes]
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Any, Features] = OrderedDict()
        self._lock = threading.Lock()

    def deepest(self, subnet: Subnet) -> tuple[int, Features] | None:
        """The most stages of a subnet behind which features are known, and these."""
        with self._lock:
            for end in reversed(self.boundaries):
                key = _beginning(subnet, end)
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return end, self._kept[key]
        return None

    def add(self, subnet: Subnet, num_stages: int, features: Features) -> None:
        with self._lock:
            self._kept[_beginning(subnet, num_stages)] = features
            while sum(kept.num_bytes for kept in self._kept.values()) > self._max_bytes:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


def _beginning(subnet: Subnet, num_stages: int) -> Any:
    return subnet.architecture.stages[:num_stages], subnet.origins[:num_stages]
