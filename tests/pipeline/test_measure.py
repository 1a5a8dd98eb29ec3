import numpy as np
import pytest
from tests.latency.synthetic import measurement_of

from efficientformer.latency.timing.measurement import Measurement, paired_ratio
from efficientformer.pipeline.run.budget import parse_budget
from efficientformer.pipeline.slimming.measure import LARGEST, latency_with_largest
from efficientformer.pipeline.slimming.promise import Promise


@pytest.fixture
def measured() -> dict[str, Measurement]:
    """A network of 4 ms and the largest one of 10 ms, on a machine that slowed down by a tenth over the rounds."""
    speed, noise = np.linspace(1.0, 1.1, 80), np.random.default_rng(0).normal(1, 0.002, (2, 80))
    samples_ms = {"40pct": 4 * speed * noise[0], LARGEST: 10 * speed * noise[1]}
    return {
        name: measurement_of(samples, ratio=paired_ratio(samples, samples_ms[LARGEST], LARGEST))
        for name, samples in samples_ms.items()
    }


def test_a_share_is_of_the_largest_network_whatever_the_machine_does(measured):
    found_ms, (low, high) = latency_with_largest(measured, "40pct", Promise(parse_budget("40%"), 0.02, "p50"))
    largest_ms = measured[LARGEST].p50_ms
    assert low <= found_ms <= high and (high - low) / found_ms < 0.003
    assert found_ms / largest_ms == pytest.approx(0.4, rel=0.002)


@pytest.mark.parametrize(("budget", "percentile"), [("5ms", "p50"), ("40%", "p90"), ("5ms", "p90")])
def test_other_promises_are_about_milliseconds(measured, budget, percentile):
    found = latency_with_largest(measured, "40pct", Promise(parse_budget(budget), 0.02, percentile))
    assert found == measured["40pct"].at(percentile)
    _, (low, high) = found
    assert high - low > 0.01 * low
