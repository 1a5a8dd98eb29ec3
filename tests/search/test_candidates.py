"""Rows of a journal: earlier journals have these keys, and explanations and reports read them."""

import pytest

from efficientformer.search.actions import possible_actions
from efficientformer.search.candidates import GivenUp, LeftOut, Refused, State, Weighed

from .by_hand import IMPORTANCES, SPACE, start

ACTION = possible_actions(start().subnet, IMPORTANCES, SPACE)[0]
KNOWN_OF_EVERY_ACTION = {
    "action": "identity",
    "stage": 4,
    "block": 2,
    "wider": None,
    "further": [],
    "into": None,
    "text": "block 2 of stage 4 becomes identity",
    "latency_ms": 8.0,
    "saved_ms": 2.0,
}
UNKNOWN = {"accuracy": None, "drop": None, "score": None, "below": None, "last_score": None}


@pytest.mark.parametrize(
    ("candidate", "known"),
    [
        (Weighed(ACTION, 8.0, 2.0, 89.0, 1.0), {"accuracy": 89.0, "drop": 1.0, "score": 0.5}),
        (Refused(ACTION, 8.0, 2.0), {}),
        (GivenUp(ACTION, 8.0, 2.0, 88.5), {"below": 88.5}),
        (LeftOut(ACTION, 8.0, 2.0, 0.75), {"last_score": 0.75}),
    ],
)
def test_rows_have_the_same_keys_in_the_same_order(candidate, known):
    assert list(candidate.to_record().items()) == list({**KNOWN_OF_EVERY_ACTION, **UNKNOWN, **known}.items())


def test_an_action_weighed_says_where_it_leads():
    assert Weighed(ACTION, 8.0, 2.0, 89.0, 1.0).result == State(ACTION.result, 8.0, 89.0)
    assert State.from_record(start().to_record()) == start()
