"""The search of phase `slim` with weights that are trained on the way; networks, table and measurements are made up."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from efficientformer.arch.spaces import v1_space
from efficientformer.data.sample import load_sample
from efficientformer.errors import RecordError
from efficientformer.pipeline.phases import slim as phase
from efficientformer.pipeline.run import workspace as workspace_module
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import cached_scorer, recovery
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.descent import descent_fingerprint
from efficientformer.pipeline.slimming.recovery import Recovery
from efficientformer.pipeline.slimming.rounds import Rounds
from efficientformer.reading import read_record
from efficientformer.records import digest, write_record
from efficientformer.run_dir import RunDir
from efficientformer.search import contenders
from efficientformer.search.scoring.score import Score
from efficientformer.search.subnet import Subnet
from efficientformer.training.crew import Crew

SPACE = v1_space("small", (48, 48, 64, 64), (2, 2, 3, 2), 3)
SUPERNET = {"epochs": 1, "num_steps": 1, "held_out_top1": 50.0, "settings": {}}


class Table:
    """Latencies of networks, in milliseconds."""

    spread = SimpleNamespace(interval_ms=lambda latency_ms: (latency_ms, latency_ms))

    def predict(self, architecture) -> float:
        return sum(architecture.depths) + architecture.num_on_tokens + sum(architecture.widths) / 64

    @property
    def largest(self) -> Any:
        return SimpleNamespace(measured_ms=self.predict(SPACE.largest()))


class Supernet:
    """One weight stands for all. What it is changes which block is worth more."""

    num_classes = 10

    def __init__(self, weight: float) -> None:
        self.weight = torch.tensor([weight])

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}


class Oracle:
    def __init__(self, supernet: Supernet, tick: Callable[[], None]) -> None:
        self.supernet, self._tick = supernet, tick

    def use_weights(self, weights) -> None:
        self.supernet.weight.copy_(weights["weight"])

    def if_at_least(self, subnet: Subnet, least_accuracy: float) -> Score | None:
        self._tick()
        drawn = int(digest([subnet.to_json(), self.supernet.weight.item()])[:8], 16) / 2**32
        size = sum(subnet.architecture.depths) + sum(subnet.architecture.widths) / 64
        score = Score(50.0, 4 * size + 3 * drawn)
        return score if score.likelihood >= least_accuracy else None


class Killed(BaseException):
    """The process is gone."""


class Runs:
    """Runs `slim` in folders, with the machinery around the search replaced."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folders = (folder / str(number) for number in itertools.count())
        self.ticks, self._last_tick = 0, 0
        images = load_sample()
        monkeypatch.setattr(workspace_module.Workspace, "dataset", property(lambda _: images))
        monkeypatch.setitem(workspace_module.SPACES, "quick", SPACE)
        monkeypatch.setattr(cached_scorer, "load_supernet", lambda _: Supernet(1.0))
        monkeypatch.setattr(cached_scorer, "accuracy_oracle", lambda _, supernet: Oracle(supernet, self.tick))
        monkeypatch.setattr(recovery, "search_splits", lambda _: (images.train, None))
        monkeypatch.setattr(recovery, "extract_network", lambda supernet, _: Supernet(supernet.weight.item()))
        monkeypatch.setattr(recovery, "fit_images", self._train)
        monkeypatch.setattr(recovery, "absorb_network", lambda supernet, _, net: supernet.weight.copy_(net.weight))
        monkeypatch.setattr(contenders, "LEAST", 0.7)  # few networks of so small a space are as slow as a budget
        monkeypatch.setattr(phase, "trial_score", self._trial_score)
        monkeypatch.setattr(phase, "Confirmation", lambda *_: SimpleNamespace(confirm=self._confirm))

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == self._last_tick:
            raise Killed

    def _train(self, workspace, network: Supernet, *_: Any, seed: int, **__: Any) -> None:
        self.tick()
        network.weight.mul_(0.9).add_(0.01 * seed)
        self.tick()

    def _trial_score(self, _: Workspace, subnet: Subnet, *, title: str) -> dict[str, float]:
        self.tick()
        return {"top1": int(digest(subnet.architecture.to_json())[:4], 16) / 1000}

    def _confirm(self, aims) -> None:
        """The first network of each aim measures too slow."""
        for aim in aims:
            self.tick()
            if aim.num_rejected:
                aim.is_confirmed = True
            else:
                aim.correct(1.05 * aim.proposed.state.latency_ms, aim.budget_ms)

    def folder(self) -> Path:
        folder = next(self._folders)
        (folder / "supernet").mkdir(parents=True)
        save_file({"weight": torch.tensor([1.0])}, folder / "supernet" / "weights.safetensors")
        alphas = [[{"MB4D": 0.5, "MB3D": 0.2, "identity": 0.3}] * depth for depth in SPACE.max_depths]
        write_record(folder / "supernet" / "record.json", {**SUPERNET, "alphas": alphas})
        return folder

    def slim(
        self, folder: Path, *budgets: str, killed_at: int = 0, crew: Crew | None = None, **slim: Any
    ) -> dict[str, Any]:
        """The trace of one command, less what is measured anew."""
        options = {"actions": "every", "bn_images": 32, "recover_every": 2, "trials": 3, "polish": 0} | slim
        workspace = Workspace(
            RunDir(folder),
            resolve_settings({"budget": list(budgets), "slim": options}),
            RunConsole(quiet=True),
            crew=crew,
        )
        self.ticks, self._last_tick = 0, killed_at
        scorer, fingerprint = CachedScorer(workspace), descent_fingerprint(workspace)
        phase._find(workspace, Table(), scorer, Rounds(workspace, Table(), scorer, fingerprint))  # type: ignore[arg-type]
        return {
            name: value for name, value in read_record(workspace.run_dir.trace, dict).items() if name != "provenance"
        }

    def by_budget(self, trace: dict[str, Any]) -> dict[str, Any]:
        """What each budget got, whatever its steps are numbered."""
        return {entry["budget"]: {**entry, "step": None} for entry in trace["budgets"]}


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Iterator[Runs]:
    yield Runs(tmp_path, monkeypatch)


