from typing import Any

import pytest

from efficientformer.analysis.observations.claims import CLAIMS
from efficientformer.analysis.observations.conclusions import MEANINGS, TOPICS, UNKNOWN, advise, summarize_claims
from efficientformer.analysis.observations.verdict import FAILS, HOLDS, IN_PART, UNDECIDED


def row(verdict: str, ratio: float, claim: str | None = "attention", **changes: Any) -> dict[str, Any]:
    macs = {"subject_macs": 300, "baseline_macs": 200}
    return {"claim": claim, "runtime": "a", "verdict": verdict, "ratio": ratio, "is_network": False, **macs, **changes}


def test_every_verdict_on_every_claim_has_a_meaning():
    assert set(MEANINGS) == {(key, verdict) for key in TOPICS for verdict in (HOLDS, FAILS, IN_PART)}
    assert set(TOPICS) <= set(CLAIMS)


def test_a_claim_is_summed_up_over_its_experiments():
    (summary,) = summarize_claims([row(HOLDS, 1.5), row(FAILS, 2.4), row(UNDECIDED, 1.9, is_network=True)], [])
    found = summary["runtimes"]["a"]
    assert (found["verdict"], found["num_held"], found["num_experiments"]) == (IN_PART, 1, 3)
    assert (found["low"], found["high"]) == (1.5, 2.4)
    # The ratio of a whole network is not that of a single part.
    assert found["meaning"].endswith("Per multiply-accumulate, it takes 1.0 to 1.6 times as long.")


def test_equal_multiply_accumulates_are_not_mentioned():
    equal = {"subject_macs": 200, "baseline_macs": 200}
    (summary,) = summarize_claims([row(UNDECIDED, 1.5, "norm", **equal)], [])
    assert summary["runtimes"]["a"]["meaning"] == UNKNOWN


def test_rows_without_a_claim_and_claims_without_rows_are_left_out():
    assert summarize_claims([row(HOLDS, 1.0, claim=None)], []) == []


@pytest.mark.parametrize(("verdicts", "verdict"), [([FAILS, HOLDS], HOLDS), ([FAILS, FAILS], FAILS)])
def test_one_activation_that_differs_between_runtimes_is_enough(verdicts, verdict):
    differences = [{"verdict": word, "interval": (1.0 + index, 3.0)} for index, word in enumerate(verdicts)]
    (summary,) = summarize_claims([], differences)
    assert summary["claim"] == "compiler" and summary["across"]["verdict"] == verdict
    assert summary["across"]["widest"]["interval"] == (2.0, 3.0)


def test_advice_lists_what_saves_most_first():
    def switch(choice: str, network: str, ratio: float, effect: str) -> dict[str, Any]:
        return {"runtime": "a", "choice": choice, "network": network, "ratio": ratio, "effect": effect}

    (advice,) = advise(
        [
            switch("ReLU", "L1", 0.95, "saves"),
            switch("ReLU", "L3", 0.99, "no difference"),
            switch("pooling only", "L1", 0.9, "saves"),
            switch("layer norm", "L1", 1.3, "costs"),
        ]
    )
    assert [item["choice"] for item in advice["saves"]] == ["pooling only", "ReLU"]
    assert advice["costs"][0]["networks"] == [{"network": "L1", "percent": pytest.approx(30)}]
    assert advice["equal"][0]["networks"][0]["network"] == "L3" and advice["untold"] == []
