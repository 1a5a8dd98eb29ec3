"""Slimming on a space small enough to solve by hand."""

import pytest

from efficientformer.arch.moves import Drop, Narrow
from efficientformer.arch.spaces import v1_space
from efficientformer.errors import BudgetError
from efficientformer.search.actions import possible_actions
from efficientformer.search.candidates import State
from efficientformer.search.importance import path_importance, path_importances, stage_importances
from efficientformer.search.slim import save_at_least, shortest, slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import patient, weigh_in_turn

from .by_hand import ALPHAS, IMPORTANCES, SPACE, latency, scores, start


def test_importance_is_the_odds_of_a_block_against_its_absence():
    assert path_importance(ALPHAS[0][0]) == pytest.approx(4.0)
    assert path_importance(ALPHAS[2][0]) == pytest.approx(4.0)
    assert path_importance({"MB4D": 1.0, "identity": 0.0}) == pytest.approx(1e12)
    assert stage_importances(IMPORTANCES, Subnet.largest(SPACE)) == pytest.approx([5.5, 1.0, 4.0, 9.0 + 3 / 7])


def test_the_three_actions_are_those_of_the_paper():
    identity, remove, narrow = possible_actions(Subnet.largest(SPACE), IMPORTANCES, SPACE)
    assert (identity.name, identity.stage, identity.block) == ("identity", 4, 2)
    assert identity.result.origins == ((0, 1), (0,), (0,), (0,))
    assert (remove.name, remove.stage, remove.block) == ("swap", 4, 1)
    assert [b.kind for b in remove.result.architecture.stages[3].blocks] == ["MB4D", "MB3D"]
    # Stage 2 is the least important but has no width left to give; only stage 1 has.
    assert (narrow.name, narrow.stage) == ("narrow", 1)
    assert narrow.result.architecture.widths == (16, 16, 16, 16)


def saves(least_ms):
    before_ms = latency(Subnet.largest(SPACE).architecture)
    return lambda subnet: before_ms - latency(subnet.architecture) >= least_ms


def test_an_action_goes_on_until_it_is_enough_and_says_so():
    identity, remove, narrow = possible_actions(Subnet.largest(SPACE), IMPORTANCES, SPACE, is_enough=saves(3.0))
    # Behind the least important block comes the second one of stage 1; those left alone in their stage stay.
    assert str(identity) == "block 2 of stage 1, block 2 of stage 4 become identity"
    assert identity.result.origins == ((0,), (0,), (0,), (0,)) and (identity.stage, identity.block) == (4, 2)
    assert str(remove) == "blocks 1-2 of stage 4 become MB4D" and remove.result.architecture.num_on_tokens == 0
    # Neither these nor the widths can save that much, so they go as far as they can.
    assert narrow.result.architecture.widths == (16, 16, 16, 16)
    first = [
        str(action) for action in possible_actions(Subnet.largest(SPACE), IMPORTANCES, SPACE, is_enough=saves(1.0))
    ]
    assert first[:2] == ["block 2 of stage 4 becomes identity", "block 1 of stage 4 becomes MB4D"]


def test_blocks_that_go_together_are_named_by_their_places_before():
    space = v1_space("deep", (16, 16, 16, 16), (5, 2, 1, 1), 0)
    odds = (0.5, 0.1, 0.2, 0.9, 0.3)
    alphas = [
        [{"MB4D": p, "identity": 1 - p} for p in odds],
        [{"MB4D": 0.8, "identity": 0.2}, {"MB4D": 0.4, "identity": 0.6}],
        *[[{"MB4D": 0.5, "identity": 0.5}]] * 2,
    ]
    largest = Subnet.largest(space)
    before_ms = latency(largest.architecture)

    def four(subnet):
        return before_ms - latency(subnet.architecture) >= 4.0

    actions = {
        action.block: action for action in possible_actions(largest, path_importances(alphas), space, "every", four)[:5]
    }
    assert str(actions[2]) == "blocks 2-3, 5 of stage 1, block 2 of stage 2 become identity"
    assert actions[2].result.origins == ((0, 3), (0,), (0,), (0,))
    assert str(actions[4]) == "blocks 2-5 of stage 1 become identity"
    assert actions[4].result.origins == ((0,), (0, 1), (0,), (0,)) and actions[4].further == ((1, 2), (1, 3), (1, 5))


