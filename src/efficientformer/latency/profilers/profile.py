"""Times of the operators of a network, and what each stands for in the network as it was written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """An operator as the network was written: its type, and the path of its module, such as "blocks.0/mlp/fc1"."""

    kind: str
    path: str


@dataclass(frozen=True)
class OperatorTime:
    """An operator that the runtime executed, under the runtime's own name for its type.

    `computes` are the operators it stands for; empty for what the runtime added, such as a change of layout.
    """

    kind: str
    ms: float
    computes: tuple[Operator, ...]


@dataclass(frozen=True)
class Profile:
    """`total_ms` is timed without the profiler, `written` the network's operators in order, before any was fused.

    `source` describes the times; with `is_shares` only their proportions come from the profiler, and they add up
    to the total by construction.
    """

    source: str
    is_shares: bool
    total_ms: float
    operators: tuple[OperatorTime, ...]
    written: tuple[Operator, ...]
