import re

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.made_shortlist import made_row

from efficientformer.analysis.comparison.compare import Comparison
from efficientformer.analysis.comparison.network_source import NetworkSource
from efficientformer.analysis.shortlist.front import best_that_fits, front, is_measured
from efficientformer.analysis.shortlist.published_networks import list_sources, published_networks

FAMILIES = (
    *("efficientformer_l1", "efficientformer_l3", "efficientformer_l7"),
    *("efficientformerv2_s0", "efficientformerv2_s1", "efficientformerv2_s2", "efficientformerv2_l"),
    *("levit_", "hgnetv2_", "mobilenetv2_", "mobilenetv3_", "mobilenetv4_", "efficientnet_b", "efficientnet_lite"),
    *("repvit_", "fastvit_", "ghostnetv3_", "efficientvit_", "shvit_", "starnet_", "swiftformer_", "fasternet_"),
)
LARGER_DATA = re.compile(r"ssld|in12k|in21k|in22k|jft|yfcc|ig1b|laion|openai|lvd")


@pytest.mark.parametrize("network", published_networks(), ids=lambda network: network.name)
def test_every_network_of_the_list_is_timms_with_its_licence_and_a_published_accuracy(network):
    assert network.name in timm.list_pretrained(f"{network.name.partition('.')[0]}.*")
    about = timm.get_pretrained_cfg(network.name)
    assert about is not None and network.license == about.license and network.license
    assert about.num_classes == 1000 and network.resolution >= about.input_size[-1]
    assert 60 < network.top1.top1 < 86 and "results-imagenet.csv" in network.top1.source
    assert (network.more_data is not None) == bool(LARGER_DATA.search(network.name.partition(".")[2]))


def test_the_list_has_about_fifty_networks_of_every_family_once_and_its_sources():
    names = [network.name for network in published_networks()]
    architectures = [name.partition(".")[0] for name in names]
    assert len(set(architectures)) == len(names) and 45 <= len(names) <= 60
    assert len({network.title for network in published_networks()}) == len(names)
    assert not [family for family in FAMILIES if not any(family in name for name in architectures)]
    assert set(list_sources()) == {"top1", "license", "more_data"} and all(list_sources().values())


def test_networks_of_this_package_are_built_in_the_form_that_it_exports():
    sources = {network.name: network.source for network in published_networks()}
    assert sources["efficientformer_l1.snap_dist_in1k"].kind == "zoo"
    assert sources["efficientformerv2_s0.snap_dist_in1k"].target == "efficientformerv2_s0"
    name = "levit_128.fb_dist_in1k"
    assert sources[name] == NetworkSource(name, "LeViT-128", "timm", name)


ROWS = [
    made_row("slow and worse", 9.0, 78.0),
    made_row("best", 12.0, 80.0),
    made_row("fastest", 3.0, 70.0),
    made_row("as good, slower", 6.0, 75.0),
    made_row("middle", 5.0, 75.0),
    made_row("good", 8.0, 79.0),
    made_row("not built", None, 90.0),
    made_row("wrong", 1.0, 91.0, problem="wrong output"),
]


def test_the_front_by_hand():
    assert [row["title"] for row in front(ROWS)] == ["fastest", "middle", "good", "best"]
    assert front([made_row("first", 3.0, 70.0), made_row("equal", 3.0, 70.0)]) == [made_row("first", 3.0, 70.0)]
    assert [row["title"] for row in front([made_row("a", 3.0, 70.0), made_row("b", 3.0, 71.0)])] == ["b"]
    assert front([made_row("not built", None, 90.0)]) == []


@pytest.mark.parametrize(
    ("budget_ms", "percentile", "title"),
    [
        (2.9, "p50", None),
        (3.04, "p50", "fastest"),  # its interval ends at 3.03
        (3.02, "p50", None),
        (6.5, "p50", "middle"),  # as good as a slower one that fits too
        (8.0, "p50", "middle"),  # 8.0 ms, but its interval ends at 8.08
        (8.1, "p50", "good"),
        (8.1, "p90", "middle"),  # its 90th percentile is 8.16
        (8.2, "p90", "good"),
        (100.0, "p50", "best"),
    ],
)
def test_the_best_network_that_fits_by_hand(budget_ms, percentile, title):
    best = best_that_fits(ROWS, budget_ms, percentile)
    assert (best and best["title"]) == title


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=20))
def test_the_front_is_what_nothing_beats_and_has_the_best_of_every_budget(figures):
    rows = [made_row(str(index), float(ms), float(top1)) for index, (ms, top1) in enumerate(figures)]
    found = front(rows)

    def beats(one, other):
        own, others = (one["p50_ms"], -one["top1"]), (other["p50_ms"], -other["top1"])
        return own != others and own[0] <= others[0] and own[1] <= others[1]

    assert not [row for row in found if any(beats(other, row) for other in rows)]
    figures_of_front = {(row["p50_ms"], row["top1"]) for row in found}
    left_out = [row for row in rows if (row["p50_ms"], row["top1"]) not in figures_of_front]
    assert all(any(beats(other, row) for other in found) for row in left_out)
    for budget_ms in range(1, 14):
        best = best_that_fits(rows, budget_ms)
        assert best is None or (best["p50_ms"], best["top1"]) in figures_of_front


def test_only_networks_with_a_latency_and_the_right_output_count():
    assert [row["title"] for row in ROWS if not is_measured(row)] == ["not built", "wrong"]
    assert Comparison().usable() == set()
