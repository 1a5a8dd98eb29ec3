import math

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.calibration import Calibration, Spread


def test_a_calibration_scales_adds_and_prices_weights_beyond_the_cache():
    calibration = Calibration(scale=1.5, offset_ms=0.25, cache_mib=4.0, ms_per_mib=0.1)
    assert calibration.latency_ms(2.0, 0.0) == pytest.approx(3.25)
    assert calibration.latency_ms(2.0, 2.0) == pytest.approx(3.45)
    assert calibration.latency_ms(2.0, -1.0) == pytest.approx(3.15)


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
