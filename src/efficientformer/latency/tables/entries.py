"""Entries of a latency table: the latency of each part at the widths, expansions and heads that were measured."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from efficientformer.arch.parts import Part
from efficientformer.latency.tables.calibration import uncached_mib

Widths = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """Latency of one part, before scaling, with its 95 % interval and the number of rounds behind it.

    `chains_mib` are the chains that it is a weighted sum of: (weight in the sum, MiB of weights, MiB of activations).
    """

    latency_ms: float
    interval_ms: tuple[float, float]
    samples: int
    chains_mib: tuple[tuple[float, float, float], ...] = ()

    @property
    def noise_ms(self) -> float:
        """Half the width of the interval."""
        return (self.interval_ms[1] - self.interval_ms[0]) / 2

    def uncached_in_chains_mib(self, cache_mib: float) -> float:
        """MiB of weights that missed a cache in the chains, and so are in the latency already."""
        return sum(
            share * uncached_mib(weights_mib, activations_mib, cache_mib)
            for share, weights_mib, activations_mib in self.chains_mib
        )

    def scaled(self, factor: float) -> "Entry":
        low, high = self.interval_ms
        return replace(self, latency_ms=self.latency_ms * factor, interval_ms=(low * factor, high * factor))


def families(entries: Mapping[Part, Entry]) -> dict[str, dict[Part, Entry]]:
    """Entries by the family of their part."""
    members: dict[str, dict[Part, Entry]] = defaultdict(dict)
    for part, entry in entries.items():
        members[part.family][part] = entry
    return dict(members)
