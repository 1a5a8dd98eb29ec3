"""From the sum of a network's parts to the network, and how far from it an unseen network may lie."""

import math
from dataclasses import dataclass

from scipy.special import lambertw

from efficientformer.errors import LatencyError

ACTIVATIONS_COUNT = 4
"""How often a call's activations count beside its weights: they are written and read, as is what stands between them.
Two to six did about as well on twenty tables of one machine, and not to count them worse (benchmarks/LOG.md)."""


@dataclass(frozen=True)
class Calibration:
    """A scale, a constant, and a price of weights that miss a cache: chains fit into caches that networks outgrow.

    `unpaid_mib` are those of a network's weights that miss a cache of `cache_mib`, less what its entries have paid for.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    cache_mib: float = 0.0
    ms_per_mib: float = 0.0

    def latency_ms(self, sum_ms: float, unpaid_mib: float) -> float:
        return self.scale * sum_ms + self.offset_ms + self.ms_per_mib * unpaid_mib


def missed_mib(weights_mib: float, activations_mib: float, cache_mib: float) -> float:
    """MiB of a network's weights that are gone from a cache when the next call asks for them."""
    return weights_mib * missed_share(weights_mib + ACTIVATIONS_COUNT * activations_mib, cache_mib)


def missed_share(sweep_mib: float, cache_mib: float) -> float:
    """Share of the weights that miss a cache where each call goes through `sweep_mib`, always in the same order.

    A cache that evicts at random misses a share m, where 1 - m = exp(-m S / C): nothing up to its size C, of what is
    just beyond it twice as much, for that pushes out as much again, and far beyond it everything.
    """
    if sweep_mib <= cache_mib:
        return 0.0
    if cache_mib == 0.0:
        return 1.0
    ratio = sweep_mib / cache_mib
    return 1.0 + float(lambertw(-ratio * math.exp(-ratio)).real) / ratio


@dataclass(frozen=True)
class Spread:
    """How far measured networks lie from their predictions, told by networks that the calibration had not seen.

    `log_half_width` is half the 95 % interval of measured over predicted latency, in logarithms, for a network between
    `fastest_ms` and `slowest_ms`. Beyond those it doubles with every doubling of the distance, since nothing was
    measured there.
    """

    log_half_width: float
    fastest_ms: float
    slowest_ms: float

    @property
    def percent(self) -> float:
        """How far above its prediction the interval of a network in this range ends."""
        return 100 * (math.exp(self.log_half_width) - 1)

    def interval_ms(self, predicted_ms: float) -> tuple[float, float]:
        """95 % interval of the latency that an unseen network is going to be measured at."""
        if predicted_ms <= 0:
            raise LatencyError(
                f"The latency table predicts {predicted_ms:.3f} ms: its entries are mostly noise. Build it again with "
                "more rounds or on a quieter machine."
            )
        beyond = max(0.0, math.log2(self.fastest_ms / predicted_ms), math.log2(predicted_ms / self.slowest_ms))
        ratio = math.exp(self.log_half_width * (1 + beyond))
        return predicted_ms / ratio, predicted_ms * ratio
