from dataclasses import replace

import numpy as np
import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import QUICK
from efficientformer.errors import LatencyError
from efficientformer.latency.tables.compare import diff_tables, merge_tables
from efficientformer.latency.tables.fit import fit_table, plan_table

from .synthetic import chain_latency_ms

MACHINE = {"cpu": "A", "cores": 2, "os": "Linux x86_64"}
RUNTIME = {"name": "onnxruntime", "version": "1.0"}
NARROW = replace(QUICK, name="narrow", stages=(*QUICK.stages[:3], replace(QUICK.stages[3], max_width=64)))


def table_of(space=QUICK, *, speed=1.0, seed=0, noise=0.01, cost=chain_latency_ms, **changes):
    plan = plan_table(space, 28, 10, chain_length=4, num_networks=12, seed=0)
    walks = [network_parts(network, 28, 10) for network in plan.networks]
    truth = speed * np.array([cost(chain) for chain in (*plan.chains, *walks)])
    samples = truth * np.exp(np.random.default_rng(seed).normal(0, noise, (24, len(truth))))
    facts = {"runtime": RUNTIME, "threads": 1, "clock": "cpu", "provenance": {"machine": MACHINE}}
    return fit_table(plan, samples.tolist(), **{**facts, **changes})


def test_two_noisy_tables_make_a_better_one():
    first, second, exact = table_of(seed=1, noise=0.03), table_of(seed=2, noise=0.03), table_of(noise=0.0)

    def error(table):
        ratios = [table.entries[part].latency_ms / entry.latency_ms for part, entry in exact.entries.items()]
        return float(np.sqrt(np.mean((np.array(ratios) - 1) ** 2)))

    merged = merge_tables(first, second)
    assert error(merged) < 0.9 * np.mean([error(first), error(second)])
    assert merged.entries.keys() == first.entries.keys()
    assert all(entry.samples == 48 for entry in merged.entries.values())
    for part, entry in first.entries.items():
        assert merged.entries[part].uncached_in_chains_mib(0.1) == pytest.approx(entry.uncached_in_chains_mib(0.1))
    assert merged.error.num_networks == 12 and merged.largest.architecture == QUICK.largest()
    assert merged.history[-1]["what"] == "merged" and len(merged.history[-1]["provenances"]) == 2


def test_the_precise_table_weighs_more():
    merged = merge_tables(table_of(noise=0.001), table_of(seed=1, noise=0.05))
    exact = table_of(noise=0.0)
    for part, entry in exact.entries.items():
        assert merged.entries[part].latency_ms == pytest.approx(entry.latency_ms, rel=0.05, abs=5e-3)


def test_tables_of_two_speeds_meet_halfway():
    merged = merge_tables(table_of(noise=0.0), table_of(speed=1.21, noise=0.0))
    assert merged.largest.measured_ms == pytest.approx(1.1 * table_of(noise=0.0).largest.measured_ms, rel=1e-6)
    assert merged.predict(QUICK.largest()) == pytest.approx(merged.largest.measured_ms, rel=1e-3)


def test_a_narrower_space_goes_into_a_wider_one():
    merged = merge_tables(table_of(NARROW, noise=0.0), table_of(noise=0.0))
    assert merged.space == QUICK and merged.error.max_percent < 1.0
    assert {net.architecture for net in table_of(NARROW).networks} <= {net.architecture for net in merged.networks}


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"clock": "wall"}, "clock is wall"),
        ({"threads": 2}, "threads is 2"),
        ({"runtime": {**RUNTIME, "version": "2.0"}}, "runtime version is 2.0"),
        ({"provenance": {"machine": {**MACHINE, "cpu": "B"}}}, "cpu is B"),
    ],
)
def test_tables_of_different_origin_are_not_merged(other, difference):
    with pytest.raises(LatencyError, match=rf"{difference}.*Merge tables of one device"):
        merge_tables(table_of(), table_of(**other))


def test_spaces_neither_of_which_holds_the_other_are_not_merged():
    first = NARROW.stages[0]
    deep = replace(NARROW, name="deep", stages=(replace(first, largest=first.blocks * 3), *NARROW.stages[1:]))
    with pytest.raises(LatencyError, match="contains the other"):
        merge_tables(table_of(), table_of(deep))


def test_a_diff_tells_the_speed_and_what_became_slower():
    def slow_attention(parts):
        return chain_latency_ms(parts) + 0.05 * sum(part.kind == "MB3D" for part in parts)

    same = diff_tables(table_of(noise=0.0), table_of(speed=1.1, noise=0.0))
    assert same.scale == pytest.approx(1.1) and same.kendall_tau == pytest.approx(1.0)
    assert same.spread == (pytest.approx(1.1), pytest.approx(1.1)) and same.num_networks > 100
    assert {kind: pytest.approx(1.1) for kind in same.kinds} == same.kinds
    changed = diff_tables(table_of(), table_of(seed=1, cost=slow_attention, runtime={**RUNTIME, "version": "2.0"}))
    assert changed.settings == ("runtime version is 2.0, recorded was 1.0",)
    slower = [change for change in changed.changes if change.is_beyond_noise and change.ratio and change.ratio > 1.1]
    assert {change.key for change in slower} >= {part.key for part in table_of().entries if part.kind == "MB3D"}
    assert not [change.key for change in slower if change.key.startswith("MB4D")]
    assert changed.kinds["MB3D"] > 1.2 and changed.kinds["MB4D"] == pytest.approx(1.0, abs=0.03)
    assert changed.kendall_tau < 1.0 and changed.only_first == changed.only_second == ()


def test_tables_without_a_network_in_common_cannot_be_compared():
    other = replace(table_of(), resolution=32)
    with pytest.raises(LatencyError, match="no networks in common"):
        diff_tables(table_of(), other)


def test_a_table_whose_networks_have_parts_without_entries_is_not_merged():
    first = table_of(noise=0.0)
    stem = network_parts(QUICK.largest(), 28, 10)[0]
    without = replace(first, entries={part: entry for part, entry in first.entries.items() if part.kind != stem.kind})
    with pytest.raises(LatencyError, match="has no entry for stem"):
        merge_tables(without, without)
    with pytest.raises(LatencyError, match="an end of its space"):
        merge_tables(replace(first, networks=first.networks[1:]), replace(first, networks=first.networks[1:]))
