"""Records of the supernet and of slimming: `supernet/record.json`, `slim/*`, `rank/*`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from efficientformer.arch.spec import KINDS, MAX_DEPTH, NUM_STAGES
from efficientformer.formats.run import BudgetValue
from efficientformer.formats.values import (
    ArchitectureValue,
    Count,
    Factor,
    FolderName,
    Index,
    Interval,
    Milliseconds,
    MillisecondsBetween,
    Number,
    Origins,
    Percent,
    Positive,
    Provenance,
    Share,
    check_origins,
    has_score,
)
from efficientformer.reading import rule

MetricName = Literal["likelihood", "top1", "mean_ap", "box_ap", "miou"]
Score = Annotated[float, Field(ge=-1e15, le=1e15)]
"""Percentage points per gain of the objective, such as a millisecond."""
StageNumber = Annotated[int, Field(ge=1, le=NUM_STAGES)]
BlockNumber = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Tau = Annotated[float, Field(ge=-1.001, le=1.001)]


def _are_paths(paths: dict[str, float]) -> dict[str, float]:
    if not {"identity"} < set(paths) <= {"identity", *KINDS}:
        raise ValueError("must have the probabilities of identity and of one or more kinds of block")
    return paths


class ParentAbout(TypedDict):
    """The parent of a run: the network of --init, after fine-tuning."""

    init: str
    head: Literal["new", "kept"]
    init_resolution: NotRequired[Any]
    top1: NotRequired[Percent]
    """On held-out images; so are mean_ap, of several labels an image, and box_ap, of a detection."""
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    box_ap: NotRequired[Percent]
    elastic_epochs: NotRequired[Count]
    """In which smaller networks learned in its weights; without it, none."""


class SupernetRecord(TypedDict):
    """`supernet/record.json`."""

    epochs: Count
    num_steps: Count
    parent: NotRequired[ParentAbout]
    """The trained network that its weights are from."""
    alphas: NotRequired[
        Annotated[
            list[Annotated[list[Annotated[dict[str, Share], AfterValidator(_are_paths)]], Field(min_length=1)]],
            Field(min_length=NUM_STAGES, max_length=NUM_STAGES),
        ]
    ]
    """Probabilities of the paths of every MetaPath, stage by stage; without MetaPaths, none."""
    held_out_top1: NotRequired[Percent]
    held_out_mean_ap: NotRequired[Percent]
    held_out_miou: NotRequired[Percent]
    held_out_box_ap: NotRequired[Percent]
    settings: dict[str, Any]
    provenance: NotRequired[Provenance]


@rule(SupernetRecord)
def _has_held_out_score(record: SupernetRecord) -> None:
    has_score(record, "held_out_")
    if "parent" in record:
        has_score(record["parent"])


class EvaluationLine(TypedDict):
    """A line of `slim/evaluations.jsonl`: the score of a subnet, by its digest."""

    subnet: str
    top1: NotRequired[Percent]
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    box_ap: NotRequired[Percent]
    likelihood: Percent


rule(EvaluationLine)(has_score)


class StateRecord(TypedDict):
    """A network on the way down, with the supernet's score of it."""

    architecture: ArchitectureValue
    origins: Origins
    latency_ms: Milliseconds
    accuracy: Percent
    top1: NotRequired[Percent]
    mean_ap: NotRequired[Percent]
    miou: NotRequired[Percent]
    box_ap: NotRequired[Percent]


class CandidateRecord(TypedDict):
    """An action that a step considered; see `search.candidates`."""

    action: Literal[
        "identity", "swap", "contract", "prune", "narrow", "narrow_fpn", "narrow_head", "shorten_head", "exchange"
    ]
    stage: StageNumber | None
    """None for an action on a dense head."""
    block: BlockNumber | None
    wider: StageNumber | None
    further: list[list[Index]]
    into: str | None
    text: str
    latency_ms: Milliseconds
    saved_ms: MillisecondsBetween
    gain: NotRequired[Number]
    """Of an objective other than latency."""
    accuracy: Percent | None
    drop: Number | None
    score: Score | None
    below: Score | None
    last_score: Score | None


class StepRecord(StateRecord):
    """A line of `slim/steps.jsonl` after the first: the state after a step, and the candidates that it considered."""

    step: Positive
    candidates: Annotated[list[CandidateRecord], Field(min_length=1)]
    taken: Count
    after: NotRequired[Count]
    """In a trace, the number of the step that it follows, where that is not the one before it."""
    round: NotRequired[Annotated[int, Field(ge=1, le=2)]]
    """In a trace, of slimming in two rounds; without it, the first."""


def _check_step(step: Any) -> Any:
    check_origins(step)
    if step["taken"] >= len(step["candidates"]):
        raise ValueError(f"taken must be the index of one of {len(step['candidates'])} candidates")
    taken = step["candidates"][step["taken"]]
    if taken["score"] is None or taken["drop"] is None or taken.get("gain", taken["saved_ms"]) <= 0:
        raise ValueError("the candidate that was taken must have a score, and gain something, by default time")
    return step


rule(StateRecord)(check_origins)
rule(StepRecord)(_check_step)
State = Annotated[StateRecord, AfterValidator(check_origins)]


class TrialRecord(StateRecord):
    trial_top1: NotRequired[Percent]
    trial_mean_ap: NotRequired[Percent]
    trial_miou: NotRequired[Percent]
    trial_box_ap: NotRequired[Percent]


