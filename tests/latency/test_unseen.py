from typing import Any

import pytest

from efficientformer.arch.cost import weights_mib
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import IMAGENET, QUICK, v1_space
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.anchors import choose_anchors
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.network_sample import spread_networks
from efficientformer.latency.tables.unseen import UnseenNetwork, draw_unseen, measure_unseen, split_chunks
from efficientformer.reading import read_lines

from .test_compare_tables import table_of
from .test_extend_table import Additive


def test_unseen_networks_are_new_distinct_and_spread():
    table = table_of()
    drawn = draw_unseen(table, 40, seed=0)
    assert len(drawn) == len(set(drawn)) == 40
    assert not set(drawn) & {net.architecture for net in table.networks}
    latencies = sorted(map(table.predict, drawn))
    assert latencies[-1] > 1.5 * latencies[0]


def test_chunks_share_out_sizes_and_keep_every_network():
    table = table_of(noise=0.0)
    networks = spread_networks(QUICK, 28, 10, count=30, seed=3)
    mib = {net: weights_mib(network_parts(net, 28, 10)) for net in networks}
    limit = sum(mib.values()) / 4.5
    chunks = split_chunks(table, networks, limit)
    assert len(chunks) == 5 and sorted(map(str, networks)) == sorted(str(net) for chunk in chunks for net in chunk)
    assert all(sum(mib[net] for net in chunk) < 1.5 * limit for chunk in chunks)
    assert len(split_chunks(table, networks, 1e9)) == 1
    assert len(split_chunks(table, [IMAGENET.largest()], 1.0)) == 1


def test_a_prediction_is_covered_when_the_measurement_lies_in_its_interval():
    network = UnseenNetwork(QUICK.largest(), 1.0, (0.9, 1.1), 1.05, (0.99, 1.11), 0, 1.25)
    assert network.is_covered and network.error_percent == pytest.approx(5.0)
    then = network.at_table_speed
    assert not then.is_covered and then.drift == 1.0
    assert (then.measured_ms, then.interval_ms) == (pytest.approx(0.8), pytest.approx((0.72, 0.88)))


def test_unseen_networks_are_measured_in_chunks_that_resume(tmp_path):
    space = v1_space("tiny", (16, 16, 32, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1))
    runtime = open_runtime("pytorch")
    table = build_table(space, resolution=32, num_classes=5, runtime=runtime, clock="cpu", rounds=4, num_networks=4)
    drawn = draw_unseen(table, 4, seed=1)
    small = sum(weights_mib(network_parts(net, 32, 5)) for net in drawn) / 1.5
    texts = []
    unseen = measure_unseen(
        table,
        drawn,
        runtime,
        rounds=4,
        chunk_mib=small,
        partial_folder=tmp_path,
        progress=lambda done, total, text: texts.append(text),
    )
    assert [net.architecture for net in unseen] == drawn
    assert {net.chunk for net in unseen} == {0, 1} and len({net.drift for net in unseen}) == 2
    assert any(text.startswith("chunk 2 of 2") for text in texts)
    assert all(0 < net.interval_ms[0] <= net.measured_ms <= net.interval_ms[1] for net in unseen)
    kept = [read_lines(tmp_path / f"chunk-{number}.jsonl", Any) for number in (0, 1)]
    texts.clear()
    again = measure_unseen(
        table,
        drawn,
        runtime,
        rounds=4,
        chunk_mib=small,
        partial_folder=tmp_path,
        progress=lambda done, total, text: texts.append(text),
    )
    assert again == unseen and texts == []
    assert kept == [read_lines(tmp_path / f"chunk-{number}.jsonl", Any) for number in (0, 1)]


def test_a_visit_on_a_slower_machine_is_repeated_and_counts_for_nothing():
    space = v1_space("tiny", (16, 16, 32, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1))
    table = build_table(space, resolution=32, num_classes=5, runtime=Additive(), clock="cpu", rounds=8, num_networks=6)
    drawn = draw_unseen(table, 4, seed=1)

    class Disturbed(Additive):
        def prepare(self, module, input_shape):
            in_first_visit = len(self.prepared) < len(drawn) + len(choose_anchors(table))
            return Additive(factor=1.4 if in_first_visit else 1.0, prepared=self.prepared).prepare(module, input_shape)

    once, twice = Disturbed(), Disturbed()
    assert all(net.error_percent < -25 for net in measure_unseen(table, drawn, once, rounds=8, most_visits=1))
    texts = []
    found = measure_unseen(table, drawn, twice, rounds=8, progress=lambda done, total, text: texts.append(text))
    assert all(abs(net.error_percent) < 3 for net in found)
    assert texts[0].startswith("chunk 1 of 1") and texts[-1].startswith("again, since the machine was slower: chunk 1")
    per_visit = len(drawn) + len(choose_anchors(table))
    assert (len(once.prepared), len(twice.prepared)) == (per_visit, 2 * per_visit)
