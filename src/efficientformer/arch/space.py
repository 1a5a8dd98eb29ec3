"""The search space: which architectures slimming may reach (paper, section 4.2)."""

import random
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.spec import (
    MAX_DEPTH,
    MAX_WIDTH,
    MB3D,
    MB4D,
    NUM_STAGES,
    Architecture,
    block_from_json,
    block_to_json,
)
from efficientformer.arch.zoo import Four, build_architecture
from efficientformer.errors import ArchitectureError
from efficientformer.reading import checked


@dataclass(frozen=True)
class SearchSpace:
    """Widths from `min_widths` to `max_widths` in steps of `width_step`, depths from 1 to `max_depths`, and up to
    `max_mb3d` MB3D blocks at the end of the network (at most the blocks of stages 3 and 4)."""

    name: str
    max_widths: Four
    max_depths: Four
    max_mb3d: int
    min_widths: Four = (16, 16, 16, 16)
    width_step: int = 16
    stem_strides: tuple[int, int] = (2, 2)
    mb4d: MB4D = MB4D()
    mb3d: MB3D = MB3D()

    def __post_init__(self) -> None:
        if self.width_step < 1 or min(self.min_widths) < 8 or max(self.max_widths) > MAX_WIDTH:
            raise ArchitectureError(f"Widths go from 8 or more to {MAX_WIDTH} at most, in steps of 1 or more.")
        if min(self.max_depths) < 1 or max(self.max_depths) > MAX_DEPTH:
            raise ArchitectureError(f"max_depths must be 1 to {MAX_DEPTH}, not {self.max_depths}.")
        for low, high in zip(self.min_widths, self.max_widths, strict=True):
            if low > high or (high - low) % self.width_step:
                raise ArchitectureError(f"Widths cannot go from {high} down to {low} in steps of {self.width_step}.")
        if not 0 <= self.max_mb3d <= sum(self.max_depths[2:]):
            raise ArchitectureError(f"max_mb3d must be 0 to {sum(self.max_depths[2:])}, the blocks of stages 3 and 4.")

    def widths(self, stage_index: int) -> list[int]:
        """Every width of a stage, narrowest first."""
        return list(range(self.min_widths[stage_index], self.max_widths[stage_index] + 1, self.width_step))

    def build(self, widths: Four, depths: Four, num_mb3d: int) -> Architecture:
        return build_architecture(
            widths, depths, num_mb3d, stem_strides=self.stem_strides, mb4d=self.mb4d, mb3d=self.mb3d
        )

    def largest(self) -> Architecture:
        return self.build(self.max_widths, self.max_depths, self.max_mb3d)

    def smallest(self) -> Architecture:
        return self.build(self.min_widths, (1, 1, 1, 1), 0)

    def random(self, rng: random.Random) -> Architecture:
        """An architecture drawn uniformly over widths, depths and numbers of MB3D."""
        widths = [rng.choice(self.widths(index)) for index in range(4)]
        depths = [rng.randint(1, depth) for depth in self.max_depths]
        num_mb3d = rng.randint(0, min(self.max_mb3d, depths[2] + depths[3]))
        return self.build(tuple(widths), tuple(depths), num_mb3d)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {**values, "mb4d": block_to_json(self.mb4d), "mb3d": block_to_json(self.mb3d)}

    @classmethod
    def from_json(cls, content: Any) -> "SearchSpace":
        """Inverse of `to_json`. Raises ArchitectureError for anything else."""
        try:
            record = checked(content, SpaceRecord)
        except ValueError as error:
            raise ArchitectureError(f"Not a search space: {error}.") from error
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        blocks = {name: block_from_json(values[name]) for name in ("mb4d", "mb3d")}
        if not (isinstance(blocks["mb4d"], MB4D) and isinstance(blocks["mb3d"], MB3D)):
            raise ArchitectureError("Not a search space: mb4d and mb3d must be blocks of these kinds.")
        space = cls(**{name: values[name] for name in SpaceRecord.__annotations__} | blocks)  # type: ignore[arg-type]
        Architecture.from_json(space.largest().to_json())  # refuses one that no machine holds
        return space


FourRecord = Annotated[list[int], Field(min_length=NUM_STAGES, max_length=NUM_STAGES)]


class SpaceRecord(TypedDict):
    """A search space in a record: the fields of `SearchSpace`."""

    name: str
    max_widths: FourRecord
    max_depths: FourRecord
    max_mb3d: int
    min_widths: FourRecord
    width_step: int
    stem_strides: Annotated[list[int], Field(min_length=2, max_length=2)]
    mb4d: dict[str, Any]
    mb3d: dict[str, Any]


# Small images (28 to 64 px): one strided convolution in the stem, slim attention.
QUICK = SearchSpace(
    name="quick",
    max_widths=(32, 48, 96, 128),
    max_depths=(2, 2, 3, 2),
    max_mb3d=5,
    stem_strides=(2, 1),
    mb3d=MB3D(num_heads=4, key_dim=16, value_ratio=2),
)
# Photographs at 96 to 160 px.
STANDARD = SearchSpace(
    name="standard",
    max_widths=(32, 64, 160, 256),
    max_depths=(2, 2, 6, 4),
    max_mb3d=10,
    mb3d=MB3D(num_heads=4, key_dim=32, value_ratio=2),
)
# The paper's space at 224 px, in which L7 has the largest widths and depths.
IMAGENET = SearchSpace(
    name="imagenet",
    max_widths=(96, 192, 384, 768),
    max_depths=(6, 6, 18, 8),
    max_mb3d=26,
    min_widths=(32, 48, 96, 192),
)

SpaceName = Literal["quick", "standard", "imagenet"]
SPACES: dict[SpaceName, SearchSpace] = {"quick": QUICK, "standard": STANDARD, "imagenet": IMAGENET}