def test_a_stride_takes_fewer_steps_down_to_the_same_smallest_network():
    weigh = weigh_in_turn(latency, patient(lambda subnet: sum(subnet.architecture.depths)))
    ends = []
    for stride in (shortest, save_at_least(lambda latency_ms: 0.2 * latency_ms, latency)):
        steps = []
        with pytest.raises(BudgetError, match=r"5\.000 ms"):
            for step in slim(start(), IMPORTANCES, SPACE, weigh, stride=stride):
                steps.append(step)
        assert steps[-1].state.subnet.architecture == SPACE.smallest()
        ends.append(len(steps))
    assert ends[1] < ends[0]


def test_the_last_block_of_a_stage_is_never_dropped():
    subnet = Subnet.largest(SPACE).after(Drop(3, 1), Drop(0, 1))
    names = [action.name for action in possible_actions(subnet, IMPORTANCES, SPACE)]
    assert "identity" not in names


def test_the_action_with_the_lowest_drop_per_millisecond_wins():
    # identity: 2 points for 2 ms = 1 per ms; remove: 0.5 for 1 ms = 0.5 per ms; narrow: 1 for 0.25 ms = 4 per ms.
    top1 = {"identity": 88.0, "swap": 89.5, "narrow": 89.0}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, IMPORTANCES, SPACE)}
    step = next(slim(state, IMPORTANCES, SPACE, weigh_in_turn(latency, patient(by_result.__getitem__))))
    assert scores(step) == pytest.approx([1.0, 0.5, 4.0])
    assert step.candidates[step.taken].action.name == "swap"
    assert step.state.latency_ms == pytest.approx(state.latency_ms - 1)
    assert step.state.accuracy == 89.5


def test_a_gain_in_accuracy_comes_before_everything():
    top1 = {"identity": 90.0, "swap": 89.9, "narrow": 90.5}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, IMPORTANCES, SPACE)}
    step = next(slim(state, IMPORTANCES, SPACE, weigh_in_turn(latency, patient(by_result.__getitem__))))
    assert step.candidates[step.taken].action.name == "narrow"


def test_of_equal_scores_the_larger_saving_wins():
    step = next(slim(start(), IMPORTANCES, SPACE, weigh_in_turn(latency, patient(lambda subnet: 90.0))))
    assert step.candidates[step.taken].action.name == "identity"


def test_where_none_of_the_papers_actions_saves_time_any_other_may():
    def only_stage_1(architecture):
        return 1.0 + architecture.depths[0]

    first = Subnet.largest(SPACE)
    weigh = weigh_in_turn(only_stage_1, patient(lambda subnet: 90.0))
    seen = []
    with pytest.raises(BudgetError, match=r"Slimming ended at 2\.000 ms"):
        for step in slim(State(first, 3.0, 90.0), IMPORTANCES, SPACE, weigh):
            seen.append(step)
    (step,) = seen
    assert len(step.candidates) > 3 and str(step.candidates[step.taken].action) == "block 1 of stage 1 becomes identity"


def test_a_step_starts_from_what_its_network_is_worth_after_recovery():
    state = start()

    def recovered(found):
        return State(found.subnet, found.latency_ms, 95.0)

    steps = slim(state, IMPORTANCES, SPACE, weigh_in_turn(latency, patient(lambda _: 80.0)), recovered=recovered)
    first, second = next(steps), next(steps)
    assert first.state.accuracy == 95.0 and first.candidates[first.taken].accuracy == 80.0
    assert second.candidates[second.taken].drop == pytest.approx(15.0)


def test_the_descent_ends_at_the_smallest_network_and_says_so():
    weigh = weigh_in_turn(latency, patient(lambda subnet: sum(subnet.architecture.depths)))
    steps = slim(start(), IMPORTANCES, SPACE, weigh)
    seen = []
    with pytest.raises(BudgetError, match=r"5\.000 ms"):
        for step in steps:
            seen.append(step)
    assert seen[-1].state.subnet.architecture == SPACE.smallest()
    latencies = [step.state.latency_ms for step in seen]
    assert latencies == sorted(latencies, reverse=True)


def test_a_subnet_survives_json():
    subnet = Subnet.largest(SPACE).after(Drop(0, 0), Narrow(0, 16))
    assert Subnet.from_json(subnet.to_json()) == subnet
