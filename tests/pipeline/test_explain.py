import pytest

from efficientformer.errors import UsageError
from efficientformer.pipeline.explain import explain_step


def candidate(text, saved_ms, drop, below=None, last_score=None):
    score = None if drop is None else drop / saved_ms
    return {
        **{"text": text, "saved_ms": saved_ms, "drop": drop, "score": score},
        **{"below": below, "last_score": last_score},
    }


def trace(*candidates, taken=0):
    start = {"latency_ms": 10.0, "accuracy": 80.0}
    step = {"step": 1, "candidates": list(candidates), "taken": taken, "latency_ms": 8.0, "accuracy": 79.0}
    return {"metric": "top1", "start": start, "steps": [step]}


def test_the_winner_comes_first_and_refused_actions_last():
    found = explain_step(
        trace(candidate("refused", 0.0, None), candidate("dear", 1.0, 2.0), candidate("won", 2.0, 1.0), taken=2), 1
    )
    assert [row["text"] for row in found["candidates"]] == ["won", "dear", "refused"]
    assert (
        found["before"] == {"latency_ms": 10.0, "accuracy": 80.0}
        and found["after"]["accuracy"] == 79.0
        and found["metric"] == "top1"
    )
    assert found["why"] == (
        "Step taken: won, which saves 2.0000 ms and costs 1.00 points: 0.50 per millisecond. "
        "Next would be: dear, at 2.00 points per millisecond."
    )


@pytest.mark.parametrize(
    ("candidates", "words"),
    [
        ([candidate("won", 1.0, -0.5), candidate("other", 1.0, 0.1)], "gains 0.50 points. Next would be: other"),
        ([candidate("won", 1.0, 0.0)], "costs nothing. No other action saves time."),
        (
            [candidate("won", 1.0, 0.5), candidate("refused", 0.0, None), candidate("late", 1.0, None, below=79.5)],
            "No other action could cost as little per millisecond.",
        ),
        (
            [candidate("won", 1.0, 0.5), candidate("refused", 0.0, None), candidate("dear", 1.0, None, last_score=2.0)],
            "Every other action cost more per millisecond when it was last weighed.",
        ),
        ([candidate("won", 2.0, 2.0), candidate("other", 1.0, 1.0)], "Other costs the same per millisecond, but saves"),
    ],
)
def test_gains_ties_and_lonely_winners_are_told(candidates, words):
    assert words in explain_step(trace(*candidates), 1)["why"]


@pytest.mark.parametrize("number", [0, 2, -1])
def test_steps_that_are_not_there_are_refused(number):
    with pytest.raises(UsageError, match=r"no step .*steps 1 to 1"):
        explain_step(trace(candidate("won", 1.0, 1.0)), number)
    with pytest.raises(UsageError, match="no steps"):
        explain_step({"start": {}, "steps": []}, number)


def test_an_objective_is_named_with_its_unit_and_gain():
    won = {**candidate("won", 1.0, 1.0), "saved_ms": 0.0, "gain": 2.0, "score": 0.5}
    other = {**candidate("other", 1.0, 3.0), "gain": 1.0}
    why = explain_step({**trace(won, other), "objective": "mes"}, 1)["why"]
    assert why == (
        "Step taken: won, which saves no time, gains 2 by mes, and costs 1.00 points: 0.50 per point of MES. "
        "Next would be: other, at 3.00 points per point of MES."
    )
    alone = {**trace({**won, "saved_ms": -0.5}), "objective": "params=1"}
    why = explain_step(alone, 1)["why"]
    assert "adds 0.5000 ms, gains 2 by params=1, and" in why and why.endswith("No other action gains anything.")
