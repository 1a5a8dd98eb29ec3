"""What holds for every descent, whatever the device and the accuracies: random latencies, drops and sets of actions."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientformer.arch.cost import network_cost
from efficientformer.arch.moves import Contract, Drop, Narrow, PruneHeads, Swap
from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import SPACES, v1_space, v2_space
from efficientformer.arch.stage_space import StageSpace
from efficientformer.errors import BudgetError
from efficientformer.search.actions import once, possible_actions
from efficientformer.search.candidates import Candidate, GivenUp, LeftOut, State, Weighed
from efficientformer.search.importance import path_importances
from efficientformer.search.objective import LEAST_EXCHANGE
from efficientformer.search.rivals.optimum import find_optimum
from efficientformer.search.rivals.surrogate import AdditiveSurrogate
from efficientformer.search.slim import Step, save_at_least, shortest, slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import (
    Weigh,
    patient,
    weigh_in_parallel,
    weigh_in_turn,
    weigh_lazily,
)

V1 = v1_space("random", (32, 48, 64, 48), (2, 1, 3, 2), 4)
V2 = v2_space("random-v2", (16, 24, 32, 24), (2, 1, 2, 2), width_step=8, expansions=(4, 2, 1))
HEADS = v2_space("random-heads", (16, 16, 32, 24), (1, 1, 2, 2), width_step=8, expansions=(2,), heads=(6, 3, 1))
ON_SPACES = st.sampled_from([V1, V2, HEADS])
RESOLUTION, NUM_CLASSES = 64, 10
ACTION_SETS = st.sampled_from(["paper", "every", "exchange"])
STRIDES = st.sampled_from([0.0, 0.05, 0.3])
SEEDS = st.integers(0, 10_000)


class Problem:
    """Parts that cost what they cost, wider ones more; accuracies that add up; odds of paths."""

    def __init__(self, seed: int, space: SearchSpace = V1) -> None:
        rng = random.Random(seed)
        self.space = space
        self._weights: dict[str, float] = {}
        self._rng = rng
        self.importances = path_importances(
            [[self._odds(rng, stage) for _ in range(stage.depth)] for stage in space.stages]
        )
        self.surrogate = AdditiveSurrogate(
            largest=80.0,
            narrowed=tuple({w: rng.uniform(-0.2, 4.0) for w in stage.widths} for stage in space.stages),
            dropped=tuple(tuple(rng.uniform(-0.2, 3.0) for _ in stage.largest) for stage in space.stages),
            changed=tuple(
                tuple(
                    {block: rng.uniform(-0.2, 2.0) for block in stage.candidates if block != top}
                    for top in stage.largest
                )
                for stage in space.stages
            ),
        )
        largest = Subnet.largest(space)
        self.start = State(largest, self.latency(space.largest()), self.surrogate(largest))

    @staticmethod
    def _odds(rng: random.Random, stage: StageSpace) -> dict[str, float]:
        names = (*(block.kind for block in reversed(stage.blocks)), "identity")
        drawn = [rng.uniform(0.01, 1.0) for _ in names]
        return {name: value / sum(drawn) for name, value in zip(names, drawn, strict=True)}

    def part_ms(self, part) -> float:
        price = self._weights.setdefault(f"{part.kind} {part.grid}", self._rng.uniform(0.05, 1.0))
        expansion = 4 if part.block is None else part.expansion
        return price * (1 + (part.width + part.in_width) * (1 + expansion + part.num_heads) / 320)

    def latency(self, architecture) -> float:
        return sum(map(self.part_ms, network_parts(architecture, RESOLUTION, NUM_CLASSES)))

    def enough(self, subnet, stride):
        most_ms = (1 - stride) * self.latency(subnet.architecture)
        return (lambda result: self.latency(result.architecture) <= most_ms) if stride else once

    def descend(self, action_set, stride=0.0, weigh: Weigh | None = None) -> list[Step]:
        steps = []
        with pytest.raises(BudgetError):
            for step in slim(
                self.start,
                self.importances,
                self.space,
                weigh or weigh_in_turn(self.latency, patient(self.surrogate)),
                action_set=action_set,
                stride=save_at_least(lambda latency_ms: stride * latency_ms, self.latency) if stride else shortest,
            ):
                steps.append(step)
        return steps


def macs(subnet: Subnet) -> int:
    return network_cost(subnet.architecture, RESOLUTION, NUM_CLASSES).macs


def score_of(candidate: Candidate) -> float | None:
    return candidate.score if isinstance(candidate, Weighed) else None


@settings(max_examples=40, deadline=None)
@given(space=ON_SPACES, seed=SEEDS, action_set=ACTION_SETS, stride=STRIDES)
def test_every_action_taken_lowers_latency_and_every_other_is_refused(space, seed, action_set, stride):
    problem = Problem(seed, space)
    state = problem.start
    for step in problem.descend(action_set, stride):
        for candidate in step.candidates:
            assert candidate.saved_ms == state.latency_ms - problem.latency(candidate.action.result.architecture)
            assert score_of(candidate) is None or candidate.saved_ms > 0
            if candidate.action.name == "exchange" and candidate.saved_ms <= LEAST_EXCHANGE * state.latency_ms:
                assert score_of(candidate) is None
        assert step.state.latency_ms < state.latency_ms
        if step.candidates[step.taken].action.name != "exchange":
            assert macs(step.state.subnet) < macs(state.subnet)
        assert space.holds(step.state.subnet.architecture)
        weighed = [candidate for candidate in step.candidates if isinstance(candidate, Weighed)]
        assert score_of(step.candidates[step.taken]) == min(candidate.score for candidate in weighed)
        state = step.state


@settings(max_examples=25, deadline=None)
@given(space=ON_SPACES, seed=SEEDS, action_set=ACTION_SETS, stride=STRIDES)
def test_every_strategy_takes_the_same_steps(space, seed, action_set, stride):
    problem = Problem(seed, space)

    def if_at_least(subnet, least_accuracy):
        accuracy = problem.surrogate(subnet)
        return accuracy if accuracy >= least_accuracy else None

    eager = problem.descend(action_set, stride)
    hopeful = problem.descend(action_set, stride, weigh_in_turn(problem.latency, if_at_least))
    with ThreadPoolExecutor(2) as executor:
        parallel = problem.descend(action_set, stride, weigh_in_parallel(problem.latency, problem.surrogate, executor))
    assert parallel == eager
    assert [step.state for step in hopeful] == [step.state for step in eager]
    for eager_step, hopeful_step in zip(eager, hopeful, strict=True):
        lowest = score_of(eager_step.candidates[eager_step.taken])
        for scored, candidate in zip(eager_step.candidates, hopeful_step.candidates, strict=True):
            if isinstance(candidate, GivenUp):
                assert isinstance(scored, Weighed) and scored.accuracy < candidate.below and scored.score > lowest
            else:
                assert candidate == scored


@settings(max_examples=25, deadline=None)
@given(space=ON_SPACES, seed=SEEDS, action_set=ACTION_SETS)
def test_a_lazy_step_is_that_of_all_actions_unless_what_it_left_out_became_cheaper(space, seed, action_set):
    problem = Problem(seed, space)
    state = problem.start
    for lazy in problem.descend(action_set, weigh=weigh_lazily(problem.latency, patient(problem.surrogate), {})):
        weigh = weigh_in_turn(problem.latency, patient(problem.surrogate))
        eager = next(slim(state, problem.importances, space, weigh, action_set=action_set))
        left_out = [
            (candidate, weighed)
            for candidate, weighed in zip(lazy.candidates, eager.candidates, strict=True)
            if candidate != weighed
        ]
        taken = score_of(lazy.candidates[lazy.taken])
        for candidate, weighed in left_out:
            assert isinstance(candidate, LeftOut) and isinstance(weighed, Weighed) and candidate.last_score > taken
        if all(weighed.score >= candidate.last_score for candidate, weighed in left_out):
            assert lazy.taken == eager.taken and lazy.state == eager.state
        state = lazy.state


@settings(max_examples=40, deadline=None)
@given(
    space=ON_SPACES,
    seed=SEEDS,
    action_set=ACTION_SETS,
    stride=STRIDES,
    shares=st.lists(st.floats(0.2, 0.99), min_size=2, max_size=4),
)
def test_a_smaller_budget_never_yields_a_slower_network(space, seed, action_set, stride, shares):
    problem = Problem(seed, space)
    steps = problem.descend(action_set, stride)

    def found_ms(budget_ms):
        return next((step.state.latency_ms for step in steps if step.state.latency_ms <= budget_ms), None)

    found = [found_ms(share * problem.start.latency_ms) for share in sorted(shares)]
    reached = [ms for ms in found if ms is not None]
    assert reached == sorted(reached)
    assert found == [None] * (len(found) - len(reached)) + reached


@settings(max_examples=25, deadline=None)
@given(space=ON_SPACES, seed=SEEDS, action_set=ACTION_SETS, stride=STRIDES)
def test_a_trace_replays_to_the_same_architecture(space, seed, action_set, stride):
    problem = Problem(seed, space)
    subnet = problem.start.subnet
    for index, step in enumerate(problem.descend(action_set, stride), start=1):
        record = step.to_record(index)
        taken = record["candidates"][record["taken"]]
        named = [
            action
            for action in possible_actions(
                subnet, problem.importances, space, "exchange", problem.enough(subnet, stride)
            )
            if (action.name, action.stage, action.block, action.wider)
            == (taken["action"], taken["stage"], taken["block"], taken["wider"])
        ]
        assert len(named) == 1 and str(named[0]) == taken["text"]
        subnet = named[0].result
        assert Subnet.from_json(record) == subnet


@settings(max_examples=40, deadline=None)
@given(space=ON_SPACES, seed=SEEDS)
def test_sets_of_actions_hold_the_smaller_ones(space, seed):
    problem, rng = Problem(seed, space), random.Random(seed)
    subnet = problem.start.subnet
    for _ in range(rng.randrange(8)):
        actions = possible_actions(subnet, problem.importances, space, "exchange")
        if not actions:
            break
        subnet = rng.choice(actions).result
    paper, every, exchange = (
        {action.result for action in possible_actions(subnet, problem.importances, space, action_set)}
        for action_set in ("paper", "every", "exchange")
    )
    assert paper <= every <= exchange and len(paper) <= 4
    assert all(space.holds(result.architecture) for result in exchange)
    assert every == {subnet.after(move) for move in space.shrinks(subnet.architecture)}


@settings(max_examples=40, deadline=None)
@given(space=ON_SPACES, seed=SEEDS, action_set=ACTION_SETS)
def test_no_descent_beats_the_optimum(space, seed, action_set):
    problem = Problem(seed, space)
    for step in problem.descend(action_set)[::3]:
        best = find_optimum(
            space,
            problem.surrogate,
            problem.part_ms,
            resolution=RESOLUTION,
            num_classes=NUM_CLASSES,
            budget_ms=step.state.latency_ms * (1 + 1e-12),
        )
        assert problem.surrogate.drop(best.subnet) <= problem.surrogate.drop(step.state.subnet) + 1e-9


def test_slimming_reaches_the_optimum_where_greed_is_right():
    """Like blocks in one stage, each a millisecond: the cheapest go first, which is the knapsack's optimum as well."""
    space = v1_space("blocks", (16, 16, 16, 16), (1, 1, 6, 1), 0)
    costs = (0.9, 0.3, 2.0, 0.5, 1.4, 0.1)
    surrogate = AdditiveSurrogate(
        largest=80.0,
        narrowed=({16: 0.0},) * 4,
        dropped=((0.0,), (0.0,), costs, (0.0,)),
        changed=(({},), ({},), ({},) * 6, ({},)),
    )

    def part_ms(part):
        return 1.0

    def latency(architecture):
        return float(len(network_parts(architecture, RESOLUTION, NUM_CLASSES)))

    importances = [[1.0] * depth for depth in space.max_depths]
    start = State(Subnet.largest(space), latency(space.largest()), 80.0)
    steps = slim(start, importances, space, weigh_in_turn(latency, patient(surrogate)), action_set="every")
    for number in range(1, 6):
        found = next(steps).state
        best = find_optimum(
            space,
            surrogate,
            part_ms,
            resolution=RESOLUTION,
            num_classes=NUM_CLASSES,
            budget_ms=found.latency_ms,
        )
        assert surrogate.drop(found.subnet) == pytest.approx(sum(sorted(costs)[:number]))
        assert surrogate.drop(best.subnet) == pytest.approx(surrogate.drop(found.subnet))


