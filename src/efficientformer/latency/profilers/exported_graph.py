"""Which operators of an exported network a runtime's operator stands for.

Names survive in part: a fused operator keeps the name of its first or its last member, and some are made up. What is
lost follows from the graph: a convolution called after the ReLU behind it is found by walking up from that ReLU.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from efficientformer.latency.profilers.kinds import COMPUTING, family_of
from efficientformer.latency.profilers.profile import Operator

# They hold weights and shapes, and are gone once a runtime has loaded the file.
CONSTANTS = frozenset({"Constant", "ConstantOfShape", "Identity", "Shape"})
PASSIVE = frozenset({"Const", "Input", "Output"})
ADDED = ("reshape", "pooling", "attention")
"""Families that need no further members: what a runtime adds of them is named after its neighbors."""


@dataclass(frozen=True)
class Executed:
    """An operator of the runtime's graph: its type, the names found on it, and the indices of those it reads."""

    kind: str
    names: tuple[str, ...]
    reads: tuple[int, ...]


@dataclass(frozen=True)
class ExportedGraph:
    """Nodes by name in order, the nodes that each one reads, and the node that makes each tensor."""

    operators: dict[str, Operator]
    reads: dict[str, tuple[str, ...]]
    makers: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> "ExportedGraph":
        graph = onnx.load_model(path, load_external_data=False).graph
        nodes = [node for node in graph.node if node.op_type not in CONSTANTS]
        makers = {tensor: node.name for node in nodes for tensor in node.output}
        return cls(
            {node.name: Operator(node.op_type, node.name.strip("/").rpartition("/")[0]) for node in nodes},
            {node.name: tuple(makers[tensor] for tensor in node.input if tensor in makers) for node in nodes},
            makers,
        )

    def find(self, name: str) -> str | None:
        """The node that a runtime's name goes back to: its own name or tensor, with whatever was added behind."""
        bare = name.partition("_output_")[0]
        while bare:
            for candidate in (bare, bare.removesuffix("_new_reshape")):
                if candidate in self.operators:
                    return candidate
                if candidate in self.makers:
                    return self.makers[candidate]
            bare = bare.rpartition("/")[0]
        return None

    def stands_for(self, executed: Sequence[Executed]) -> list[tuple[Operator, ...]]:
        """The operators that each executed one computes, those that it is named after first. Executed in order."""
        found = [_unique(node for name in item.names if (node := self.find(name))) for item in executed]
        claimed = {
            node
            for item, nodes in zip(executed, found, strict=True)
            for node in nodes
            # A change of layout may be named after the product that it serves.
            if not self._computes(node) or family_of(item.kind) in (*COMPUTING, "attention", None)
        }
        readers: list[list[int]] = [[] for _ in executed]
        for index, item in enumerate(executed):
            for read in item.reads:
                readers[read].append(index)
        # Those without a name first: what stands before their readers would else be taken for a part of the readers.
        working = [index for index, item in enumerate(executed) if item.kind not in PASSIVE]
        for index in sorted(working, key=lambda index: (bool(found[index]), -index)):
            starts = found[index] or [node for reader in readers[index] for node in found[reader]]
            more = self._unnamed(executed[index].kind, found[index], starts, claimed)
            found[index] += more
            claimed.update(more)
        return [tuple(self.operators[node] for node in nodes) for nodes in found]

    def _unnamed(self, kind: str, named: list[str], starts: list[str], claimed: Collection[str]) -> list[str]:
        """Further nodes that an executed operator stands for, without a name on it: up to the one that it computes."""
        family = family_of(kind)
        if family in COMPUTING:
            if any(self._computes(node) for node in named):
                return []
            above = self._above(starts, claimed, lambda _: True)
            last = next((place for place, node in enumerate(above) if self._computes(node)), None)
            return [] if last is None else [above[last], *above[:last]]
        if family in ADDED:
            return []
        paths = {self.operators[node].path for node in named}
        return self._above(
            starts,
            claimed,
            lambda node: not self._computes(node) and (not named or self.operators[node].path in paths),
        )

    def _above(self, starts: list[str], claimed: Collection[str], belongs: Callable[[str], bool]) -> list[str]:
        """Unclaimed nodes above `starts` that belong, nearest first, reached through others that do."""
        above: list[str] = []
        seen, waiting = set(claimed) | set(starts), deque(starts)
        while waiting:
            for node in self.reads[waiting.popleft()]:
                if node not in seen and belongs(node):
                    seen.add(node)
                    above.append(node)
                    waiting.append(node)
        return above

    def _computes(self, node: str) -> bool:
        return family_of(self.operators[node].kind) in COMPUTING


def _unique(nodes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(nodes))
