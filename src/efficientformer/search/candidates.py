"""The state of a descent, and the outcomes of an action that a step considers. No torch.

A step considers every action and takes one. The outcome of an action is one of four. Weighed: its accuracy is known.
Refused: it gains nothing. Given up: it can no longer win. Left out: it cost too much when it was last weighed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efficientformer.search.actions import Action
from efficientformer.search.subnet import Subnet


@dataclass(frozen=True)
class State:
    """A point of the descent: a subnet, its latency predicted by the table, its accuracy (%) with the supernet's
    weights."""

    subnet: Subnet
    latency_ms: float
    accuracy: float

    def to_record(self) -> dict[str, Any]:
        return {**self.subnet.to_json(), "latency_ms": self.latency_ms, "accuracy": self.accuracy}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "State":
        return cls(Subnet.from_json(record), record["latency_ms"], record["accuracy"])


@dataclass(frozen=True)
class Candidate:
    """An action that a step considers, the latency of its result, and what that saves compared with the state.

    gain: what an objective other than latency gains; None: the objective is latency, and gains the milliseconds saved.
    """

    action: Action
    latency_ms: float
    saved_ms: float
    gain: float | None = field(default=None, kw_only=True)

    @property
    def gained(self) -> float:
        return self.saved_ms if self.gain is None else self.gain

    def to_record(self) -> dict[str, Any]:
        """One row of a step in a journal or a trace. Every row has the same keys; unknown values are None. Only rows of
        an objective other than latency have a `gain`."""
        gain = {} if self.gain is None else {"gain": self.gain}
        return {
            "action": self.action.name,
            "stage": self.action.stage,
            "block": self.action.block,
            "wider": self.action.wider,
            "further": [list(place) for place in self.action.further],
            "into": self.action.into,
            "text": str(self.action),
            "latency_ms": self.latency_ms,
            "saved_ms": self.saved_ms,
            **gain,
            "accuracy": None,
            "drop": None,
            "score": None,
            "below": None,
            "last_score": None,
        }


@dataclass(frozen=True)
class Weighed(Candidate):
    """An action whose accuracy is known; `drop` is the accuracy that it costs, in percentage points."""

    accuracy: float
    drop: float

    @property
    def score(self) -> float:
        """Accuracy lost per gain of the objective, such as per millisecond saved (paper, section 4.2). The lowest wins;
        gains in accuracy are negative."""
        return self.drop / self.gained

    @property
    def result(self) -> State:
        """The state after the action."""
        return State(self.action.result, self.latency_ms, self.accuracy)

    def to_record(self) -> dict[str, Any]:
        return super().to_record() | {"accuracy": self.accuracy, "drop": self.drop, "score": self.score}


@dataclass(frozen=True)
class Refused(Candidate):
    """An action that gains nothing, or an exchange that gains too little. Its accuracy is not computed."""


@dataclass(frozen=True)
class GivenUp(Candidate):
    """An action whose evaluation ended early: its accuracy is `below` the least that could still win the step."""

    below: float

    def to_record(self) -> dict[str, Any]:
        return super().to_record() | {"below": self.below}


@dataclass(frozen=True)
class LeftOut(Candidate):
    """An action that a lazy step did not evaluate: its `last_score` is higher than the best score of this step."""

    last_score: float

    def to_record(self) -> dict[str, Any]:
        return super().to_record() | {"last_score": self.last_score}
