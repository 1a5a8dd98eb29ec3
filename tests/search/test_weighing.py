"""Slimming by each strategy: which accuracies it computes, and that all take the same step."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from efficientformer.arch.spaces import v1_space
from efficientformer.errors import BudgetError
from efficientformer.search.actions import possible_actions
from efficientformer.search.candidates import GivenUp, LeftOut, Refused, State, Weighed
from efficientformer.search.slim import best_candidate, slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import (
    patient,
    scores_known,
    weigh_action,
    weigh_in_parallel,
    weigh_in_turn,
    weigh_lazily,
)

from .by_hand import IMPORTANCES, SPACE, latency, scores, start


def test_an_action_that_saves_nothing_is_refused_without_evaluating_it():
    evaluated = []
    state = start()
    action = possible_actions(state.subnet, IMPORTANCES, SPACE)[0]
    candidate = weigh_action(action, state, lambda _: state.latency_ms, evaluated.append)
    assert candidate == Refused(action, state.latency_ms, 0.0) and not evaluated
    assert best_candidate([candidate]) is None


def test_actions_are_weighed_side_by_side_and_the_step_is_the_same():
    def score(subnet):
        return 90.0 - sum(subnet.architecture.widths) / 64 - subnet.architecture.num_on_tokens

    everyone = threading.Barrier(3, timeout=10)

    def score_together(subnet):
        everyone.wait()
        return score(subnet)

    with ThreadPoolExecutor(3) as executor:
        together = next(slim(start(), IMPORTANCES, SPACE, weigh_in_parallel(latency, score_together, executor)))
    assert together == next(slim(start(), IMPORTANCES, SPACE, weigh_in_turn(latency, patient(score))))


def test_what_can_no_longer_win_is_given_up_and_the_step_is_the_same():
    # Scores 1.0, 0.5 and 4.0, as above.
    top1 = {"identity": 88.0, "swap": 89.5, "narrow": 89.0}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, IMPORTANCES, SPACE)}
    asked = []

    def hopeful(subnet, least_accuracy):
        asked.append(least_accuracy)
        return by_result[subnet] if by_result[subnet] >= least_accuracy else None

    step = next(slim(state, IMPORTANCES, SPACE, weigh_in_turn(latency, hopeful)))
    assert asked == pytest.approx([float("-inf"), 90 - 1.0 * 1.0, 90 - 0.5 * 0.25])
    assert scores(step) == [pytest.approx(1.0), pytest.approx(0.5), None]
    given_up = step.candidates[2]
    assert isinstance(given_up, GivenUp) and given_up.below == pytest.approx(89.875) and given_up.saved_ms > 0
    assert step.candidates[step.taken].action.name == "swap"


def test_what_is_known_already_may_come_back_though_it_cannot_win_and_the_best_score_stays():
    # Scores 1.0, 3.0 and 4.0; the oracle knows the second one from before, and gives it though it is too low.
    state = start()
    identity, remove, narrow = actions = possible_actions(state.subnet, IMPORTANCES, SPACE)
    asked = []

    def hopeful(subnet, least_accuracy):
        asked.append(least_accuracy)
        return {identity.result: 88.0, remove.result: 87.0, narrow.result: None}[subnet]

    candidates = weigh_in_turn(latency, hopeful)(actions, state)
    assert asked == pytest.approx([-math.inf, 90 - 1.0 * 1.0, 90 - 1.0 * 0.25])
    best = best_candidate(candidates)
    assert best == (0, candidates[0]) and isinstance(candidates[1], Weighed) and isinstance(candidates[2], GivenUp)


def test_what_was_given_up_is_remembered_by_the_least_that_it_costs():
    state = start()
    actions = possible_actions(state.subnet, IMPORTANCES, SPACE)
    last_scores = {}
    weigh = weigh_lazily(latency, lambda subnet, least: 88.0 if least == -math.inf else None, last_scores)
    candidates = weigh(actions, state)
    assert [type(candidate) for candidate in candidates] == [Weighed, GivenUp, GivenUp]
    assert last_scores == {
        ("identity", 4, 1, None): pytest.approx(1.0),
        ("swap", 4, 0, None, "MB3D"): pytest.approx(1.0),
        ("narrow", 1, None, None): pytest.approx(1.0),
    }


WIDE = v1_space("wide", (64, 80, 96, 96), (3, 2, 4, 3), 4)
WIDE_IMPORTANCES = [[4.0] * depth for depth in WIDE.max_depths]


def what_a_smaller_network_misses_more(subnet) -> float:
    return sum(
        weight * (2 * math.log(stage.depth) + 3 * math.log(stage.width)) + stage.num_on_tokens**0.5
        for weight, stage in zip((1.0, 2.0, 3.0, 1.5), subnet.architecture.stages, strict=True)
    )


def descent(start, weigh):
    with pytest.raises(BudgetError):
        yield from slim(start, WIDE_IMPORTANCES, WIDE, weigh, action_set="every")


def test_a_lazy_descent_takes_the_same_actions_where_none_becomes_cheaper_on_the_way():
    asked = []

    def accuracy(subnet):
        asked.append(subnet)
        return what_a_smaller_network_misses_more(subnet)

    largest = Subnet.largest(WIDE)
    begun = State(largest, latency(largest.architecture), accuracy(largest))
    eager, num_eager = list(descent(begun, weigh_in_turn(latency, patient(accuracy)))), len(asked)
    asked.clear()
    lazy, num_lazy = list(descent(begun, weigh_lazily(latency, patient(accuracy), {}))), len(asked)
    assert [step.state for step in lazy] == [step.state for step in eager]
    assert num_lazy < num_eager / 2
    left_out = [candidate for step in lazy for candidate in step.candidates if isinstance(candidate, LeftOut)]
    assert left_out and all(candidate.saved_ms > 0 for candidate in left_out)

    records = [begun.to_record(), *(step.to_record(number) for number, step in enumerate(lazy, start=1))]
    for number in (1, 5, len(lazy) - 1):
        weigh = weigh_lazily(latency, patient(accuracy), scores_known(records[: number + 1]))
        assert list(descent(State.from_record(records[number]), weigh)) == lazy[number:]


def test_a_lazy_step_weighs_what_has_become_dear_and_then_the_next():
    state = start()
    top1 = {"identity": 80.0, "swap": 89.5, "narrow": 89.0}  # 5.0, 0.5 and 4.0 per millisecond
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, IMPORTANCES, SPACE)}
    last_scores = {("identity", 4, 1, None): 0.1, ("swap", 4, 0, None, "MB3D"): 0.4, ("narrow", 1, None, None): 2.0}
    step = next(slim(state, IMPORTANCES, SPACE, weigh_lazily(latency, patient(by_result.__getitem__), last_scores)))
    assert scores(step) == [pytest.approx(5.0), pytest.approx(0.5), None]
    left_out = step.candidates[2]
    assert isinstance(left_out, LeftOut) and left_out.last_score == 2.0
    assert step.candidates[step.taken].action.name == "swap"
    assert last_scores[("identity", 4, 1, None)] == pytest.approx(5.0) and last_scores[("narrow", 1, None, None)] == 2.0
