"""One budget of `baselines`, on a device and a supernet of known latencies and scores."""

import random
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.latency.synthetic import chain_latency_ms

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import v2_space
from efficientformer.errors import BudgetError
from efficientformer.formats.slimming import Baselines
from efficientformer.latency.tables.fit import fit_table, plan_table
from efficientformer.pipeline.phases import baselines
from efficientformer.reading import checked
from efficientformer.report import wording
from efficientformer.search.objective import LATENCY
from efficientformer.search.rivals import baselines as rivals
from efficientformer.search.rivals.surrogate import fit_surrogate
from efficientformer.search.subnet import Subnet

SPACE = v2_space("small", (32, 48, 64, 64), (2, 2, 2, 2), expansions=(4, 2, 1))
IMPORTANCES = [[1.0 + place for place in range(depth)] for depth in SPACE.max_depths]


def score(subnet: Subnet) -> float:
    """More blocks, wider MLPs and wider stages are better."""
    stages = subnet.architecture.stages
    ratios = sum(1 + block.mlp_ratio for stage in stages for block in stage.blocks)
    return 20 + 0.5 * ratios + sum(stage.width for stage in stages) / 16


class Scorer:
    def __call__(self, subnet: Subnet) -> float:
        return score(subnet)

    def whole_ahead(self, asked: Iterable[Any]) -> None:
        """One process scores all."""

    def all_ahead(self, subnets: Sequence[Subnet]) -> None:
        """The same."""


@pytest.fixture(scope="module")
def search() -> baselines._Search:
    plan = plan_table(SPACE, 32, 5, chain_length=3, num_networks=8, seed=0)
    walks = [*plan.chains, *(network_parts(network, 32, 5) for network in plan.networks)]
    truth = [chain_latency_ms(walk) for walk in walks]
    facts: dict[str, Any] = {"runtime": {}, "threads": 1, "clock": "cpu"}
    origin = {"machine": {}, "versions": {}, "time": "", "load": 0.0, "command": ""}
    table = fit_table(plan, np.tile(truth, (16, 1)).tolist(), **facts, provenance=origin)
    return baselines._Search(SPACE, table, IMPORTANCES, "every", LATENCY, Scorer(), lambda *_: None, set())  # type: ignore[arg-type]


def compare(search: baselines._Search, subnet: Subnet, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The row of the latency of this network, in a record that can be read again."""
    monkeypatch.setattr(rivals, "MAX_DRAWS", 300)
    settings = SimpleNamespace(baselines=SimpleNamespace(random=5, evolution=1.0), seed=0)
    latency_ms = search.latency(subnet.architecture)
    entry = {"budget": "tight", "slug": "tight", "predicted_ms": latency_ms, "accuracy": score(subnet)}
    workspace: Any = SimpleNamespace(settings=settings)
    surrogate = fit_surrogate(SPACE, search.accuracy)
    row = baselines._budget_record(workspace, search, surrogate, entry | subnet.to_json(), 20)  # type: ignore[arg-type]
    assert checked({"metric": "top1", "budgets": [row]}, Baselines)
    return row


def test_a_budget_that_some_rivals_cannot_meet_has_the_rows_of_the_others_and_the_reasons(search, monkeypatch):
    row = compare(search, Subnet.smallest(SPACE), monkeypatch)
    reasons = {rival["name"]: rival["reason"] for rival in row["missing"]}
    assert set(reasons) == {"scaled_v2_s0", "coarse", "random"}
    assert "cannot be scaled down to" in reasons["scaled_v2_s0"] and "Slimming ended at" in reasons["coarse"]
    assert "random networks takes" in reasons["random"]
    found = [rival["name"] for rival in row["baselines"]]
    assert found == ["slim_by_macs", "slim_by_params", "slim_by_mes", "evolution"]
    assert all(rival["latency_ms"] <= row["latency_ms"] + 1e-9 for rival in row["baselines"])
    said = [line for line in baselines.summary_lines(row) if "no row for" in line]
    assert said[0].startswith(f"  no row for scaled_v2_s0 at {row['latency_ms']:.3f} ms: EfficientFormerV2-S0 cannot")
    assert len(said) == 3


def test_a_budget_that_every_rival_meets_names_none(search, monkeypatch):
    row = compare(search, Subnet.random(SPACE, random.Random(5)), monkeypatch)
    assert "missing" not in row and len(row["baselines"]) == 7 and "surrogate" in row
    assert not any("no row" in line for line in baselines.summary_lines(row))


def test_slimming_that_ends_on_the_surrogate_leaves_its_gap_out(search, monkeypatch):
    def ends(*_: Any) -> dict[str, Any]:
        raise BudgetError("Slimming ended at 2.000 ms.")

    monkeypatch.setattr(baselines, "_surrogate_record", ends)
    row = compare(search, Subnet.random(SPACE, random.Random(5)), monkeypatch)
    assert row["missing"] == [{"name": "surrogate", "reason": "Slimming ended at 2.000 ms."}] and "surrogate" not in row
    assert "surrogate at" in baselines.summary_lines(row)[-1]


def test_rivals_have_words_with_and_without_a_count():
    assert wording.baseline("random", 50) == "best of 50 random networks"
    assert wording.baseline("random") == "random networks" and wording.baseline("{of} mine") == "{of} mine"
