from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.analysis.test_measure_observations import Synthetic
from tests.latency.synthetic import Machine
from torch import nn

from efficientformer.analysis.observations.choices import CHOICES, MENU, summarize_choices
from efficientformer.analysis.observations.conclusions import UNKNOWN
from efficientformer.analysis.observations.experiment import Candidate, Plan
from efficientformer.analysis.observations.measure import measure_observations
from efficientformer.analysis.observations.plan_choices import plan_choices
from efficientformer.analysis.observations.variants import count_macs
from efficientformer.analysis.observations.verdict import COSTS, EQUAL, SAVES, UNDECIDED, switch_effect
from efficientformer.errors import UsageError

WIDE = 0.3
"""Half the width of an interval that decides nothing."""


def row(choice: str, option: str, against: str, place: str, ms: float, against_ms: float, **changes: Any) -> Any:
    """A row of a trial whose effect follows from its two times."""
    ratio, spread = ms / against_ms, changes.pop("spread", 0.005)
    interval = ratio * (1 - spread), ratio * (1 + spread)
    return {
        **{"choice": choice, "option": option, "against": against, "place": place, "runtime": "a", "ratio": ratio},
        **{"is_network": place.startswith("whole"), "subject_ms": ms, "baseline_ms": against_ms},
        **{"interval": interval, "effect": switch_effect(interval), **changes},
    }


def meaning(*rows: dict[str, Any]) -> str:
    (summary,) = summarize_choices(rows)
    return summary["runtimes"]["a"]["meaning"]


def activations(relu_ms: float, hard_swish_ms: float, gelu_ms: float, **changes: Any) -> list[dict[str, Any]]:
    times = {"HardSwish": hard_swish_ms, "ReLU": relu_ms}
    return [
        row("activation", name, "GELU", place, ms, gelu_ms, **changes)
        for name, ms in times.items()
        for place in ("whole V2-S0", "stage 1")
    ]


def expansions(*times: float, spread: float = 0.005) -> list[dict[str, Any]]:
    """Of blocks of expansions 4, 3, 2 and 1 at stage 1."""
    return [
        row("expansion", f"FFN x{3 - index}", f"FFN x{4 - index}", "stage 1", smaller, larger, spread=spread)
        for index, (larger, smaller) in enumerate(pairwise(times))
    ]


def fused(stage: int, *times: float, ffn: float) -> list[dict[str, Any]]:
    """Of fused blocks of expansions 1, 2 and 4."""
    return [
        row("fused-mbconv", f"fused MBConv x{expansion}", "FFN x4", f"stage {stage}", ms, ffn)
        for expansion, ms in zip((1, 2, 4), times, strict=True)
    ]


def test_the_fastest_activation_of_the_whole_network_is_named():
    text = meaning(*activations(0.246, 0.297, 0.553))
    assert text.startswith(
        "ReLU is the fastest. HardSwish is faster than GELU (ratio 0.54 in whole V2-S0, 0.54 in parts)"
    )
    assert meaning(*activations(0.5, 0.3, 0.553)).startswith("HardSwish is the fastest.")


def test_activations_whose_intervals_overlap_are_both_named_and_neither_is_the_fastest():
    text = meaning(*activations(0.50, 0.51, 1.0, spread=0.02))
    assert text.startswith(
        "HardSwish and ReLU are faster. Intervals overlap: HardSwish 0.50 to 0.52 in whole V2-S0 and "
        "ReLU 0.49 to 0.51 in whole V2-S0. HardSwish is faster than GELU (ratio 0.51 in whole V2-S0"
    )
    assert "fastest" not in text
    assert meaning(*activations(0.50, 0.51, 1.0, spread=0.005)).startswith("ReLU is the fastest.")


