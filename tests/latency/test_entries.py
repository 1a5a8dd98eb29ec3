import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import QUICK
from efficientformer.latency.tables.entries import Entry, families


def test_entries_by_family_and_scaled():
    parts = network_parts(QUICK.largest(), 28, 10)
    entries = {part: Entry(1.0, (0.9, 1.3), 24) for part in parts}
    found = families(entries)
    assert sum(map(len, found.values())) == len(entries) and set(found) == {part.family for part in parts}
    assert entries[parts[0]].scaled(2.0) == Entry(2.0, (1.8, 2.6), 24)
    assert entries[parts[0]].noise_ms == pytest.approx(0.2)


def test_what_chains_paid_for_weights_that_miss_a_cache():
    entry = Entry(1.0, (0.9, 1.1), 24, chains_mib=((0.5, 8.0, 0.5), (-0.5, 4.0, 0.25)))
    paid = [0.5 * 8.0 - 0.5 * 4.0, 0.5 * 0.7968 * 8.0, 0.0]
    assert [entry.uncached_in_chains_mib(cache_mib) for cache_mib in (0.0, 5.0, 12.0)] == pytest.approx(paid, rel=1e-3)
    assert (
        entry.scaled(2.0).uncached_in_chains_mib(5.0) == entry.uncached_in_chains_mib(5.0)
        and Entry(1.0, (0.9, 1.1), 24).uncached_in_chains_mib(0.0) == 0.0
    )