@pytest.mark.parametrize("options", [{}, {"stride": 0.15}, {"lazy": True}], ids=["plain", "stride", "lazy"])
@pytest.mark.parametrize("is_known", [True, False], ids=["scores known", "scores lost"])
def test_a_run_that_is_killed_anywhere_ends_like_one_that_is_not(runs, options, is_known):
    budgets = ("75%", "50%")
    whole = runs.slim(runs.folder(), *budgets, **options)
    num_ticks = runs.ticks
    assert {entry["weights"] for entry in whole["budgets"]} != {None}, "weights were trained"
    assert any(len(entry["trials"]) > 1 for entry in whole["budgets"]) and whole["corrections"]
    apart = num_ticks // 5  # elsewhere where scores are known than where they are lost
    for killed_at in range(3 + is_known * apart // 2, num_ticks, apart):
        folder = runs.folder()
        with pytest.raises(Killed):
            runs.slim(folder, *budgets, killed_at=killed_at, **options)
        if not is_known:
            (folder / "slim" / "evaluations.jsonl").unlink()
        assert runs.slim(folder, *budgets, **options) == whole, killed_at


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 0.15},
        {"lazy": True, "recover_every": 0, "polish": 10},
        {"stride": 0.15, "recover_every": 0, "polish": 10, "lazy": True},
    ],
)
def test_what_a_budget_gets_is_the_same_after_any_other_budgets(runs, options):
    budgets = ("80%", "65%", "50%")
    alone = {text: runs.by_budget(runs.slim(runs.folder(), text, **options))[text] for text in budgets}
    for order in list(itertools.permutations(budgets))[1::2]:
        assert runs.by_budget(runs.slim(runs.folder(), *order, **options)) == alone
        folder = runs.folder()
        for text in order:
            assert runs.by_budget(runs.slim(folder, text, **options)) == {text: alone[text]}, order


def test_the_steps_of_a_trace_lead_to_each_budget_and_to_each_network_that_measured_too_slow(runs):
    trace = runs.slim(runs.folder(), "80%", "65%", "50%", stride=0.15)
    states = [trace["start"], *trace["steps"]]
    assert [step["step"] for step in trace["steps"]] == list(range(1, len(states)))
    own = [step for step in trace["steps"] if "after" in step]
    assert own and all(0 <= step["after"] < step["step"] - 1 for step in own)
    for number, step in enumerate(trace["steps"], start=1):
        before, taken = states[step.get("after", number - 1)], step["candidates"][step["taken"]]
        assert before["latency_ms"] - taken["saved_ms"] == pytest.approx(step["latency_ms"])
    for entry in trace["budgets"]:
        assert states[entry["step"]]["latency_ms"] <= entry["target_ms"]
    for row in trace["corrections"]:
        assert states[row["step"]]["latency_ms"] <= (1 - 0.02) * row["limit_ms"]


def test_weights_that_are_gone_are_named_and_others_do_not_take_their_place(runs):
    folder = runs.folder()
    runs.slim(folder, "60%")
    files = sorted((folder / "slim").glob("recovered-*.safetensors"))
    assert len(files) > 2, "every training's weights are there"
    for path in files:
        path.unlink()
    with pytest.raises(RecordError, match=r"recovered-\d+.safetensors.* is missing.*Delete .*steps.jsonl"):
        runs.slim(folder, "50%")


def test_weights_of_another_descent_are_not_taken(runs):
    folder = runs.folder()
    runs.slim(folder, "60%")
    workspace = Workspace(
        RunDir(folder), resolve_settings({"slim": {"recover_every": 2, "polish": 0}}), RunConsole(quiet=True)
    )
    other = Recovery(workspace, CachedScorer(workspace), "another")
    with pytest.raises(RecordError, match="of another descent"):
        other.use("2")
    other.remove_others()
    assert not list((folder / "slim").glob("recovered-*"))


def test_a_score_below_the_least_is_none_whether_it_is_cached_or_not(runs):
    workspace = Workspace(RunDir(runs.folder()), resolve_settings({}), RunConsole(quiet=True))
    scorer, subnet = CachedScorer(workspace), Subnet.largest(SPACE)
    assert scorer.if_at_least(subnet, 99.0) is None
    accuracy = scorer(subnet)
    assert scorer.if_at_least(subnet, accuracy) == accuracy
    assert scorer.if_at_least(subnet, accuracy + 1e-6) is None
