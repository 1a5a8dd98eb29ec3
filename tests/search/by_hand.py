"""A space small enough to solve by hand, with its paths and a latency."""

from efficientformer.arch.moves import Swap
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import v1_space
from efficientformer.search.candidates import State
from efficientformer.search.importance import path_importances
from efficientformer.search.slim import Step
from efficientformer.search.subnet import Subnet

SPACE = v1_space("by-hand", (32, 16, 16, 16), (2, 1, 1, 2), 2)
ALPHAS = [
    [{"MB4D": 0.8, "identity": 0.2}, {"MB4D": 0.6, "identity": 0.4}],  # 4.0, 1.5: sum 5.5
    [{"MB4D": 0.5, "identity": 0.5}],  # 1.0
    [{"MB4D": 0.3, "MB3D": 0.5, "identity": 0.2}],  # 4.0
    [{"MB4D": 0.1, "MB3D": 0.8, "identity": 0.1}, {"MB4D": 0.2, "MB3D": 0.1, "identity": 0.7}],  # 9.0, 0.43
]
IMPORTANCES = path_importances(ALPHAS)


def latency(architecture) -> float:
    """1 ms per MB4D, 2 per MB3D, and a quarter of a millisecond per 16 channels."""
    blocks = sum(2 if block.kind == "MB3D" else 1 for stage in architecture.stages for block in stage.blocks)
    return blocks + sum(architecture.widths) / 64


def start() -> State:
    subnet = Subnet.largest(SPACE)
    return State(subnet, latency(subnet.architecture), 90.0)


def scores(step: Step) -> list[float | None]:
    return [row["score"] for row in step.to_record(1)["candidates"]]


def swap_first(subnet: Subnet, space: SearchSpace = SPACE) -> Subnet:
    """The first block that can become another kind does."""
    return subnet.after(next(move for move in space.shrinks(subnet.architecture) if isinstance(move, Swap)))
