import math

import numpy as np
import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.tables.calibration import Calibration, Spread, uncached_mib, uncached_share


def test_a_calibration_scales_adds_and_prices_weights_that_miss_the_cache():
    calibration = Calibration(scale=1.5, offset_ms=0.25, cache_mib=4.0, ms_per_mib=0.1)
    assert calibration.latency_ms(2.0, 0.0) == pytest.approx(3.25)
    assert calibration.latency_ms(2.0, 2.0) == pytest.approx(3.45)
    assert calibration.latency_ms(2.0, -1.0) == pytest.approx(3.15)


@pytest.mark.parametrize("cache_mib", [1.0, 8.0])
def test_a_cache_that_evicts_at_random_misses_what_it_would(cache_mib):
    for ratio in (0.5, 1.0):
        assert uncached_share(ratio * cache_mib, cache_mib) == 0.0
    for ratio in (1.05, 1.5, 2.0, 5.0):
        share = uncached_share(ratio * cache_mib, cache_mib)
        assert 0 < share < 1 and 1 - share == pytest.approx(math.exp(-ratio * share))
    assert uncached_share(1.001 * cache_mib, cache_mib) == pytest.approx(0.002, rel=0.01)
    assert uncached_share(1000 * cache_mib, cache_mib) == pytest.approx(1.0)


def test_without_a_cache_everything_is_missed():
    assert uncached_share(3.0, 0.0) == 1.0 and uncached_share(0.0, 0.0) == 0.0


def test_a_simulated_cache_agrees():
    """1,500 lines read in order, again and again, through a cache of 1,000 that evicts at random."""
    rng, slots, held, misses = np.random.default_rng(0), [], set(), 0
    for sweep in range(60):
        for line in range(1500):
            if line in held:
                continue
            misses += sweep >= 10
            if len(slots) < 1000:
                slots.append(line)
            else:
                slot = rng.integers(1000)
                held.remove(slots[slot])
                slots[slot] = line
            held.add(line)
    assert misses / 50 == pytest.approx(1500 * uncached_share(1500.0, 1000.0), rel=0.02)


def test_activations_push_weights_out():
    assert uncached_mib(6.0, 0.5, 8.0) == 0.0
    assert uncached_mib(6.0, 2.0, 8.0) == pytest.approx(6.0 * uncached_share(14.0, 8.0))
    assert 4.0 < uncached_mib(6.0, 2.0, 8.0) < 6.0


def test_an_interval_grows_where_nothing_was_measured():
    spread = Spread(log_half_width=0.02, fastest_ms=1.0, slowest_ms=8.0)

    def log_width(predicted_ms):
        low, high = spread.interval_ms(predicted_ms)
        assert low < predicted_ms < high
        return math.log(high / low) / 2

    assert log_width(1.0) == pytest.approx(log_width(3.0)) == pytest.approx(log_width(8.0)) == pytest.approx(0.02)
    assert log_width(16.0) == pytest.approx(0.04) == pytest.approx(log_width(0.5))
    assert log_width(32.0) == pytest.approx(0.06)


def test_a_prediction_of_less_than_nothing_is_refused():
    with pytest.raises(LatencyError, match=r"mostly noise.*more rounds"):
        Spread(0.02, 1.0, 8.0).interval_ms(-0.1)
