import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from tests.latency.synthetic import Machine
from torch import nn

from efficientformer.analysis.observations.conclusions import advise, summarize_claims
from efficientformer.analysis.observations.experiment import Candidate, Observation, Plan
from efficientformer.analysis.observations.measure import measure_observations
from efficientformer.analysis.observations.plan import ACTIVATION_CLAIMS
from efficientformer.analysis.observations.verdict import COSTS, FAILS, HOLDS, SAVES
from efficientformer.errors import LatencyError
from efficientformer.provenance import machine

COSTS_OF = {"ReLU": 1.0, "GELU": 1.3, "Hardswish": 1.8, "SiLU": 1.1}


@dataclass
class Synthetic:
    """A runtime on which a network takes as long as its activation says, times what its placement in memory says."""

    name: str
    machine_of_it: Machine
    factors: dict[str, float]
    refused: type[nn.Module] | None = None
    placement: list[float] = field(default_factory=list)
    threads: int = 1

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "version": "1", "compute_unit": "none", "options": {}}

    def machine(self) -> dict[str, Any]:
        return machine()

    def prepare(self, module: nn.Module, input_shape: tuple[int, ...]) -> Any:
        kinds = {type(part) for part in module.modules()}
        if self.refused in kinds:
            raise LatencyError(f"{self.name} has no {self.refused.__name__}.")
        (factor,) = (self.factors[kind.__name__] for kind in kinds if kind.__name__ in self.factors)
        return self.machine_of_it.candidate(factor * (self.placement.pop(0) if self.placement else 1.0))

    def open(self, path: Any, input_shape: tuple[int, ...]) -> Any:
        raise NotImplementedError


def small_observation() -> Observation:
    """The fourth observation on networks of one convolution."""
    kinds = {"GELU": nn.GELU, "ReLU": nn.ReLU, "HardSwish": nn.Hardswish, "SiLU": nn.SiLU}

    def candidate(name: str, activation: str) -> Candidate:
        return Candidate(name, lambda: nn.Sequential(nn.Conv2d(3, 4, 1), kinds[activation]()), (1, 3, 8, 8))

    plan = Plan(4)
    for setting, word in (("4 in a row", "MLP"), ("whole L1", "L1")):
        made = {activation: candidate(f"{word} with {activation}", activation) for activation in kinds}
        for activation in ("GELU", "HardSwish", "SiLU"):
            claim, threshold, paper = ACTIVATION_CLAIMS[activation]
            words = f"{activation} against ReLU"
            plan.compare(claim, threshold, words, setting, made[activation], made["ReLU"], paper=paper)
    for activation in ("ReLU", "HardSwish", "SiLU"):
        plan.switch(activation, made["GELU"], made[activation])
    return plan.finished()


def measured(*runtimes: Any, **options: Any) -> Any:
    return measure_observations([small_observation()], runtimes, clock="cpu", rounds=40, **options)


@pytest.fixture(scope="module")
def findings():
    shared = Machine()
    slow = Synthetic("slow", shared, COSTS_OF)
    fast = Synthetic("fast", shared, dict.fromkeys(COSTS_OF, 1.0), refused=nn.SiLU)
    return measured(slow, fast)


def rows(findings: Any, runtime: str, activation: str) -> list[dict[str, Any]]:
    found = [row for row in findings.experiments if row["runtime"] == runtime and row["name"].startswith(activation)]
    assert found
    return found


def test_planted_ratios_are_found_with_their_verdicts(findings):
    for activation, planted, verdict in (("GELU", 1.3, FAILS), ("HardSwish", 1.8, HOLDS)):
        for row in rows(findings, "slow", activation):
            assert row["interval"][0] <= planted <= row["interval"][1]
            assert row["ratio"] == pytest.approx(planted, rel=0.02) and row["verdict"] == verdict
    assert all(row["verdict"] == HOLDS for row in rows(findings, "fast", "GELU"))
    assert all(row["verdict"] == FAILS for row in rows(findings, "fast", "HardSwish"))
    assert all(row["verdict"] is None for row in rows(findings, "slow", "SiLU"))


def test_what_a_runtime_cannot_run_is_listed_and_left_out(findings):
    assert [row["candidate"] for row in findings.failures] == ["MLP with SiLU", "L1 with SiLU"]
    assert not [row for row in findings.experiments if row["runtime"] == "fast" and row["name"].startswith("SiLU")]
    assert rows(findings, "slow", "SiLU")


def test_switches_and_claims_follow_from_the_ratios(findings):
    effects = {(row["runtime"], row["choice"]): row["effect"] for row in findings.switches}
    assert effects["slow", "ReLU"] == SAVES and effects["slow", "HardSwish"] == COSTS
    claims = {row["claim"]: row for row in summarize_claims(findings.experiments, findings.differences)}
    assert claims["gelu"]["runtimes"]["slow"]["verdict"] == FAILS
    assert claims["gelu"]["runtimes"]["fast"]["verdict"] == HOLDS
    assert claims["compiler"]["across"]["verdict"] == HOLDS
    assert claims["compiler"]["across"]["widest"]["highest"] == "slow"
    slow = next(row for row in advise(findings.switches) if row["runtime"] == "slow")
    assert slow["saves"][0]["choice"] == "ReLU"
    assert slow["saves"][0]["networks"][0]["percent"] == pytest.approx(100 * (1 / 1.3 - 1), abs=2)
    assert [item["choice"] for item in slow["costs"]] == ["HardSwish"]


def test_findings_are_plain_json_and_keep_every_sample(findings):
    content = json.loads(json.dumps(asdict(findings), allow_nan=False))
    assert min(len(row["samples_ms"]) for row in content["candidates"]) >= 40
    assert all(row["macs"] > 0 for row in content["candidates"])


def test_copies_that_differ_widen_every_interval_of_their_kind():
    num_candidates = len(small_observation().candidates)
    equal = dict.fromkeys(COSTS_OF, 1.0)
    # The last candidate is the copy of L1: it is 20 % slower for no reason.
    runtime = Synthetic("placed", Machine(), equal, placement=[1.0] * (num_candidates - 1) + [1.2])
    found = measured(runtime)
    (control,) = [row for row in found.controls if row["is_network"]]
    assert control["ratio"] == pytest.approx(1.2, rel=0.02)
    for row in found.experiments:
        low, high = row["interval"]
        assert (low < 0.86 and high > 1.16) == row["is_network"]
        assert row["rounds_interval"][1] < 1.05


def test_an_interrupted_measurement_goes_on_from_its_rounds(tmp_path):
    def stop(done: int, total: int, text: str) -> None:
        if "round 30" in text:
            raise KeyboardInterrupt

    def runtime() -> Synthetic:
        return Synthetic("slow", Machine(), COSTS_OF)

    with pytest.raises(KeyboardInterrupt):
        measured(runtime(), partial_dir=tmp_path, progress=stop)
    seen = []
    findings = measured(runtime(), partial_dir=tmp_path, progress=lambda done, total, text: seen.append((done, text)))
    texts = [text for _, text in seen if "round" in text]
    assert texts[0].endswith("round 31 of 40")
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(findings.candidates[0]["samples_ms"]) == 30 + len(texts)


def test_a_runtime_that_runs_nothing_is_an_error():
    with pytest.raises(LatencyError, match="broken cannot run any of the networks: broken has no Conv2d"):
        measured(Synthetic("broken", Machine(), COSTS_OF, refused=nn.Conv2d))
