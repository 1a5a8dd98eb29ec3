import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from efficientformer.arch.cost import sizes_mib
from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import QUICK, STANDARD, V2_QUICK, V2_STANDARD
from efficientformer.arch.spec import MB4D, Stage
from efficientformer.arch.stage_space import StageSpace
from efficientformer.errors import LatencyError
from efficientformer.latency.tables.calibration import uncached_mib
from efficientformer.latency.tables.fit import fit_table, plan_table
from efficientformer.latency.tables.network_sample import spread_networks

from .synthetic import CALL_MS, chain_latency_ms, part_latency_ms

ORIGIN = {"machine": {}, "versions": {}, "time": "", "load": 0.0, "command": ""}


def table_on(space, resolution, time_of_network, *, time_of_chain=chain_latency_ms, rounds=24, noise=0.0):
    plan = plan_table(space, resolution, 10, chain_length=4, num_networks=24, seed=0)
    walks = [network_parts(network, resolution, 10) for network in plan.networks]
    truth = np.array([*map(time_of_chain, plan.chains), *map(time_of_network, walks)])
    rng = np.random.default_rng(0)
    samples = truth * np.exp(rng.normal(0, noise, (rounds, len(truth))))
    samples *= np.where(rng.random((rounds, 1)) < 0.4, 1.4, 1.0) if noise else 1.0
    return fit_table(plan, samples.tolist(), runtime={}, threads=1, clock="cpu", provenance=ORIGIN)


@pytest.mark.parametrize(
    ("space", "resolution"),
    [
        (QUICK, 28),
        (STANDARD, 128),
        (V2_QUICK, 28),
        (V2_STANDARD, 128),
        (replace(V2_QUICK, activation="relu"), 28),
        (replace(V2_STANDARD, stem_strides=(2, 2, 2)), 224),
        (replace(STANDARD, stem_strides=(2, 2, 2)), 224),
    ],
)
def test_additive_device_is_predicted_exactly(space, resolution):
    table = table_on(space, resolution, chain_latency_ms)
    assert table.calibration.scale == pytest.approx(1.0)
    assert table.error.max_percent < 1e-6 and table.error.kendall_tau == pytest.approx(1.0)
    rng = random.Random(1)
    for _ in range(50):
        network = space.random(rng)
        assert table.predict(network) == pytest.approx(chain_latency_ms(network_parts(network, resolution, 10)))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_space_of_one_or_two_networks_has_no_table(depth):
    """Nothing is between its two ends, and of the networks between them a table's error is computed."""
    stages = [StageSpace(width, width, (MB4D(),), (MB4D(),) * depth) for width in (16, 32, 48, 64)]
    few = SearchSpace("few", (*(replace(stage, largest=(MB4D(),)) for stage in stages[:3]), stages[3]))
    with pytest.raises(LatencyError, match="This space has no network between its smallest and its largest"):
        plan_table(few, 32, 10, chain_length=4, num_networks=24, seed=0)


def test_a_space_of_three_networks_has_a_table():
    stages = [StageSpace(width, width, (MB4D(),), (MB4D(),)) for width in (16, 32, 48, 64)]
    three = SearchSpace("three", (*stages[:3], replace(stages[3], largest=(MB4D(),) * 3)))
    table = table_on(three, 32, chain_latency_ms)
    assert table.error.num_networks == 1 and table.error.max_percent < 1e-6


def test_every_network_of_a_v2_space_is_predicted_exactly_since_each_of_its_parts_is():
    table = table_on(V2_QUICK, 28, chain_latency_ms)
    parts = set()
    for blocks in zip(*(itertools.cycle(stage.candidates) for stage in V2_QUICK.stages[2:]), range(8), strict=False):
        for widths in itertools.product(*map(V2_QUICK.widths, range(4))):
            first = V2_QUICK.stages[0].candidates[blocks[-1] % 4]
            stages = [Stage(width, (block,)) for width, block in zip(widths, (first, first, *blocks[:2]), strict=True)]
            parts.update(network_parts(V2_QUICK.network(stages), 28, 10))
    assert len({part for part in parts if part.kind == "FFN"}) == 4 * (2 + 3 + 6 + 8)
    assert len({part for part in parts if part.kind == "MHSA"}) == 6 + 8
    for part in parts:
        expected = part_latency_ms(part) + (CALL_MS if part.kind == "stem" else 0.0)
        assert table.part_latency_ms(part) == pytest.approx(expected, abs=1e-9), part.key


def test_noise_and_slow_rounds_leave_a_small_error_and_honest_intervals():
    table = table_on(QUICK, 28, chain_latency_ms, noise=0.01)
    assert table.error.mean_percent < 2.0 and table.error.kendall_tau > 0.95
    exact = table_on(QUICK, 28, chain_latency_ms)
    within = [
        low <= exact.entries[part].latency_ms <= high
        for part, entry in table.entries.items()
        for low, high in [entry.interval_ms]
    ]
    assert np.mean(within) > 0.8


def test_every_random_network_is_predicted_without_having_been_seen():
    table = table_on(QUICK, 28, lambda parts: 1.25 * chain_latency_ms(parts))
    assert table.calibration.scale == pytest.approx(1.25)
    assert len(table.networks) == 26 and table.error.num_networks == 24
    assert [network.held_out for network in table.networks] == [False, *[True] * 24, False]
    assert table.largest == table.networks[-1] and table.largest.architecture == QUICK.largest()
    assert table.smallest == table.networks[0]


def test_a_network_that_is_off_tells_its_error_whatever_it_does_to_the_calibration():
    odd = spread_networks(QUICK, 28, 10, count=24, seed=0)[7]

    def time_of(parts):
        return chain_latency_ms(parts) * (1.3 if parts == network_parts(odd, 28, 10) else 1.0)

    table = table_on(QUICK, 28, time_of)
    (told,) = [network for network in table.networks if network.architecture == odd]
    assert told.error_percent == pytest.approx(100 * (1 / 1.3 - 1))
    assert table.predict(odd) > told.predicted_ms
    low, high = table.spread.interval_ms(table.predict(odd))
    assert high / low > 1.2


def test_entries_that_are_noise_are_refused():
    with pytest.raises(LatencyError, match=r"mostly noise.*more rounds"):
        table_on(QUICK, 28, lambda parts: -1.0)


@pytest.mark.parametrize("cache_mib", [1.0, 2.0, 4.0])
def test_weights_that_miss_a_cache_are_priced_once_whether_a_chain_or_only_the_network_has_outgrown_it(cache_mib):
    def time_of(parts):
        return chain_latency_ms(parts) + 0.05 * uncached_mib(*sizes_mib(parts), cache_mib)

    table = table_on(STANDARD, 128, time_of, time_of_chain=time_of)
    assert max(mib for entry in table.entries.values() for _, mib, _ in entry.chains_mib) > 2 * cache_mib
    assert table.calibration.cache_mib == cache_mib
    assert table.calibration.ms_per_mib == pytest.approx(0.05, rel=0.02)
    assert table.error.max_percent < 1
    assert table.predict(STANDARD.largest()) == pytest.approx(table.largest.measured_ms, rel=5e-3)
