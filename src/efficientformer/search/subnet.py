"""A subnet: an architecture and the supernet blocks that it consists of. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from efficientformer.arch.edits import drop_block, narrow_stage, remove_first_mb3d
from efficientformer.arch.space import Four, SearchSpace
from efficientformer.arch.spec import MB4D, Architecture


@dataclass(frozen=True)
class Subnet:
    """An architecture with the origin of each block: `origins[s][b]` is the index, in supernet stage s, of the MetaPath
    that block b of the architecture comes from."""

    architecture: Architecture
    origins: tuple[tuple[int, ...], ...]

    @classmethod
    def largest(cls, space: SearchSpace) -> "Subnet":
        return cls(space.largest(), tuple(tuple(range(depth)) for depth in space.max_depths))

    @classmethod
    def compose(cls, space: SearchSpace, widths: Four, origins: Sequence[Sequence[int]], num_mb3d: int) -> "Subnet":
        """The given blocks of each supernet stage at the given widths; the last `num_mb3d` blocks are MB3D."""
        kept = tuple(map(tuple, origins))
        return cls(space.build(widths, tuple(map(len, kept)), num_mb3d), kept)  # type: ignore[arg-type]

    def drop(self, stage_index: int, block_index: int) -> "Subnet":
        kept = self.origins[stage_index][:block_index] + self.origins[stage_index][block_index + 1 :]
        origins = (*self.origins[:stage_index], kept, *self.origins[stage_index + 1 :])
        return Subnet(drop_block(self.architecture, stage_index, block_index), origins)

    def remove_first_mb3d(self, mb4d: MB4D) -> "Subnet":
        return Subnet(remove_first_mb3d(self.architecture, mb4d), self.origins)

    def narrow(self, stage_index: int, by: int) -> "Subnet":
        return Subnet(narrow_stage(self.architecture, stage_index, by), self.origins)

    def to_json(self) -> dict[str, Any]:
        return {"architecture": self.architecture.to_json(), "origins": [list(stage) for stage in self.origins]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Subnet":
        return cls(Architecture.from_json(content["architecture"]), tuple(map(tuple, content["origins"])))
