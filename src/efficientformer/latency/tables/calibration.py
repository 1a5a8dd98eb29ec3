"""From the sum of a network's parts to the latency of the network, and the interval of an unseen network."""

import math
from dataclasses import dataclass

from scipy.special import lambertw

from efficientformer.errors import LatencyError

ACTIVATIONS_COUNT = 4
"""What a MiB of activations counts, in MiB of weights, in what a call moves through the cache: activations and
intermediate results are written and read. Two to six were equally good on twenty tables of one machine, zero was worse
(benchmarks/LOG.md)."""


@dataclass(frozen=True)
class Calibration:
    """A scale, a constant, and a price of weights that miss a cache of `cache_mib`: networks outgrow caches that chains
    fit into.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    cache_mib: float = 0.0
    ms_per_mib: float = 0.0

    def latency_ms(self, sum_ms: float, extra_uncached_mib: float) -> float:
        """Latency of a network from the sum of its entries and from the MiB of its weights that miss the cache, beyond
        those that missed it in the chains of its entries."""
        return self.scale * sum_ms + self.offset_ms + self.ms_per_mib * extra_uncached_mib


def uncached_mib(weights_mib: float, activations_mib: float, cache_mib: float) -> float:
    """MiB of weights that are no longer in the cache when the next call needs them."""
    return weights_mib * uncached_share(weights_mib + ACTIVATIONS_COUNT * activations_mib, cache_mib)


def uncached_share(sweep_mib: float, cache_mib: float) -> float:
    """Share of the weights that miss a cache when each call reads `sweep_mib`, always in the same order.

    A cache of size C that evicts at random misses a share m of a sweep S, where 1 - m = exp(-m S / C): nothing while S
    is at most C, twice the excess for an S slightly larger, since each miss evicts something else, and everything for
    an S far larger.
    """
    if sweep_mib <= cache_mib:
        return 0.0
    if cache_mib == 0.0:
        return 1.0
    ratio = sweep_mib / cache_mib
    return 1.0 + float(lambertw(-ratio * math.exp(-ratio)).real) / ratio


@dataclass(frozen=True)
class Spread:
    """How far measured networks lie from their predictions, estimated on networks not used for the calibration.

    `log_half_width` is half the 95 % interval of measured over predicted latency, in logarithms, for a network between
    `fastest_ms` and `slowest_ms`. Outside that range, where nothing was measured, it grows by that amount with every
    doubling of the distance.
    """

    log_half_width: float
    fastest_ms: float
    slowest_ms: float

    @property
    def percent(self) -> float:
        """Upper end of the interval of a network in this range, in percent above its prediction."""
        return 100 * (math.exp(self.log_half_width) - 1)

    def interval_ms(self, predicted_ms: float) -> tuple[float, float]:
        """95 % interval of the measured latency of an unseen network that is predicted at `predicted_ms`."""
        if predicted_ms <= 0:
            raise LatencyError(
                f"The latency table predicts {predicted_ms:.3f} ms: its entries are mostly noise. Build it again with "
                "more rounds or on a quieter machine."
            )
        beyond = max(0.0, math.log2(self.fastest_ms / predicted_ms), math.log2(predicted_ms / self.slowest_ms))
        ratio = math.exp(self.log_half_width * (1 + beyond))
        return predicted_ms / ratio, predicted_ms * ratio
