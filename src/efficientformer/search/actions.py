"""The slimming actions: the paper's three (section 4.2, step 4), and the same without its restrictions. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from efficientformer.arch.edits import first_mb3d
from efficientformer.arch.space import SearchSpace
from efficientformer.search.importance import PathProbabilities, block_importances, stage_importances
from efficientformer.search.subnet import Subnet

ActionName = Literal["identity", "remove_mb3d", "narrow", "exchange"]
ActionSet = Literal["paper", "every", "exchange"]
"""What a step may choose from. paper: the least important path, the first MB3D, the least important stage. every: any
path, the first MB3D, any stage. exchange: those, and one stage narrower for another wider."""


@dataclass(frozen=True)
class Action:
    """A way to make the network faster. `stage` counts from 1; `block` is the block's place in its stage, from 1.

    `wider` is the stage that an exchange gives channels to; `stage` is where it takes them from.
    """

    name: ActionName
    stage: int
    block: int | None
    result: Subnet
    wider: int | None = None

    def __str__(self) -> str:
        match self.name:
            case "identity":
                return f"block {self.block} of stage {self.stage} becomes identity"
            case "remove_mb3d":
                return f"first MB3D (stage {self.stage}, block {self.block}) becomes MB4D"
            case "narrow":
                return f"stage {self.stage} narrows to {self._width(self.stage)}"
            case "exchange":
                assert self.wider is not None
                narrowed, widened = self._width(self.stage), self._width(self.wider)
                return f"stage {self.stage} narrows to {narrowed} and stage {self.wider} widens to {widened}"

    def _width(self, stage: int) -> int:
        return self.result.architecture.stages[stage - 1].width


def possible_actions(
    subnet: Subnet,
    alphas: Sequence[Sequence[PathProbabilities]],
    space: SearchSpace,
    action_set: ActionSet = "paper",
    narrow_by: float = 0.0,
) -> list[Action]:
    """What a step weighs: at most one action of each kind by the paper, every one of the kind by the other sets.

    A stage narrows by one width step of the space, or by as many as the share `narrow_by` of its width has room for.
    """
    removals, narrowings = list(_identities(subnet)), list(_narrowings(subnet, space, narrow_by))
    if action_set == "paper":
        blocks, stages = block_importances(alphas, subnet), stage_importances(alphas, subnet)
        removals.sort(key=lambda action: blocks[action.stage - 1][(action.block or 0) - 1])
        narrowings.sort(key=lambda action: stages[action.stage - 1])
        removals, narrowings = removals[:1], narrowings[:1]
    actions = [*removals, *_remove_mb3d(subnet, space), *narrowings]
    return [*actions, *_exchanges(subnet, space)] if action_set == "exchange" else actions


def _identities(subnet: Subnet) -> Iterator[Action]:
    """The last block of a stage always stays: a stage without blocks would be a stage without features."""
    for stage_index, origins in enumerate(subnet.origins):
        for block_index in range(len(origins)) if len(origins) > 1 else ():
            yield Action("identity", stage_index + 1, block_index + 1, subnet.drop(stage_index, block_index))


def _remove_mb3d(subnet: Subnet, space: SearchSpace) -> Iterator[Action]:
    """Only the first can go: inside a stage every MB3D follows every MB4D."""
    position = first_mb3d(subnet.architecture)
    if position is not None:
        yield Action("remove_mb3d", position[0] + 1, position[1] + 1, subnet.remove_first_mb3d(space.mb4d))


def _narrowings(subnet: Subnet, space: SearchSpace, narrow_by: float = 0.0) -> Iterator[Action]:
    step = space.width_step
    for stage_index, width in enumerate(subnet.architecture.widths):
        if room := width - space.min_widths[stage_index]:
            by = min(room, max(step, int(narrow_by * width) // step * step))
            yield Action("narrow", stage_index + 1, None, subnet.narrow(stage_index, by))


def _exchanges(subnet: Subnet, space: SearchSpace) -> Iterator[Action]:
    """Channels that an earlier step took from a stage come back, for those of another."""
    for narrower in _narrowings(subnet, space):
        for wider in range(len(subnet.origins)):
            widths = list(narrower.result.architecture.widths)
            widths[wider] += space.width_step
            if wider != narrower.stage - 1 and widths[wider] <= space.max_widths[wider]:
                result = Subnet.compose(space, tuple(widths), subnet.origins, subnet.architecture.num_mb3d)  # type: ignore[arg-type]
                yield Action("exchange", narrower.stage, None, result, wider + 1)
