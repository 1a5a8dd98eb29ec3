import numpy as np
import pytest

from efficientformer.latency.tables.calibration import uncached_mib
from efficientformer.latency.tables.error import (
    CACHES_MIB,
    calibrated_ms,
    cross_predictions,
    fit_calibration,
    fit_spread,
    summarize_error,
)

RNG = np.random.default_rng(0)
SUMS = np.linspace(0.2, 6.0, 14)
WEIGHTS = np.linspace(0.1, 25.0, 14)


def extra_uncached(weights_mib):
    """Where chains have paid for no weights."""
    return {cache_mib: np.array([uncached_mib(mib, 0.0, cache_mib) for mib in weights_mib]) for cache_mib in CACHES_MIB}


def noise():
    return RNG.normal(1.0, 0.005, len(SUMS))


def test_scale_alone_where_it_is_enough():
    calibration = fit_calibration(SUMS, extra_uncached(WEIGHTS), 1.07 * SUMS * noise())
    assert calibration.scale == pytest.approx(1.07, rel=0.01)
    assert calibration.offset_ms == 0 and calibration.ms_per_mib == 0


def test_offset_is_found_where_there_is_one():
    calibration = fit_calibration(SUMS, extra_uncached(WEIGHTS), (1.02 * SUMS + 0.1) * noise())
    assert calibration.offset_ms == pytest.approx(0.1, rel=0.1)
    assert calibration.latency_ms(1.0, 9.0) == pytest.approx(1.12, rel=0.02)


def test_price_of_weights_that_miss_a_cache_is_found():
    measured = (1.02 * SUMS + 0.05 * extra_uncached(WEIGHTS)[8.0]) * noise()
    calibration = fit_calibration(SUMS, extra_uncached(WEIGHTS), measured)
    assert calibration.cache_mib == 8.0
    assert calibration.ms_per_mib == pytest.approx(0.05, rel=0.2)
    assert calibration.latency_ms(2.0, 0.0) == pytest.approx(2.04, rel=0.02)


def test_few_networks_get_a_scale_only():
    calibration = fit_calibration([1.0, 2.0], extra_uncached([1.0, 2.0]), [1.1 + 0.1, 2.2 + 0.1])
    assert calibration.offset_ms == 0 and calibration.scale == pytest.approx(1.17, abs=0.02)


def test_summary_by_hand():
    summary = summarize_error([1.0, 2.0, 4.0], [1.1, 1.9, 4.0])
    assert summary.mean_percent == pytest.approx(5.0)
    assert summary.max_percent == pytest.approx(10.0)
    assert summary.kendall_tau == 1.0 and summary.num_networks == 3
    assert summarize_error([1.0, 2.0], [2.0, 1.0]).kendall_tau == -1.0
    assert summarize_error([1.0], [1.0]).kendall_tau == 0.0


def test_a_network_has_no_say_in_its_own_prediction():
    measured = 1.1 * SUMS * noise()
    before = cross_predictions(SUMS, extra_uncached(WEIGHTS), measured)
    measured[5] *= 3
    after = cross_predictions(SUMS, extra_uncached(WEIGHTS), measured)
    assert after[5] == pytest.approx(before[5]) and after[6] > before[6]


def test_spread_by_hand():
    predicted = np.full(20, 2.0)
    measured = predicted * np.exp(np.tile([0.01, -0.01], 10))
    spread = fit_spread(predicted, measured, np.full(20, True))
    assert spread.log_half_width == pytest.approx(2.086 * 0.01, rel=1e-3)
    low, high = spread.interval_ms(2.0)
    assert (low * high, high / 2.0) == (pytest.approx(4.0), pytest.approx(np.exp(0.02086), rel=1e-4))
    assert (spread.fastest_ms, spread.slowest_ms) == (measured.min(), measured.max())
    seen = np.arange(20) < 10
    assert fit_spread(predicted, np.where(seen, measured, 9.0), seen).log_half_width == pytest.approx(
        2.228 * 0.01, rel=1e-3
    )


@pytest.mark.parametrize("price", [0.0, 0.04])
def test_intervals_cover_what_they_say_over_many_machines(price):
    """A synthetic machine: entries err by kind and width, networks carry a price of weights and noise of their own."""
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sums = np.exp(rng.uniform(np.log(0.3), np.log(30), 126))
        weights = 4 * sums * np.exp(rng.normal(0, 0.4, len(sums)))
        measured = (1.05 * sums + price * np.maximum(0, weights - 8)) * np.exp(rng.normal(0, 0.015, len(sums)))
        order = np.concatenate([np.argsort(sums[:26]), np.arange(26, 126)])
        sums, weights, measured = sums[order], weights[order], measured[order]
        known = slice(0, 26)
        told = cross_predictions(sums[known], extra_uncached(weights[known]), measured[known])
        held_out = np.full(26, True)
        held_out[[0, -1]] = False
        spread = fit_spread(told, measured[known], held_out)
        calibration = fit_calibration(sums[known], extra_uncached(weights[known]), measured[known])
        for index, predicted_ms in list(enumerate(calibrated_ms(calibration, sums, extra_uncached(weights))))[26:]:
            low, high = spread.interval_ms(predicted_ms)
            covered.append(low <= measured[index] <= high)
    assert 0.93 < np.mean(covered) < 0.975
