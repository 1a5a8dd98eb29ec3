"""A cache of features behind the first cells of subnets, for later subnets that start with the same cells.

A cell is the stem, a downsample, one block on maps, or the token part of a stage:
all of its blocks on tokens.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from efficientformer.arch.parts import stage_grids
from efficientformer.arch.spec import NUM_STAGES, Block
from efficientformer.data.loading.loader import Images
from efficientformer.models.network import Network
from efficientformer.models.stage import Stage
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.subnet import Subnet

MAX_BYTES = 2**30
SUBNETS = 4
"""Features of at least this many subnets must fit. If they do not, as with many large images, a stage keeps none."""


@dataclass(frozen=True)
class Cell:
    """What distinguishes a cell from others at the same position: its blocks and their origins in the ancestor."""

    stage: int
    width: int
    blocks: tuple[Block, ...] = ()
    origins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Features:
    """Features at one position in a network, in batches: of the images that batch norm is re-estimated from, and of
    those that subnets are scored on. The images themselves may be bytes."""

    estimating: Sequence[Images]
    scoring: Sequence[Images]

    @property
    def num_images(self) -> int:
        return sum(map(len, (*self.estimating, *self.scoring)))

    @property
    def num_bytes(self) -> int:
        return sum(batch.nbytes for batch in (*self.estimating, *self.scoring))


def cells_of(subnet: Subnet) -> list[Cell]:
    """The cells of a subnet, starting with the stem."""
    cells = [Cell(0, subnet.architecture.widths[0])]
    for index, (stage, origins) in enumerate(zip(subnet.architecture.stages, subnet.origins, strict=True)):
        on_maps = stage.depth - stage.num_on_tokens
        cells.append(Cell(index, stage.width))
        for place in range(on_maps):
            cells.append(Cell(index, stage.width, stage.blocks[place : place + 1], origins[place : place + 1]))
        if stage.num_on_tokens or (index == NUM_STAGES - 1 and not stage.is_v2):
            cells.append(Cell(index, stage.width, stage.blocks[on_maps:], origins[on_maps:]))
    return cells


def cell_modules(network: Network) -> list[nn.Module]:
    """The modules of the cells of a network, in the order of `cells_of`."""
    modules: list[nn.Module] = [network.stem]
    for stage in network.stages:
        assert isinstance(stage, Stage)
        modules += [stage.downsample, *stage.blocks[: stage.num_on_maps]]
        if stage.num_on_maps < len(stage.blocks) or stage.gives_tokens:
            modules.append(_OnTokens(stage))
    return modules


class _OnTokens(nn.Module):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.blocks = stage.blocks[stage.num_on_maps :]
        self._forward = stage.forward_tokens

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self._forward(x_BCHW)


class KeptFeatures:
    """Features by the cells that computed them; the least recently used are evicted."""

    def __init__(self, ancestor: Ancestor, num_images: int, max_bytes: int = MAX_BYTES) -> None:
        space, self._max_bytes = ancestor.space, max_bytes
        grids = stage_grids(space.stem_strides, ancestor.resolution)
        sizes = [4 * w * h * width * num_images for (h, w), width in zip(grids, space.max_widths, strict=True)]
        self._behind_stage = [SUBNETS * size <= max_bytes for size in sizes]
        whole = [size * depth for size, depth in zip(sizes, space.max_depths, strict=True)]
        self._behind_blocks = [SUBNETS * size <= max_bytes for size in whole]
        self._kept: OrderedDict[tuple[Cell, ...], Features] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def places(self, cells: Sequence[Cell]) -> list[int]:
        """The numbers of first cells of a subnet whose features are kept."""
        ends = []
        for end in range(2, len(cells)):
            cell, following = cells[end - 1], cells[end]
            if following.stage != cell.stage:
                is_kept = self._behind_stage[cell.stage]
            else:
                is_kept = bool(cell.blocks and following.blocks) and self._behind_blocks[cell.stage]
            if is_kept:
                ends.append(end)
        return ends

    def deepest(self, cells: Sequence[Cell]) -> tuple[int, Features] | None:
        """The largest number of first cells of a subnet whose features are known, and these features."""
        deepest = None
        with self._lock:
            # Shallower features are shared by more of the later subnets, so they become the most recently used.
            for end in reversed(self.places(cells)):
                key = tuple(cells[:end])
                if key in self._kept:
                    self._kept.move_to_end(key)
                    deepest = deepest or (end, self._kept[key])
        return deepest

    def add(self, cells: Sequence[Cell], features: dict[int, Features]) -> None:
        """Keep features of a subnet, by the number of cells that computed them."""
        with self._lock:
            for end in sorted(features, reverse=True):
                key = tuple(cells[:end])
                before = self._kept.get(key)
                self._kept[key] = features[end]
                self._num_bytes += features[end].num_bytes - (before.num_bytes if before else 0)
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._num_bytes = 0