def test_an_activation_is_not_the_fastest_if_another_may_be():
    rows = [
        row("activation", "HardSwish", "GELU", "whole V2-S0", 0.9, 1.0, spread=0.02),
        row("activation", "ReLU", "GELU", "whole V2-S0", 0.9, 1.0, spread=WIDE),
    ]
    text = meaning(*rows)
    assert text.startswith(
        "HardSwish is faster. Intervals overlap: HardSwish 0.88 to 0.92 in whole V2-S0 and ReLU 0.63"
    )
    assert "whether ReLU is faster than GELU cannot be told" in text


def test_gelu_is_kept_where_nothing_is_faster():
    text = meaning(*activations(0.55, 0.9, 0.55))
    assert text.startswith("Keep GELU: HardSwish is slower than GELU (ratio 1.64")
    assert "ReLU is as fast as GELU" in text


def test_the_whole_network_decides_between_activations_and_parts_do_without_one():
    rows = [
        row("activation", "ReLU", "GELU", "whole V2-S0", 1.0, 1.0),
        row("activation", "ReLU", "GELU", "stage 1", 0.5, 1.0),
    ]
    assert meaning(*rows).startswith("Keep GELU")
    assert meaning(*rows[1:]).startswith("ReLU is the fastest")


def test_every_expansion_is_offered_where_each_saves():
    text = meaning(*expansions(4.0, 3.0, 2.0, 1.0))
    assert text.startswith("Offer every expansion") and text.endswith("FFN x1 takes 0.25 times as long as FFN x4.")


def test_an_expansion_that_saves_nothing_is_left_out_at_its_stage():
    text = meaning(*expansions(4.0, 4.0, 2.0, 1.0))
    assert text.startswith("Leave FFN x3 out at stage 1, where it is no faster than FFN x4.")
    assert "FFN x2 out" not in text and "Offer" not in text


def test_fused_mbconv_is_left_out_by_the_figures_measured_by_hand():
    text = meaning(*fused(1, 0.235, 0.473, 0.946, ffn=0.246), *fused(2, 0.3, 0.5, 1.0, ffn=0.25))
    assert "Leave fused MBConv out at stage 1 and stage 2: fused MBConv x4 takes 3.85 to 4.00 times as long" in text
    assert text.endswith("As fast as FFN x4: fused MBConv x1 at stage 1 and none that was timed at stage 2.")


def test_fused_mbconv_is_worth_a_place_where_it_is_no_slower_at_equal_expansion():
    text = meaning(*fused(1, 0.1, 0.15, 0.2, ffn=0.246), *fused(2, 0.2, 0.4, 0.8, ffn=0.25))
    assert "Fused MBConv is worth a place at stage 1: fused MBConv x4 takes 0.81 times" in text
    assert "Leave fused MBConv out at stage 2" in text


def stems(whole_ms: float) -> list[dict[str, Any]]:
    times = {"stem alone": (1.0, 2.0), "stem and stage 1": (2.0, 8.0), "whole V2-S0": (whole_ms, 20.0)}
    return [row("stem", "stem [2, 2]", "stem [2, 1]", place, *pair) for place, pair in times.items()]


def test_stems_are_judged_in_the_whole_network_with_their_share():
    text = meaning(*stems(5.0))
    assert text.startswith("Stem [2, 2] is faster than stem [2, 1] (ratio 0.25 in whole V2-S0, 0.25 to 0.50 in parts).")
    assert text.endswith("the stem itself takes 20 % with stem [2, 2].")
    assert meaning(*stems(20.0)).startswith("Stem [2, 2] is as fast as stem [2, 1]")


@pytest.mark.parametrize("rows", [activations(1.0, 1.1, 1.0, spread=WIDE), expansions(4.0, 3.9, spread=WIDE)])
def test_nothing_is_concluded_from_noise(rows):
    assert {row["effect"] for row in rows} == {UNDECIDED} and meaning(*rows) == UNKNOWN


def test_a_summary_lists_every_pair_with_its_effect_and_leaves_out_what_was_not_tried():
    (summary,) = summarize_choices(activations(0.55, 0.3, 0.55))
    options = {option["option"]: option for option in summary["runtimes"]["a"]["options"]}
    assert options["ReLU"]["effect"] == EQUAL and options["HardSwish"]["effect"] == SAVES
    assert options["HardSwish"]["low"] == pytest.approx(0.3 / 0.55)
    assert summarize_choices([]) == [] and set(MENU) == set(CHOICES)


