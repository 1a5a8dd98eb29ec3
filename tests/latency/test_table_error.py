import numpy as np
import pytest

from efficientformer.latency.table_error import fit_calibration, summarize_error

RNG = np.random.default_rng(0)
SUMS = np.linspace(0.2, 6.0, 14)
WEIGHTS = np.linspace(0.1, 25.0, 14)


def noise():
    return RNG.normal(1.0, 0.005, len(SUMS))


def test_scale_alone_where_it_is_enough():
    calibration = fit_calibration(SUMS, WEIGHTS, 1.07 * SUMS * noise())
    assert calibration.scale == pytest.approx(1.07, rel=0.01)
    assert calibration.offset_ms == 0 and calibration.ms_per_mib == 0


def test_offset_is_found_where_there_is_one():
    calibration = fit_calibration(SUMS, WEIGHTS, (1.02 * SUMS + 0.1) * noise())
    assert calibration.offset_ms == pytest.approx(0.1, rel=0.1)
    assert calibration.latency_ms(1.0, 9.0) == pytest.approx(1.12, rel=0.02)


def test_price_of_weights_beyond_a_cache_is_found():
    measured = (1.02 * SUMS + 0.05 * np.maximum(0, WEIGHTS - 8)) * noise()
    calibration = fit_calibration(SUMS, WEIGHTS, measured)
    assert calibration.cache_mib == 8.0
    assert calibration.ms_per_mib == pytest.approx(0.05, rel=0.2)
    assert calibration.latency_ms(2.0, 4.0) == pytest.approx(2.04, rel=0.02)


def test_few_networks_get_a_scale_only():
    calibration = fit_calibration([1.0, 2.0], [1.0, 2.0], [1.1 + 0.1, 2.2 + 0.1])
    assert calibration.offset_ms == 0 and calibration.scale == pytest.approx(1.17, abs=0.02)


def test_summary_by_hand():
    summary = summarize_error([1.0, 2.0, 4.0], [1.1, 1.9, 4.0])
    assert summary.mean_percent == pytest.approx(5.0)
    assert summary.max_percent == pytest.approx(10.0)
    assert summary.kendall_tau == 1.0 and summary.num_networks == 3
    assert summarize_error([1.0, 2.0], [2.0, 1.0]).kendall_tau == -1.0
    assert summarize_error([1.0], [1.0]).kendall_tau == 0.0
