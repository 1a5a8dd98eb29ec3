"""The three slimming actions of the paper (section 4.2, step 4). No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from efficientformer.arch.edits import first_mb3d
from efficientformer.arch.space import SearchSpace
from efficientformer.search.importance import PathProbabilities, block_importances, stage_importances
from efficientformer.search.subnet import Subnet

ActionName = Literal["identity", "remove_mb3d", "narrow"]


@dataclass(frozen=True)
class Action:
    """A way to make the network smaller. `stage` counts from 1; `block` is the block's place in its stage, from 1."""

    name: ActionName
    stage: int
    block: int | None
    result: Subnet

    def __str__(self) -> str:
        match self.name:
            case "identity":
                return f"block {self.block} of stage {self.stage} becomes identity"
            case "remove_mb3d":
                return f"first MB3D (stage {self.stage}, block {self.block}) becomes MB4D"
            case "narrow":
                return f"stage {self.stage} narrows to {self.result.architecture.stages[self.stage - 1].width}"


def possible_actions(subnet: Subnet, alphas: Sequence[Sequence[PathProbabilities]], space: SearchSpace) -> list[Action]:
    """At most one action of each kind: on the least important path, the first MB3D, the least important stage."""
    actions = (_identity(subnet, alphas), _remove_mb3d(subnet, space), _narrow(subnet, alphas, space))
    return [action for action in actions if action is not None]


def _identity(subnet: Subnet, alphas: Sequence[Sequence[PathProbabilities]]) -> Action | None:
    """The last block of a stage always stays: a stage without blocks would be a stage without features."""
    candidates = [
        (importance, stage_index, block_index)
        for stage_index, stage in enumerate(block_importances(alphas, subnet))
        if len(stage) > 1
        for block_index, importance in enumerate(stage)
    ]
    if not candidates:
        return None
    _, stage_index, block_index = min(candidates)
    return Action("identity", stage_index + 1, block_index + 1, subnet.drop(stage_index, block_index))


def _remove_mb3d(subnet: Subnet, space: SearchSpace) -> Action | None:
    position = first_mb3d(subnet.architecture)
    if position is None:
        return None
    return Action("remove_mb3d", position[0] + 1, position[1] + 1, subnet.remove_first_mb3d(space.mb4d))


def _narrow(subnet: Subnet, alphas: Sequence[Sequence[PathProbabilities]], space: SearchSpace) -> Action | None:
    candidates = [
        (importance, stage_index)
        for stage_index, importance in enumerate(stage_importances(alphas, subnet))
        if subnet.architecture.stages[stage_index].width > space.min_widths[stage_index]
    ]
    if not candidates:
        return None
    _, stage_index = min(candidates)
    return Action("narrow", stage_index + 1, None, subnet.narrow(stage_index, space.width_step))