def _check_trial(trial: Any) -> Any:
    return has_score(check_origins(trial), "trial_")


class FoundRecord(TypedDict):
    """The network that slimming found for one budget."""

    budget: str
    budget_value: BudgetValue
    slug: FolderName
    budget_ms: Milliseconds
    target_ms: Milliseconds
    step: Count
    weights: NotRequired[str | None]
    """The name of the recovered weights that scored it; None: the supernet's."""
    predicted_ms: Milliseconds
    predicted_interval_ms: NotRequired[Interval]
    accuracy: Percent
    architecture: ArchitectureValue
    origins: Origins
    polish: list[State]
    trials: list[Annotated[TrialRecord, AfterValidator(_check_trial)]]


class RoundRecord(StateRecord):
    """The network at half of the latency after it was trained, from which the second round went on."""

    step: Count
    weights: str
    """The name of the supernet's weights after that training."""
    epochs: Count


class CorrectionRecord(TypedDict):
    """A proposal that measured too slow."""

    budget: str
    step: Count
    measured_ms: Milliseconds
    limit_ms: Milliseconds
    predicted_ms: Milliseconds
    scale: Factor


class Trace(TypedDict):
    """`slim/trace.json`."""

    metric: MetricName
    objective: NotRequired[str]
    """As in the setting; without it, latency."""
    channels: NotRequired[Literal["first", "important"]]
    """Which channels narrow networks keep; without it, the first."""
    start: State
    steps: list[Annotated[StepRecord, AfterValidator(_check_step)]]
    budgets: list[Annotated[FoundRecord, AfterValidator(check_origins)]]
    corrections: list[CorrectionRecord]
    round: NotRequired[Annotated[RoundRecord, AfterValidator(check_origins)]]
    """Without it, there was one round."""
    num_evaluations: Count
    descent: NotRequired[str]
    """The fingerprint of the descent, which its recovered weights bear."""
    provenance: NotRequired[Provenance]


@rule(Trace)
def _steps_exist(trace: Trace) -> None:
    numbered = {f"budgets.{index}.step": row["step"] for index, row in enumerate(trace["budgets"])}
    numbered |= {f"steps.{index}.after": row["after"] for index, row in enumerate(trace["steps"]) if "after" in row}
    numbered |= {"round.step": trace["round"]["step"]} if "round" in trace else {}
    for name, number in numbered.items():
        if number > len(trace["steps"]):
            raise ValueError(f"{name} is {number}, and there are {len(trace['steps'])} steps")


def states(trace: Any) -> list[dict[str, Any]]:
    """The largest network of a trace, and that after every step, by the number of the step."""
    return [trace["start"], *trace["steps"]]


def states_before(trace: Any) -> list[dict[str, Any]]:
    """For each step of a trace the state that it starts from: the one before it, that after step `after`, or for the
    first of a second round the network as it was trained."""
    reached, trained = states(trace), trace.get("round")
    numbers = [step.get("after", index) for index, step in enumerate(trace["steps"])]
    return [
        trained if trained and step.get("round") == 2 and number == trained["step"] else reached[number]
        for number, step in zip(numbers, trace["steps"], strict=True)
    ]


class RivalRow(StateRecord):
    """What one search method found."""

    name: str
    num_evaluations: Count
    count: NotRequired[Positive]
    all_accuracy: NotRequired[list[Percent]]
    mean_accuracy: NotRequired[Percent]


class MissingRival(TypedDict):
    """A search method that found no network within the budget."""

    name: str
    reason: str


class SlimmedRow(TypedDict):
    architecture: ArchitectureValue
    origins: Origins
    accuracy: Percent
    num_evaluations: Count


class SurrogateRecord(TypedDict):
    """Drops on the additive surrogate, in percentage points."""

    greedy_drop: Number
    optimum_drop: Number
    gap: Number
    optimum_gap: NotRequired[Number]
    """Points by which another network may be better than `optimum`; without it, none is."""
    slimmed_drop: NotRequired[Number]
    optimum: RivalRow


class BaselinesRow(TypedDict):
    budget: str
    slug: FolderName
    latency_ms: Milliseconds
    slimmed: SlimmedRow
    baselines: list[RivalRow]
    missing: NotRequired[list[MissingRival]]
    """Without it, every method found a network."""
    surrogate: NotRequired[SurrogateRecord]
    """Missing where greedy slimming does not reach the budget on the surrogate."""


class Baselines(TypedDict):
    """`slim/baselines.json`."""

    metric: MetricName
    budgets: list[BaselinesRow]
    provenance: NotRequired[Provenance]


class RankedRow(TypedDict):
    """A random network: by the supernet, and trained alone."""

    architecture: ArchitectureValue
    origins: Origins
    latency_ms: Milliseconds
    supernet_accuracy: Percent
    alone_top1: NotRequired[Percent]
    alone_mean_ap: NotRequired[Percent]
    alone_miou: NotRequired[Percent]
    alone_box_ap: NotRequired[Percent]
    seconds: Annotated[float, Field(ge=0, le=1e12)]


def _check_ranked(row: Any) -> Any:
    return has_score(row, "alone_")


class RankRecord(TypedDict):
    """`rank/rank.json`."""

    kendall_tau: Tau
    interval: Annotated[list[Tau], Field(min_length=2, max_length=2)]
    latency_tau: Tau
    networks: Annotated[list[Annotated[RankedRow, AfterValidator(_check_ranked)]], Field(min_length=1)]
    provenance: NotRequired[Provenance]