def test_every_trial_compares_two_candidates_on_the_same_image_and_has_controls():
    observation = plan_choices(128)
    shapes = {candidate.name: candidate.input_shape for candidate in observation.candidates}
    assert len(shapes) == len(observation.candidates)
    for trial in observation.trials:
        assert trial.subject != trial.baseline and shapes[trial.subject] == shapes[trial.baseline]
    assert {trial.choice for trial in observation.trials} == set(CHOICES)
    assert {control.is_network for control in observation.controls} == {True, False}
    assert observation.experiments == () and observation.title == "choices of a space"


def test_options_differ_as_their_blocks_do():
    """An FFN has two 1x1 and a depth-wise convolution, a fused block a 3x3 and a 1x1 one."""
    observation = plan_choices(64, ("activation", "expansion", "fused-mbconv"))
    macs = {
        candidate.name: count_macs(candidate.build().eval(), candidate.input_shape)
        for candidate in observation.candidates
        if candidate.name.endswith("stage 2")
    }
    width, positions, blocks = 48, 8 * 8, 4
    entry = 3 * 9 * width * positions
    for expansion in (1, 2, 3, 4):
        hidden = expansion * width
        assert macs[f"FFN x{expansion} with ReLU, stage 2"] - entry == blocks * positions * hidden * (2 * width + 9)
        if expansion != 3:
            fused_macs = macs[f"fused MBConv x{expansion}, stage 2"] - entry
            assert fused_macs == blocks * positions * hidden * 10 * width
    assert len({macs[f"FFN x4 with {name}, stage 2"] for name in ("GELU", "HardSwish", "ReLU")}) == 1


def test_candidates_have_the_activation_that_they_are_named_for():
    functions = {"GELU": nn.functional.gelu, "HardSwish": nn.functional.hardswish, "ReLU": nn.functional.relu}
    for candidate in plan_choices(64, ("activation",)).candidates:
        found = {module.activation for module in candidate.build().modules() if hasattr(module, "activation")}
        name = next((name for name in functions if f"with {name}" in candidate.name), "GELU")
        assert found == {functions[name]}, candidate.name


def test_choices_can_be_timed_one_by_one_and_too_small_images_are_refused():
    observation = plan_choices(32, ("stem",))
    assert {trial.choice for trial in observation.trials} == {"stem"}
    assert {trial.option for trial in observation.trials} == {"stem [2, 2]", "stem [2, 2, 2]"}
    for candidate in observation.candidates:
        assert candidate.build().eval()(torch.zeros(candidate.input_shape)).isfinite().all()
    with pytest.raises(UsageError, match="at least 32"):
        plan_choices(16)


def test_planted_times_of_options_are_found():
    def candidate(name: str, activation: type[nn.Module]) -> Candidate:
        return Candidate(name, lambda: nn.Sequential(nn.Conv2d(3, 4, 1), activation()), (1, 3, 8, 8))

    plan = Plan(None)
    gelu, where = candidate("GELU", nn.GELU), ("stage 1", "stage 1: 4 in a row")
    plan.try_option("activation", "ReLU", "GELU", where, candidate("ReLU", nn.ReLU), gelu)
    plan.try_option("activation", "HardSwish", "GELU", where, candidate("HardSwish", nn.Hardswish), gelu)
    runtime = Synthetic("a", Machine(), {"GELU": 1.0, "ReLU": 0.5, "Hardswish": 1.4})
    found = measure_observations([plan.finished()], [runtime], clock="cpu", rounds=40)
    relu, hard_swish = found.trials
    assert relu["ratio"] == pytest.approx(0.5, rel=0.02) and relu["effect"] == SAVES
    assert hard_swish["effect"] == COSTS and relu["subject_macs"] == relu["baseline_macs"]
    assert meaning(*found.trials).startswith("ReLU is the fastest.")
