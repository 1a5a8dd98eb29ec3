"""From the sum of a network's parts to the network, and how far from it an unseen network may lie."""

import math
from dataclasses import dataclass

from efficientformer.errors import LatencyError

BYTES_PER_WEIGHT = 4


@dataclass(frozen=True)
class Calibration:
    """A scale, a constant, and a price of weights beyond a cache: chains fit into caches that networks outgrow.

    `beyond_mib` are a network's weights beyond `cache_mib`, less those that its entries have paid for.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    cache_mib: float = 0.0
    ms_per_mib: float = 0.0

    def latency_ms(self, sum_ms: float, beyond_mib: float) -> float:
        return self.scale * sum_ms + self.offset_ms + self.ms_per_mib * beyond_mib


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