@pytest.mark.parametrize("name", SPACES)
def test_every_move_of_a_named_space_lowers_macs_and_leads_to_a_network_of_it(name):
    space, rng = SPACES[name], random.Random(0)
    for architecture in (space.largest(), *(space.random(rng) for _ in range(10)), space.smallest()):
        assert space.holds(architecture)
        before = network_cost(architecture, 224, 10).macs
        for move in space.shrinks(architecture):
            smaller = move.apply(architecture)
            assert space.holds(smaller) and network_cost(smaller, 224, 10).macs < before, move
    kinds = {Drop, Swap, Narrow} | ({Contract} if space.has_expansions else set())
    assert {type(move) for move in space.shrinks(space.largest())} == kinds
    assert not list(space.shrinks(space.smallest()))


def test_a_space_holds_its_own_networks_only():
    largest = V2.largest()
    for other in (
        Narrow(0, -8).apply(largest),
        Contract(2, 0, 3).apply(largest),
        PruneHeads(2, 0, 6).apply(largest),
        Swap(0, 0, V2.stages[3].blocks[0]).apply(largest),
        V1.largest(),
        v2_space("deep", (16, 24, 32, 24), (3, 1, 2, 2), width_step=8, expansions=(4, 2, 1)).largest(),
        v2_space("fast", (16, 24, 32, 24), (2, 1, 2, 2), width_step=8, stem_strides=(2, 1)).largest(),
    ):
        assert V2.holds(largest) and not V2.holds(other)


