"""Phase `baselines`: compare slimming with simpler search methods at equal latency.

All networks are scored with the weights that scored the slimmed network: the supernet's, or those after its last
recovery. Nothing is trained. The gap of greedy slimming to the optimum is computed on an additive surrogate, whose
optimum is exact, or a bound if weights miss a cache. A rival that finds no network within the budget has no row; the
record says why.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from efficientformer.arch.cost import network_cost
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.formats.slimming import Baselines, BaselinesRow, FoundRecord, Trace
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.networks.led import led
from efficientformer.pipeline.run.console import ProgressUpdate
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.plan import BASELINES, SLIM
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.importances import place_importances
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.search.actions import ActionSet
from efficientformer.search.importance import Importances
from efficientformer.search.objective import LATENCY, Objective, costs_at
from efficientformer.search.rivals.baselines import (
    MAX_DRAWS,
    CoarseSpace,
    published,
    random_subnets,
    scaled_published,
    slim_by,
)
from efficientformer.search.rivals.evolution import evolve
from efficientformer.search.rivals.optimum import Optimum, find_optimum
from efficientformer.search.rivals.surrogate import AdditiveSurrogate, fit_surrogate
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle, unprepared

MakeRow = Callable[[], dict[str, Any]]
"""Runs a rival; raises BudgetError if it finds no network within the budget."""
EQUAL = 0.03
"""Random networks count as equally fast if they are at most this share faster."""


def run(workspace: Workspace) -> None:
    led(workspace, _run)


def _run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    table = load_table(workspace)
    SLIM.require(workspace)
    BASELINES.run(workspace, lambda _: _compare(workspace, table))
    for row in read_record(run_dir.baselines, Baselines)["budgets"]:
        for line in summary_lines(row):
            workspace.console.say(line)


def summary_lines(row: BaselinesRow) -> list[str]:
    """The results for one budget, as lines of text."""
    slimmed = row["slimmed"]
    lines = [f"{row['budget']}: slimmed {slimmed['accuracy']:.1f} % after {slimmed['num_evaluations']} evaluations"]
    for rival in row["baselines"]:
        mean = ""
        if "count" in rival and "mean_accuracy" in rival:
            mean = f", mean of {rival['count']} {rival['mean_accuracy']:.1f} %"
        lines.append(
            f"  {rival['name']} {rival['accuracy']:.1f} %{mean} at {rival['latency_ms']:.3f} ms, "
            f"{rival['num_evaluations']} evaluations"
        )
    for rival in row.get("missing", []):
        lines.append(f"  no row for {rival['name']} at {row['latency_ms']:.3f} ms: {rival['reason']}")
    if (surrogate := row.get("surrogate")) is None:
        return lines
    lines.append(
        f"  on the additive surrogate, greedy slimming loses {surrogate['greedy_drop']:.2f} points and the optimum "
        f"{surrogate['optimum_drop']:.2f}: the gap is {surrogate['gap']:.2f}"
        + (f"; the optimum is known to {known:.2f}" if (known := surrogate.get("optimum_gap")) else "")
    )
    return lines


@dataclass(frozen=True)
class _Search:
    """The oracles and options of every baseline. `scored` are the subnets that the current one had scored."""

    space: SearchSpace
    table: LatencyTable
    importances: Importances
    action_set: ActionSet
    objective: Objective
    scorer: CachedScorer
    progress: ProgressUpdate
    scored: set[Subnet]

    def latency(self, architecture: Architecture) -> float:
        return self.table.predict(architecture)

    def macs(self, architecture: Architecture) -> float:
        return network_cost(architecture, self.table.resolution, self.table.num_classes).macs

    def num_params(self, architecture: Architecture) -> float:
        return network_cost(architecture, self.table.resolution, self.table.num_classes).num_params

    def slim_by(
        self,
        price: Callable[[Architecture], float],
        budget_ms: float,
        *,
        surrogate: AccuracyOracle | None = None,
        space: SearchSpace | None = None,
        objective: Objective = LATENCY,
    ) -> Subnet:
        """By the accuracy of the supernet, or of its surrogate."""
        return slim_by(
            space or self.space,
            self.importances,
            price=price,
            latency=self.latency,
            accuracy=surrogate or self.accuracy,
            budget_ms=budget_ms,
            action_set=self.action_set,
            objective=objective,
            ahead=unprepared if surrogate else self.scorer.whole_ahead,
        )

    def other_objectives(self, budget_ms: float) -> dict[str, MakeRow]:
        """Slimming by latency alone, by size alone and by both (V2's MES), whichever slimming itself did not do; and in
        a space with expansions or heads without touching these, which V2 calls coarse."""
        space, rivals = self.space, dict[str, MakeRow]()
        is_fine = space.has_expansions or space.has_heads
        if self.objective.is_latency and not is_fine:
            return rivals

        def slimmed(price: Callable[[Architecture], float], **options: Any) -> MakeRow:
            return lambda: self.row(lambda: self.slim_by(price, budget_ms, **options))

        if not self.objective.is_latency:
            rivals["slim_by_latency"] = slimmed(self.latency)
        rivals["slim_by_params"] = slimmed(self.num_params)
        if self.objective.name != "mes":
            mes = Objective.parse("mes", costs_at(self.table.resolution, self.table.num_classes))
            rivals["slim_by_mes"] = slimmed(self.latency, objective=mes)
        if is_fine:
            rivals["coarse"] = slimmed(self.latency, space=CoarseSpace.of(space), objective=self.objective)
        return rivals

    def random_row(self, budget_ms: float, count: int, rng: random.Random) -> dict[str, Any]:
        """The best of random networks that are almost as slow as the budget, and the accuracies of all."""
        fastest_ms = (1 - EQUAL) * budget_ms
        drawn = random_subnets(
            self.space, self.latency, fastest_ms=fastest_ms, slowest_ms=budget_ms, count=count, rng=rng
        )
        if not drawn:
            raise BudgetError(f"None of {MAX_DRAWS:,} random networks takes {fastest_ms:.3f} to {budget_ms:.3f} ms.")
        self.scorer.all_ahead(drawn)
        accuracies = [self.accuracy(subnet) for subnet in drawn]
        best = max(zip(accuracies, range(len(drawn)), strict=True))[1]
        counted = {"num_evaluations": len(drawn), "count": len(drawn), "all_accuracy": accuracies}
        return self.row(lambda: drawn[best]) | counted | {"mean_accuracy": sum(accuracies) / len(accuracies)}

    def fit_surrogate(self) -> AdditiveSurrogate:
        asked: list[Subnet] = []

        def note(subnet: Subnet) -> float:
            asked.append(subnet)
            return 0.0

        fit_surrogate(self.space, note)  # asks for the same subnets whatever their scores
        self.scorer.all_ahead(asked)
        return fit_surrogate(self.space, self.accuracy)

    def accuracy(self, subnet: Subnet) -> float:
        self.scored.add(subnet)
        self.progress(len(self.scored), 0, "networks scored")
        return self.scorer(subnet)

    def row(self, find: Callable[[], Subnet]) -> dict[str, Any]:
        self.scored.clear()
        subnet = find()
        accuracy = self.accuracy(subnet)
        return {
            **subnet.to_json(),
            "latency_ms": self.latency(subnet.architecture),
            "accuracy": accuracy,
            "num_evaluations": len(self.scored),
        }


def _compare(workspace: Workspace, table: LatencyTable) -> None:
    trace = read_record(workspace.run_dir.trace, Trace)
    scorer = CachedScorer(workspace)
    importances = place_importances(workspace, scorer)
    rows = []
    with workspace.console.progress("baselines") as progress:
        slim, costs = workspace.settings.slim, costs_at(table.resolution, table.num_classes)
        objective = Objective.parse(slim.objective, costs)
        search = _Search(workspace.space, table, importances, slim.actions, objective, scorer, progress, set())
        versions, surrogates = Versions(workspace, scorer, trace.get("descent", "")), {}
        for entry in trace["budgets"]:
            weights = entry.get("weights")
            versions.use(weights)
            if weights not in surrogates:
                surrogates[weights] = search.fit_surrogate()
            surrogate = surrogates[weights]
            rows.append(_budget_record(workspace, search, surrogate, entry, trace["num_evaluations"]))
    write_record(workspace.run_dir.baselines, {"metric": scorer.metric, "budgets": rows, "provenance": provenance()})


def _budget_record(
    workspace: Workspace, search: _Search, surrogate: AdditiveSurrogate, entry: FoundRecord, num_evaluations: int
) -> dict[str, Any]:
    """All baselines at the predicted latency of the network that slimming found for one budget."""
    settings, budget_ms = workspace.settings.baselines, entry["predicted_ms"]
    space, rng = search.space, random.Random(f"{workspace.settings.seed}/{entry['slug']}")

    def scaled() -> Subnet:
        return scaled_published(space, search.importances, search.latency, budget_ms)

    def evolved() -> Subnet:
        wanted = round(settings.evolution * num_evaluations)
        oracles = {"latency": search.latency, "accuracy": search.accuracy, "budget_ms": budget_ms}
        return evolve(space, **oracles, num_evaluations=wanted, rng=rng)

    rivals: dict[str, MakeRow] = {
        f"scaled_{published(space)[0]}": lambda: search.row(scaled),
        "slim_by_macs": lambda: search.row(lambda: search.slim_by(search.macs, budget_ms)),
        **search.other_objectives(budget_ms),
        "random": lambda: search.random_row(budget_ms, settings.random, rng),
        **({"evolution": lambda: search.row(evolved)} if settings.evolution else {}),
    }
    rows, missing = made_rows(rivals)
    on_surrogate, without_surrogate = made_rows(
        {"surrogate": lambda: _surrogate_record(search, surrogate, Subnet.from_json(entry), budget_ms)}
    )
    missing += without_surrogate
    return {
        "budget": entry["budget"],
        "slug": entry["slug"],
        "latency_ms": budget_ms,
        "slimmed": {
            "architecture": entry["architecture"],
            "origins": entry["origins"],
            "accuracy": entry["accuracy"],
            "num_evaluations": num_evaluations,
        },
        "baselines": [{"name": name, **row} for name, row in rows.items()],
        **({"missing": missing} if missing else {}),
        **on_surrogate,
    }


def made_rows(rivals: Mapping[str, MakeRow]) -> tuple[dict[str, dict[str, Any]], list[dict[str, str]]]:
    """The rows of the rivals that found a network within the budget; of each other one, its name and the reason."""
    rows, missing = dict[str, dict[str, Any]](), list[dict[str, str]]()
    for name, make_row in rivals.items():
        try:
            rows[name] = make_row()
        except BudgetError as error:
            missing.append({"name": name, "reason": str(error)})
    return rows, missing


def _surrogate_record(
    search: _Search, surrogate: AdditiveSurrogate, slimmed: Subnet, budget_ms: float
) -> dict[str, Any]:
    """Drops of greedy slimming and of the optimum on the surrogate, and the supernet's score of that optimum."""
    greedy = search.slim_by(search.latency, budget_ms, surrogate=surrogate)
    optimum = _optimum(search, surrogate, budget_ms)
    greedy_drop, optimum_drop = surrogate.drop(greedy), surrogate.drop(optimum.subnet)
    return {
        "greedy_drop": greedy_drop,
        "optimum_drop": optimum_drop,
        "gap": greedy_drop - optimum_drop,
        **({"optimum_gap": optimum.gap} if optimum.gap else {}),
        "slimmed_drop": surrogate.drop(slimmed),
        "optimum": {"name": "surrogate_optimum", **search.row(lambda: optimum.subnet)},
    }


def _optimum(search: _Search, surrogate: AdditiveSurrogate, budget_ms: float) -> Optimum:
    """The optimum within the budget by the table's sum, or by a lower bound on it, which excludes no valid network."""
    table = search.table
    return find_optimum(
        search.space,
        surrogate,
        table.part_bound_ms(search.space),
        resolution=table.resolution,
        num_classes=table.num_classes,
        # Rounding in another order of the sum must not exclude the slimmed network itself.
        budget_ms=budget_ms * (1 + 1e-9) - table.calibration.offset_ms,
    )
