"""What an action gains: the paper's scores of published networks, weights, and descents by them."""

import math

import pytest

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spaces import v2_space
from efficientformer.arch.zoo import V2_S0
from efficientformer.search.actions import possible_actions
from efficientformer.search.candidates import GivenUp, Refused, State, Weighed
from efficientformer.search.objective import Costs, Objective, costs_at, mobile_efficiency_score
from efficientformer.search.slim import slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import patient, scores_known, weigh_action, weigh_in_turn, weigh_lazily

PUBLISHED = [
    ("EfficientFormerV2-S0", 3.5, 0.9, 102.9),
    ("EfficientFormerV2-S1", 6.1, 1.1, 63.8),
    ("EfficientFormerV2-S2", 12.6, 1.6, 30.5),
    ("EfficientFormerV2-L", 26.1, 2.7, 12.6),
    ("MobileNetV2 x1.0", 3.5, 0.9, 102.9),
    ("EfficientNet-B0", 5.3, 1.4, 53.7),
    ("EfficientFormer-L1", 12.3, 1.4, 35.3),
]
"""Million parameters, milliseconds on an iPhone 12 and score, as V2's tables print them."""
SPACE = v2_space("small", (32, 32, 32, 32), (2, 1, 2, 2), expansions=(4, 2))
IMPORTANCES = [[1.0] * depth for depth in SPACE.max_depths]
COSTS = costs_at(64, 10)
OBJECTIVES = ["latency", "mes", "latency=1,params=0.5", "params=1", "memory=2,file=1"]


@pytest.mark.parametrize(("name", "params", "latency_ms", "printed"), PUBLISHED)
def test_the_score_is_the_papers(name, params, latency_ms, printed):
    """To the printed decimal, from the parameters and latencies that are printed; no score needs more tolerance than
    half a unit of its last digit."""
    assert mobile_efficiency_score(Costs(latency_ms, params)) == pytest.approx(printed, abs=0.05)


def test_mes_gains_its_points_and_weights_the_logarithms_of_what_costs_shrink_by():
    before, after = Costs(2.0, 8.0, 4.0, 6.0), Costs(1.0, 4.0, 1.0, 3.0)
    assert Objective.parse("latency").gain(before, after) == 1.0
    gained = mobile_efficiency_score(after) - mobile_efficiency_score(before)
    assert Objective.parse("mes").gain(before, after) == gained > 0
    assert Objective.parse("latency=1, file=0.5").gain(before, after) == pytest.approx(math.log(2) + 0.5 * math.log(4))
    middle = Costs(1.7, 5.0, 3.0, 4.0)
    weights = Objective.parse("latency=1,params=0.5,memory=3")
    assert weights.gain(before, middle) + weights.gain(middle, after) == pytest.approx(weights.gain(before, after))


def test_costs_are_those_of_the_architecture():
    costs = costs_at(224, 1000)(V2_S0, 3.0)
    num_params = network_cost(V2_S0, 224, 1000).num_params
    assert costs.latency == 3.0 and costs.params == num_params / 1e6
    assert costs.file == 4 * num_params / 2**20 < costs.memory < 2 * costs.file


@pytest.mark.parametrize(
    "text",
    ["", "speed", "latency", "latency=0", "latency=-1", "latency=x", "latency=inf", "params", "params=1,params=2"],
)
def test_other_objectives_are_refused_by_name(text):
    if text == "latency":
        assert Objective.parse(text).is_latency and Objective.parse("params=1").name == "params=1"
        return
    with pytest.raises(ValueError, match="latency, params, file, memory"):
        Objective.parse(text)


def latency(architecture) -> float:
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    return (
        sum(1 + 0.1 * block.mlp_ratio + (block.kind == "AttnFFN") for block in blocks) + sum(architecture.widths) / 64
    )


def flat(architecture) -> float:
    """Widths cost no time."""
    return latency(architecture) - sum(architecture.widths) / 64


def accuracy(subnet) -> float:
    return 50 + 5 * math.log(network_cost(subnet.architecture, 64, 10).macs / 1e6)


def start(time=latency) -> State:
    largest = Subnet.largest(SPACE)
    return State(largest, time(largest.architecture), accuracy(largest))