def test_a_block_contracted_again_is_another_action_to_a_lazy_step():
    """From 4 to 2 the first block costs more than any other action, from 2 to 1 nothing. A stride may contract it along
    with another, so its first score is no score of its second contraction."""
    largest = Subnet.largest(V2)
    contracted = largest.after(Contract(0, 0, 2))

    def accuracy(subnet):
        is_contracted = subnet.architecture.stages[0].blocks[0].mlp_ratio < 4
        return 50 + 10 * macs(subnet) / macs(largest) - 20 * is_contracted + macs_free(subnet)

    def macs_free(subnet):
        again = subnet.architecture.stages[0].blocks[0].mlp_ratio == 1
        return 10 * (macs(contracted) - macs(subnet)) / macs(largest) if again else 0.0

    def latency(architecture):
        return network_cost(architecture, RESOLUTION, NUM_CLASSES).macs / 1e6

    importances, weigh = [[1.0] * depth for depth in V2.max_depths], weigh_lazily(latency, patient(accuracy), {})
    for subnet, cost in ((largest, True), (contracted, False)):
        state = State(subnet, latency(subnet.architecture), accuracy(subnet))
        candidates = weigh(possible_actions(subnet, importances, V2, "every"), state)
        (first,) = (c for c in candidates if (c.action.name, c.action.stage, c.action.block) == ("contract", 1, 1))
        assert isinstance(first, Weighed) and (first.drop > 19) == cost
    assert first.score == min(c.score for c in candidates if isinstance(c, Weighed))


