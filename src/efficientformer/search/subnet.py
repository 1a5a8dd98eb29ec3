"""A subnet: an architecture and the places of the space that its blocks fill. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from efficientformer.arch.moves import Drop, Move
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture


@dataclass(frozen=True)
class Subnet:
    """An architecture with the origin of each block: `origins[s][b]` is the place in stage s of the space, and so of
    the supernet, that block b of the architecture fills."""

    architecture: Architecture
    origins: tuple[tuple[int, ...], ...]

    @classmethod
    def largest(cls, space: SearchSpace) -> "Subnet":
        return cls(space.largest(), tuple(tuple(range(depth)) for depth in space.max_depths))

    @classmethod
    def smallest(cls, space: SearchSpace) -> "Subnet":
        return cls(space.smallest(), ((0,),) * len(space.stages))

    @classmethod
    def random(cls, space: SearchSpace, rng: Random) -> "Subnet":
        """A network as `SearchSpace.random` draws it; the places that each stage keeps are random."""
        architecture = space.random(rng)
        origins = [
            sorted(rng.sample(range(available), depth))
            for available, depth in zip(space.max_depths, architecture.depths, strict=True)
        ]
        return cls(architecture, tuple(map(tuple, origins)))

    def after(self, *moves: Move) -> "Subnet":
        """The subnet after the moves, one after another."""
        architecture, origins = self.architecture, list(self.origins)
        for move in moves:
            architecture = move.apply(architecture)
            if isinstance(move, Drop):
                kept = origins[move.stage]
                origins[move.stage] = kept[: move.block] + kept[move.block + 1 :]
        return Subnet(architecture, tuple(origins))

    def to_json(self) -> dict[str, Any]:
        return {"architecture": self.architecture.to_json(), "origins": [list(stage) for stage in self.origins]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Subnet":
        return cls(Architecture.from_json(content["architecture"]), tuple(map(tuple, content["origins"])))
