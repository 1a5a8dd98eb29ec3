from typing import get_args

import pytest

from efficientformer.arch.moves import Contract, Narrow, PruneHeads
from efficientformer.arch.parts import PART_BLOCKS
from efficientformer.arch.spec import KINDS
from efficientformer.arch.zoo import L1, V2_S0
from efficientformer.report import wording
from efficientformer.report.run.heatmaps import CHOICES
from efficientformer.report.run.latency_figures import KIND_MARKS
from efficientformer.report.run.slimming_figures import ACTION_MARKS
from efficientformer.search.actions import ActionName


@pytest.mark.parametrize(
    ("value", "written"), [(None, "\u2013"), (0.04567, "0.046"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123")]
)
def test_milliseconds(value: float | None, written: str) -> None:
    assert wording.ms(value) == written


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [(1_240_000, "", "1.24\u202fM"), (310_400, "", "310\u202fk"), (5_240_000, "B", "5.24\u202fMB"), (12, "", "12")],
)
def test_large_counts(value: float, unit: str, written: str) -> None:
    assert wording.scaled(value, unit) == written


def test_a_relative_budget_says_what_it_came_to() -> None:
    assert wording.budget_title("40%", 3.2) == "40% (3.20\u202fms)"
    assert wording.budget_title("8 ms", 8.0) == "8 ms"
    assert wording.budget_title("40%", None) == "40%"


def test_lists_of_words() -> None:
    assert wording.join([]) == ""
    assert wording.join(["a"]) == "a"
    assert wording.join(["a", "b", "c"]) == "a, b and c"


def test_actions_in_words() -> None:
    before, after = L1.to_json(), Narrow(1, 16).apply(L1).to_json()
    narrow = {"action": "narrow", "stage": 2, "block": None}
    assert wording.action(narrow, before, after) == "stage 2: narrowed from 96 to 80"
    assert wording.action(narrow, None, None) == "stage 2: narrowed"
    assert wording.action({"action": "identity", "stage": 3, "block": 4}, None, None) == "stage 3: block 4 dropped"
    several = {"action": "identity", "stage": 3, "block": 4, "further": [[3, 5]], "text": "blocks 4-5 of stage 3 go"}
    assert wording.action(several, None, None) == "blocks 4-5 of stage 3 go"
    swap = {"action": "swap", "stage": 4, "block": 1, "into": "MB4D"}
    assert wording.action(swap, None, None) == "stage 4: block 1 becomes MB4D"
    contract = {"action": "contract", "stage": 3, "block": 2, "into": "3"}
    assert wording.action(contract, None, None) == "stage 3: block 2 contracts to expansion 3"
    prune = {"action": "prune", "stage": 3, "block": 2, "into": "4"}
    assert wording.action(prune, None, None) == "stage 3: block 2 keeps 4 heads"
    assert wording.action(prune | {"into": "1"}, None, None) == "stage 3: block 2 keeps 1 head"


def test_every_action_baseline_and_kind_has_words() -> None:
    assert set(wording.ACTIONS) == set(get_args(ActionName)) == set(ACTION_MARKS)
    assert set(wording.KINDS) == set(KINDS) == set(CHOICES) - {"identity"}
    assert set(KIND_MARKS) == set(PART_BLOCKS)
    assert wording.baseline("scaled_v2_s0") == "scaled EfficientFormerV2-S0"


def test_a_network_of_v2_has_its_expansions_in_words() -> None:
    assert wording.shape(L1.to_json()) == str(L1)
    assert wording.shape(V2_S0.to_json()) == f"{V2_S0}, expansions 44-44-433344-4334"
    assert wording.expansions(Contract(0, 1, 12).apply(V2_S0)).startswith("4,12-4,4-")


def test_a_network_has_its_heads_in_words_where_they_are_not_those_of_the_published_ones() -> None:
    pruned = PruneHeads(3, 3, 2).apply(V2_S0)
    assert wording.network(pruned) == f"{V2_S0}, expansions 44-44-433344-4334, heads 88-82"
    assert wording.heads(L1) == "" and wording.network(PruneHeads(3, 3, 2).apply(L1)) == f"{L1}, 2 heads"


def test_a_step_is_of_its_objective() -> None:
    assert wording.gain(None) == wording.gain("latency") == "millisecond saved"
    assert wording.gain("mes") == "point of Mobile Efficiency Score gained"
    assert wording.gain("latency=1,params=0.5") == "unit gained, by weights latency=1,params=0.5"


def test_settings_become_dotted_names() -> None:
    settings = {"preset": "quick", "training": {"lr": 0.1, "betas": [0.9, 0.99]}, "note": ""}
    assert wording.flat(settings) == [
        ("preset", "quick"),
        ("training.lr", "0.1"),
        ("training.betas", "0.9, 0.99"),
        ("note", "\u2013"),
    ]


def test_calibration_names_only_what_it_uses() -> None:
    assert wording.calibration({"scale": 1.0139}) == "\u00d7\u202f1.014"
    full = {"scale": 1.0, "offset_ms": -0.02, "cache_mib": 8.0, "ms_per_mib": 0.05}
    assert wording.calibration(full).endswith(
        "-0.020\u202fms, 0.05\u202fms for each MiB of weights that miss a cache of 8\u202fMiB"
    )


@pytest.mark.parametrize(
    "percent, text", [(95.0, "95"), (98.33, "98.3"), (99.5, "99.5"), (99.97, "99.9"), (100.0, "99.9")]
)
def test_no_interval_has_a_confidence_of_100_percent(percent: float, text: str) -> None:
    assert wording.confidence(percent) == text