def test_a_stride_contracts_one_block_as_far_as_it_can_and_then_others():
    largest = Subnet.largest(V2)
    importances = [[2.0, 1.0], [3.0], [9.0, 9.0], [9.0, 9.0]]

    def saved(most):
        return lambda subnet: macs(subnet) <= macs(largest) - most

    action = possible_actions(largest, importances, V2, "paper", saved(0.0))[2]
    assert str(action) == "block 2 of stage 1 contracts to expansion 2"
    twice = macs(largest) - macs(largest.after(Contract(0, 1, 1)))
    action = possible_actions(largest, importances, V2, "paper", saved(twice))[2]
    assert str(action) == "block 2 of stage 1 contracts to expansion 1" and not action.further
    action = possible_actions(largest, importances, V2, "paper", saved(twice + 1))[2]
    assert str(action) == "blocks 1-2 of stage 1 contract to expansions 1-2" and action.further == ((1, 1),)


def test_slimming_reaches_the_optimum_of_v2_where_greed_is_right():
    """Every contraction and every attention taken away saves a millisecond, and a block's next one costs more: the
    cheapest go first, which is the knapsack's optimum as well."""
    space = v2_space("contracting", (16, 16, 16, 16), (1, 1, 1, 1), expansions=(4, 3, 2, 1))
    costs = ((0.2, 0.5, 1.9), (0.4, 0.6, 0.7), (0.1, 1.1, 1.2), (0.3, 0.8, 2.5))
    attention = (0.0, 0.0, 0.9, 1.5)
    changed = []
    for stage, steps, lost in zip(space.stages, costs, attention, strict=True):
        kinds = {block.kind: lost * (block.kind != stage.largest[0].kind) for block in stage.blocks}
        changed.append(
            ({b: kinds[b.kind] + sum(steps[: 4 - b.mlp_ratio]) for b in stage.candidates if b != stage.largest[0]},)
        )
    surrogate = AdditiveSurrogate(80.0, ({16: 0.0},) * 4, ((0.0,),) * 4, tuple(changed))

    def part_ms(part):
        return 1.0 if part.block is None else part.expansion or 1.0  # attention has no expansion

    def latency(architecture):
        return sum(map(part_ms, network_parts(architecture, RESOLUTION, NUM_CLASSES)))

    start = State(Subnet.largest(space), latency(space.largest()), 80.0)
    weigh = weigh_in_turn(latency, patient(surrogate))
    steps = slim(start, [[1.0]] * 4, space, weigh, action_set="every")
    in_order = sorted([cost for row in costs for cost in row] + [0.9, 1.5])
    for number in range(1, len(in_order) + 1):
        found = next(steps).state
        best = find_optimum(
            space,
            surrogate,
            part_ms,
            resolution=RESOLUTION,
            num_classes=NUM_CLASSES,
            budget_ms=found.latency_ms,
        )
        drop = surrogate.drop(found.subnet)
        assert drop == pytest.approx(sum(in_order[:number])) and best.gap == 0.0
        assert surrogate.drop(best.subnet) <= drop <= surrogate.drop(best.subnet) + best.gap + 1e-9