@pytest.mark.parametrize("text", OBJECTIVES)
def test_a_step_takes_the_least_drop_for_what_the_objective_gains(text):
    objective, state = Objective.parse(text, COSTS), start()
    steps = slim(state, IMPORTANCES, SPACE, weigh_in_turn(latency, patient(accuracy), objective), action_set="exchange")
    for _ in range(8):
        step = next(steps)
        before = COSTS(state.subnet.architecture, state.latency_ms)
        rates = {}
        for candidate in step.candidates:
            result = candidate.action.result
            gain = objective.gain(before, COSTS(result.architecture, latency(result.architecture)))
            assert candidate.gained == gain and candidate.saved_ms == state.latency_ms - candidate.latency_ms
            if isinstance(candidate, Weighed):
                rates[result] = candidate.drop / gain
                assert gain > 0 and candidate.score == rates[result]
            else:
                assert isinstance(candidate, Refused) and gain <= objective.least_exchange(before)
        assert rates[step.state.subnet] == min(rates.values())
        state = step.state


def test_what_saves_no_time_but_parameters_is_decided_by_the_objective():
    state = start(flat)
    narrow = next(action for action in possible_actions(state.subnet, IMPORTANCES, SPACE) if action.name == "narrow")
    assert isinstance(weigh_action(narrow, state, flat, patient(accuracy)), Refused)
    for text in ("mes", "params=1"):
        weighed = weigh_action(narrow, state, flat, patient(accuracy), objective=Objective.parse(text, COSTS))
        assert isinstance(weighed, Weighed) and weighed.saved_ms == 0.0 and weighed.gained > 0
    by_latency_alone = weigh_action(
        narrow, state, flat, patient(accuracy), objective=Objective.parse("latency=1", COSTS)
    )
    assert isinstance(by_latency_alone, Refused)


def test_an_exchange_gains_at_least_half_a_percent_of_what_all_costs_gain():
    before = Costs(2.0, 4.0, 8.0, 16.0)
    assert Objective.parse("latency").least_exchange(before) == 0.01
    assert Objective.parse("params=2").least_exchange(before) == pytest.approx(-2 * math.log(0.995))
    assert Objective.parse("mes").least_exchange(before) == pytest.approx(
        mobile_efficiency_score(before) * (0.995**-1.5 - 1)
    )


@pytest.mark.parametrize("text", ["mes", "latency=1,params=0.5"])
def test_a_lazy_descent_goes_on_from_its_records(text):
    objective = Objective.parse(text, COSTS)

    def hopeful(subnet, least):
        return value if (value := accuracy(subnet)) >= least else None

    def take(state, known, count):
        steps = slim(state, IMPORTANCES, SPACE, weigh_lazily(latency, hopeful, known, objective), action_set="every")
        return [next(steps) for _ in range(count)]

    steps = take(start(), {}, 8)
    records = [start().to_record(), *(step.to_record(number) for number, step in enumerate(steps, start=1))]
    assert all("gain" in row for record in records[1:] for row in record["candidates"])
    for done in (1, 3, 6):
        assert take(State.from_record(records[done]), scores_known(records[: done + 1]), 8 - done) == steps[done:]


def test_rows_of_the_default_objective_are_those_of_earlier_journals():
    step = next(slim(start(), IMPORTANCES, SPACE, weigh_in_turn(latency, patient(accuracy))))
    assert all("gain" not in row for row in step.to_record(1)["candidates"])


@pytest.mark.parametrize("text", ["mes", "params=1"])
def test_what_is_given_up_could_not_have_won_and_is_remembered_by_what_it_costs_at_least(text):
    objective = Objective.parse(text, COSTS)

    def hopeful(subnet, least):
        return value if (value := accuracy(subnet)) >= least else None

    def take(weigh):
        steps = slim(start(), IMPORTANCES, SPACE, weigh, action_set="every")
        return [next(steps) for _ in range(10)]

    eager = take(weigh_in_turn(latency, patient(accuracy), objective))
    steps = take(weigh_in_turn(latency, hopeful, objective))
    assert [step.state for step in steps] == [step.state for step in eager]
    assert any(isinstance(candidate, GivenUp) for step in steps for candidate in step.candidates)
    rates = [candidate.score for candidate in steps[0].candidates if isinstance(candidate, Weighed)]
    known = scores_known([start().to_record(), steps[0].to_record(1)])
    assert all(any(score == pytest.approx(rate, abs=1e-6) for rate in rates) for score in known.values())
