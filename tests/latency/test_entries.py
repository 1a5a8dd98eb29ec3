import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import IMAGENET, QUICK, STANDARD
from efficientformer.latency.tables.entries import Entry, families, part_from_key


@pytest.mark.parametrize(("space", "resolution"), [(QUICK, 28), (STANDARD, (96, 128)), (IMAGENET, 224)])
def test_a_key_leads_back_to_its_part(space, resolution):
    for network in (space.smallest(), space.largest()):
        for part in network_parts(network, resolution, 10):
            assert part_from_key(part.key) == part


@pytest.mark.parametrize("key", ["", "x", "MB4D@2x2:16", "MB4D@2x2,mlp_ratio:16>16", "MB4D@2x2,color=4:16>16"])
def test_a_key_that_names_no_part_is_refused(key):
    with pytest.raises(ValueError):
        part_from_key(key)


def test_entries_by_family_and_scaled():
    keys = [part.key for part in network_parts(QUICK.largest(), 28, 10)]
    entries = {key: Entry(1.0, (0.9, 1.3), 24) for key in keys}
    found = families(entries)
    assert sum(map(len, found.values())) == len(entries) and set(found) == {key.rpartition(":")[0] for key in keys}
    assert entries[keys[0]].scaled(2.0) == Entry(2.0, (1.8, 2.6), 24)
    assert entries[keys[0]].noise_ms == pytest.approx(0.2)


def test_what_chains_paid_for_weights_that_miss_a_cache():
    entry = Entry(1.0, (0.9, 1.1), 24, chains_mib=((0.5, 8.0, 0.5), (-0.5, 4.0, 0.25)))
    paid = [0.5 * 8.0 - 0.5 * 4.0, 0.5 * 0.7968 * 8.0, 0.0]
    assert [entry.paid_mib(cache_mib) for cache_mib in (0.0, 5.0, 12.0)] == pytest.approx(paid, rel=1e-3)
    assert entry.scaled(2.0).paid_mib(5.0) == entry.paid_mib(5.0) and Entry(1.0, (0.9, 1.1), 24).paid_mib(0.0) == 0.0
