"""Entries of a latency table: what a part costs at the widths that were measured."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from efficientformer.arch.parts import Grid, Part
from efficientformer.arch.spec import MB3D, MB4D, block_from_json
from efficientformer.latency.tables.calibration import missed_mib

Widths = tuple[int, int]
BLOCK_KINDS = (MB4D.kind, MB3D.kind)


@dataclass(frozen=True)
class Entry:
    """Latency of one part, before scaling, with its 95 % interval and the number of rounds behind it.

    `chains_mib` are the chains that it is a weighted sum of: how each counts, its MiB of weights and of activations.
    """

    latency_ms: float
    interval_ms: tuple[float, float]
    samples: int
    chains_mib: tuple[tuple[float, float, float], ...] = ()

    @property
    def noise_ms(self) -> float:
        """Half the width of the interval."""
        return (self.interval_ms[1] - self.interval_ms[0]) / 2

    def paid_mib(self, cache_mib: float) -> float:
        """MiB of weights that miss a cache in the latency already, since the chains outgrew the cache."""
        return sum(
            share * missed_mib(weights_mib, activations_mib, cache_mib)
            for share, weights_mib, activations_mib in self.chains_mib
        )

    def scaled(self, factor: float) -> "Entry":
        low, high = self.interval_ms
        return replace(self, latency_ms=self.latency_ms * factor, interval_ms=(low * factor, high * factor))


def families(entries: Mapping[str, Entry]) -> dict[str, dict[Part, Entry]]:
    """Entries, keyed by `Part.key`, by the family of their part. Raises ValueError for a key that names no part."""
    found: dict[str, dict[Part, Entry]] = defaultdict(dict)
    for key, entry in entries.items():
        part = part_from_key(key)
        found[part.family][part] = entry
    return dict(found)


def part_from_key(key: str) -> Part:
    """Inverse of `Part.key`. Raises ValueError for anything else."""
    family, _, widths = key.rpartition(":")
    kind, _, rest = family.partition("@")
    grid, *options = rest.split(",")
    named = dict(option.split("=") for option in options)
    in_width, width = map(int, widths.split(">"))
    part = Part(kind, _pair(grid), in_width, width)
    if kind in BLOCK_KINDS:
        block = block_from_json({"kind": kind, **{name: int(value) for name, value in named.items()}})
        return Part(kind, part.grid, in_width, width, block=block)
    if "strides" in named:
        return Part(kind, part.grid, in_width, width, strides=_pair(named["strides"]))
    if "num_classes" in named:
        return Part(kind, part.grid, in_width, width, num_classes=int(named["num_classes"]))
    return part


def _pair(text: str) -> Grid:
    first, second = map(int, text.split("x"))
    return first, second
