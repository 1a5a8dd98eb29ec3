"""Slimming on a space small enough to solve by hand."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from efficientformer.arch.space import SearchSpace
from efficientformer.errors import BudgetError
from efficientformer.search.actions import possible_actions
from efficientformer.search.importance import path_importance, stage_importances
from efficientformer.search.slim import State, best_candidate, scores_known, slim, weigh
from efficientformer.search.subnet import Subnet

SPACE = SearchSpace("by-hand", (32, 16, 16, 16), (2, 1, 1, 2), 2)
ALPHAS = [
    [{"MB4D": 0.8, "identity": 0.2}, {"MB4D": 0.6, "identity": 0.4}],  # 4.0, 1.5: sum 5.5
    [{"MB4D": 0.5, "identity": 0.5}],  # 1.0
    [{"MB4D": 0.3, "MB3D": 0.5, "identity": 0.2}],  # 4.0
    [{"MB4D": 0.1, "MB3D": 0.8, "identity": 0.1}, {"MB4D": 0.2, "MB3D": 0.1, "identity": 0.7}],  # 9.0, 0.43
]


def latency(architecture) -> float:
    """1 ms per MB4D, 2 per MB3D, and a quarter of a millisecond per 16 channels."""
    blocks = sum(2 if block.kind == "MB3D" else 1 for stage in architecture.stages for block in stage.blocks)
    return blocks + sum(architecture.widths) / 64


def start() -> State:
    subnet = Subnet.largest(SPACE)
    return State(subnet, latency(subnet.architecture), 90.0)


def test_importance_is_the_odds_of_a_block_against_its_absence():
    assert path_importance(ALPHAS[0][0]) == pytest.approx(4.0)
    assert path_importance(ALPHAS[2][0]) == pytest.approx(4.0)
    assert path_importance({"MB4D": 1.0, "identity": 0.0}) == pytest.approx(1e12)
    assert stage_importances(ALPHAS, Subnet.largest(SPACE)) == pytest.approx([5.5, 1.0, 4.0, 9.0 + 3 / 7])


def test_the_three_actions_are_those_of_the_paper():
    identity, remove, narrow = possible_actions(Subnet.largest(SPACE), ALPHAS, SPACE)
    assert (identity.name, identity.stage, identity.block) == ("identity", 4, 2)
    assert identity.result.origins == ((0, 1), (0,), (0,), (0,))
    assert (remove.name, remove.stage, remove.block) == ("remove_mb3d", 4, 1)
    assert [b.kind for b in remove.result.architecture.stages[3].blocks] == ["MB4D", "MB3D"]
    # Stage 2 is the least important but has no width left to give; only stage 1 has.
    assert (narrow.name, narrow.stage) == ("narrow", 1)
    assert narrow.result.architecture.widths == (16, 16, 16, 16)


def saves(least_ms):
    before_ms = latency(Subnet.largest(SPACE).architecture)
    return lambda subnet: before_ms - latency(subnet.architecture) >= least_ms


def test_an_action_goes_on_until_it_is_enough_and_says_so():
    identity, remove, narrow = possible_actions(Subnet.largest(SPACE), ALPHAS, SPACE, is_enough=saves(3.0))
    # Behind the least important block comes the second one of stage 1; those left alone in their stage stay.
    assert str(identity) == "block 2 of stage 1, block 2 of stage 4 become identity"
    assert identity.result.origins == ((0,), (0,), (0,), (0,)) and (identity.stage, identity.block) == (4, 2)
    assert (
        str(remove) == "first 2 MB3D (blocks 1-2 of stage 4) become MB4D" and remove.result.architecture.num_mb3d == 0
    )
    # Neither these nor the widths save as much: as far as they go.
    assert narrow.result.architecture.widths == (16, 16, 16, 16)
    first = [str(action) for action in possible_actions(Subnet.largest(SPACE), ALPHAS, SPACE, is_enough=saves(1.0))]
    assert first[:2] == ["block 2 of stage 4 becomes identity", "first MB3D (stage 4, block 1) becomes MB4D"]


def test_blocks_that_go_together_are_named_by_their_places_before():
    space = SearchSpace("deep", (16, 16, 16, 16), (5, 2, 1, 1), 0)
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

    actions = {action.block: action for action in possible_actions(largest, alphas, space, "every", four)[:5]}
    assert str(actions[2]) == "blocks 2-3, 5 of stage 1, block 2 of stage 2 become identity"
    assert actions[2].result.origins == ((0, 3), (0,), (0,), (0,))
    assert str(actions[4]) == "blocks 2-5 of stage 1 become identity"
    assert actions[4].result.origins == ((0,), (0, 1), (0,), (0,)) and actions[4].further == ((1, 2), (1, 3), (1, 5))


def test_a_stride_takes_fewer_steps_down_to_the_same_smallest_network():
    options = dict(latency=latency, accuracy=lambda subnet: sum(subnet.architecture.depths))
    ends = []
    for least_saving in (None, lambda latency_ms: 0.2 * latency_ms):
        steps = []
        with pytest.raises(BudgetError, match=r"5\.000 ms"):
            for step in slim(start(), ALPHAS, SPACE, least_saving=least_saving, **options):
                steps.append(step)
        assert steps[-1].state.subnet.architecture == SPACE.smallest()
        ends.append(len(steps))
    assert ends[1] < ends[0]


def test_the_last_block_of_a_stage_is_never_dropped():
    subnet = Subnet.largest(SPACE).drop(3, 1).drop(0, 1)
    names = [action.name for action in possible_actions(subnet, ALPHAS, SPACE)]
    assert "identity" not in names


def test_the_action_with_the_lowest_drop_per_millisecond_wins():
    # identity: 2 points for 2 ms = 1 per ms; remove: 0.5 for 1 ms = 0.5 per ms; narrow: 1 for 0.25 ms = 4 per ms.
    top1 = {"identity": 88.0, "remove_mb3d": 89.5, "narrow": 89.0}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, ALPHAS, SPACE)}
    step = next(slim(state, ALPHAS, SPACE, latency=latency, accuracy=by_result.__getitem__))
    assert [candidate.score for candidate in step.candidates] == pytest.approx([1.0, 0.5, 4.0])
    assert step.candidates[step.taken].action.name == "remove_mb3d"
    assert step.state.latency_ms == pytest.approx(state.latency_ms - 1)
    assert step.state.accuracy == 89.5


def test_a_gain_in_accuracy_comes_before_everything():
    top1 = {"identity": 90.0, "remove_mb3d": 89.9, "narrow": 90.5}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, ALPHAS, SPACE)}
    step = next(slim(state, ALPHAS, SPACE, latency=latency, accuracy=by_result.__getitem__))
    assert step.candidates[step.taken].action.name == "narrow"


def test_of_equal_scores_the_larger_saving_wins():
    state = start()
    step = next(slim(state, ALPHAS, SPACE, latency=latency, accuracy=lambda subnet: 90.0))
    assert step.candidates[step.taken].action.name == "identity"


def test_an_action_that_saves_nothing_is_refused_without_evaluating_it():
    evaluated = []
    state = start()
    action = possible_actions(state.subnet, ALPHAS, SPACE)[0]
    candidate = weigh(action, state, lambda _: state.latency_ms, evaluated.append)
    assert candidate.score is None and candidate.accuracy is None and not evaluated
    assert best_candidate([candidate]) is None


def test_actions_are_weighed_side_by_side_and_the_step_is_the_same():
    def judge(subnet):
        return 90.0 - sum(subnet.architecture.widths) / 64 - subnet.architecture.num_mb3d

    everyone = threading.Barrier(3, timeout=10)

    def judge_together(subnet):
        everyone.wait()
        return judge(subnet)

    with ThreadPoolExecutor(3) as executor:
        together = next(slim(start(), ALPHAS, SPACE, latency=latency, accuracy=judge_together, executor=executor))
    assert together == next(slim(start(), ALPHAS, SPACE, latency=latency, accuracy=judge))


def test_where_none_of_the_papers_actions_saves_time_any_other_may():
    def only_stage_1(architecture):
        return 1.0 + architecture.depths[0]

    first = Subnet.largest(SPACE)
    seen = []
    with pytest.raises(BudgetError, match=r"Slimming ended at 2\.000 ms"):
        for step in slim(State(first, 3.0, 90.0), ALPHAS, SPACE, latency=only_stage_1, accuracy=lambda subnet: 90.0):
            seen.append(step)
    (step,) = seen
    assert len(step.candidates) > 3 and str(step.candidates[step.taken].action) == "block 1 of stage 1 becomes identity"


def test_what_cannot_win_any_more_need_not_be_judged_and_the_step_is_the_same():
    # Scores 1.0, 0.5 and 4.0, as above.
    top1 = {"identity": 88.0, "remove_mb3d": 89.5, "narrow": 89.0}
    state = start()
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, ALPHAS, SPACE)}
    asked = []

    def hopeful(subnet, least_accuracy):
        asked.append(least_accuracy)
        return by_result[subnet] if by_result[subnet] >= least_accuracy else None

    step = next(slim(state, ALPHAS, SPACE, latency=latency, accuracy=by_result.__getitem__, hopeful=hopeful))
    assert asked == pytest.approx([float("-inf"), 90 - 1.0 * 1.0, 90 - 0.5 * 0.25])
    assert [candidate.score for candidate in step.candidates] == [pytest.approx(1.0), pytest.approx(0.5), None]
    assert step.candidates[2].below == pytest.approx(89.875) and step.candidates[2].saved_ms > 0
    assert step.candidates[step.taken].action.name == "remove_mb3d"


def test_a_step_starts_from_what_its_network_is_worth_after_recovery():
    state = start()

    def recovered(found):
        return State(found.subnet, found.latency_ms, 95.0)

    steps = slim(state, ALPHAS, SPACE, latency=latency, accuracy=lambda _: 80.0, recovered=recovered)
    first, second = next(steps), next(steps)
    assert first.state.accuracy == 95.0 and first.candidates[first.taken].accuracy == 80.0
    assert second.candidates[second.taken].drop == pytest.approx(15.0)


def test_the_descent_ends_at_the_smallest_network_and_says_so():
    steps = slim(start(), ALPHAS, SPACE, latency=latency, accuracy=lambda subnet: sum(subnet.architecture.depths))
    seen = []
    with pytest.raises(BudgetError, match=r"5\.000 ms"):
        for step in steps:
            seen.append(step)
    assert seen[-1].state.subnet.architecture == SPACE.smallest()
    latencies = [step.state.latency_ms for step in seen]
    assert latencies == sorted(latencies, reverse=True)


def test_a_subnet_survives_json():
    subnet = Subnet.largest(SPACE).drop(0, 0).narrow(0, 16)
    assert Subnet.from_json(subnet.to_json()) == subnet


WIDE = SearchSpace("wide", (64, 80, 96, 96), (3, 2, 4, 3), 4)
WIDE_ALPHAS = [[{"MB4D": 0.5, "MB3D": 0.3, "identity": 0.2}] * depth for depth in WIDE.max_depths]


def what_a_smaller_network_misses_more(subnet) -> float:
    return sum(
        weight * (2 * math.log(stage.depth) + 3 * math.log(stage.width)) + stage.num_mb3d**0.5
        for weight, stage in zip((1.0, 2.0, 3.0, 1.5), subnet.architecture.stages, strict=True)
    )


def descent(start, accuracy, **options):
    with pytest.raises(BudgetError):
        yield from slim(start, WIDE_ALPHAS, WIDE, latency=latency, accuracy=accuracy, action_set="every", **options)


def test_a_lazy_descent_takes_the_same_actions_where_none_becomes_cheaper_on_the_way():
    asked = []

    def accuracy(subnet):
        asked.append(subnet)
        return what_a_smaller_network_misses_more(subnet)

    largest = Subnet.largest(WIDE)
    begun = State(largest, latency(largest.architecture), accuracy(largest))
    eager, num_eager = list(descent(begun, accuracy)), len(asked)
    asked.clear()
    lazy, num_lazy = list(descent(begun, accuracy, last_scores={})), len(asked)
    assert [step.state for step in lazy] == [step.state for step in eager]
    assert num_lazy < num_eager / 2
    left_out = [candidate for step in lazy for candidate in step.candidates if candidate.last_score is not None]
    assert left_out and all(row.accuracy is None and row.score is None and row.saved_ms > 0 for row in left_out)

    records = [begun.to_record(), *(step.to_record(number) for number, step in enumerate(lazy, start=1))]
    for number in (1, 5, len(lazy) - 1):
        known = scores_known(records[: number + 1])
        assert list(descent(State.from_record(records[number]), accuracy, last_scores=known)) == lazy[number:]


def test_a_lazy_step_weighs_what_has_become_dear_and_then_the_next():
    state = start()
    top1 = {"identity": 80.0, "remove_mb3d": 89.5, "narrow": 89.0}  # 5.0, 0.5 and 4.0 per millisecond
    by_result = {action.result: top1[action.name] for action in possible_actions(state.subnet, ALPHAS, SPACE)}
    last_scores = {("identity", 4, 1, None): 0.1, ("remove_mb3d", 4, 0, None): 0.4, ("narrow", 1, None, None): 2.0}
    options = dict(latency=latency, accuracy=by_result.__getitem__, last_scores=last_scores)
    step = next(slim(state, ALPHAS, SPACE, **options))
    assert [candidate.score for candidate in step.candidates] == [pytest.approx(5.0), pytest.approx(0.5), None]
    assert step.candidates[2].last_score == 2.0 and step.candidates[step.taken].action.name == "remove_mb3d"
    assert last_scores[("identity", 4, 1, None)] == pytest.approx(5.0) and last_scores[("narrow", 1, None, None)] == 2.0
