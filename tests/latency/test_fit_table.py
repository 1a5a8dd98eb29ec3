import random

import numpy as np
import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import QUICK, STANDARD
from efficientformer.latency.fit_table import fit_table, plan_table
from efficientformer.latency.table import weights_mib

from .synthetic import chain_latency_ms

ORIGIN = {"machine": {}, "versions": {}, "time": "", "load": 0.0, "command": ""}


def table_on(space, resolution, time_of_network, *, rounds=24, noise=0.0):
    plan = plan_table(space, resolution, 10, chain_length=4, num_networks=24, seed=0)
    walks = [network_parts(network, resolution, 10) for network in plan.networks]
    truth = np.array([chain_latency_ms(chain) for chain in plan.chains] + [time_of_network(parts) for parts in walks])
    rng = np.random.default_rng(0)
    samples = truth * np.exp(rng.normal(0, noise, (rounds, len(truth))))
    samples *= np.where(rng.random((rounds, 1)) < 0.4, 1.4, 1.0) if noise else 1.0
    return fit_table(plan, samples.tolist(), runtime={}, threads=1, clock="cpu", provenance=ORIGIN)


@pytest.mark.parametrize(("space", "resolution"), [(QUICK, 28), (STANDARD, 128)])
def test_additive_device_is_predicted_exactly(space, resolution):
    table = table_on(space, resolution, chain_latency_ms)
    assert table.calibration.scale == pytest.approx(1.0)
    assert table.error.max_percent < 1e-6 and table.error.kendall_tau == pytest.approx(1.0)
    rng = random.Random(1)
    for _ in range(50):
        network = space.random(rng)
        assert table.predict(network) == pytest.approx(chain_latency_ms(network_parts(network, resolution, 10)))


def test_noise_and_slow_rounds_leave_a_small_error_and_honest_intervals():
    table = table_on(QUICK, 28, chain_latency_ms, noise=0.01)
    assert table.error.mean_percent < 2.0 and table.error.kendall_tau > 0.95
    exact = table_on(QUICK, 28, chain_latency_ms)
    within = [
        low <= exact.entries[key].latency_ms <= high
        for key, entry in table.entries.items()
        for low, high in [entry.interval_ms]
    ]
    assert np.mean(within) > 0.8


def test_scale_comes_from_one_half_and_error_from_the_other():
    table = table_on(QUICK, 28, lambda parts: 1.25 * chain_latency_ms(parts))
    assert table.calibration.scale == pytest.approx(1.25)
    held_out = [network for network in table.networks if network.held_out]
    assert len(table.networks) == 26 and len(held_out) == table.error.num_networks == 12
    assert table.largest == table.networks[-1] and table.largest.architecture == QUICK.largest()
    assert table.smallest == table.networks[0] and not table.smallest.held_out


def test_weights_beyond_a_cache_are_priced():
    def time_of(parts):
        return chain_latency_ms(parts) + 0.05 * max(0.0, weights_mib(parts) - 4.0)

    table = table_on(STANDARD, 128, time_of)
    assert table.calibration.cache_mib == 4.0
    assert table.calibration.ms_per_mib == pytest.approx(0.05, rel=1e-3)
    assert table.error.max_percent < 0.1
    assert table.predict(STANDARD.largest()) == pytest.approx(table.largest.measured_ms, rel=1e-3)
