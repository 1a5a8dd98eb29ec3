"""A descent on an invented table and scorer: which strategy the settings choose, and going on from a journal."""

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from efficientformer.arch.moves import Drop
from efficientformer.arch.spaces import v1_space
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.settings.search import SlimSettings
from efficientformer.pipeline.slimming.descent import Descent
from efficientformer.records import write_record
from efficientformer.search.candidates import State
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.classification.kind import ONE_LABEL

SPACE = v1_space("small", (48, 48, 64, 64), (2, 2, 3, 2), 3)
SUPERNET = {"epochs": 1, "num_steps": 1, "held_out_top1": 50.0, "settings": {}}
WAYS = {
    "in turn": {},
    "lazily": {"lazy": True},
    "in parallel": {"workers": 3},
}


class Table:
    def predict(self, architecture) -> float:
        return sum(architecture.depths) + architecture.num_on_tokens + sum(architecture.widths) / 64


class Scorer:
    """Blocks of later stages are worth more, and no two candidates cost alike. Remembers the threads that asked."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def __call__(self, subnet) -> float:
        self.threads.add(threading.get_ident())
        widths, depths = subnet.architecture.widths, subnet.architecture.depths
        blocks = sum(3.0 * stage * depth**0.5 for stage, depth in enumerate(depths, start=1))
        return blocks + sum(width**0.5 / stage for stage, width in enumerate(widths, start=1))

    def if_at_least(self, subnet, least_accuracy) -> float | None:
        accuracy = self(subnet)
        return accuracy if accuracy >= least_accuracy else None

    def ahead(self, asked) -> None:
        """One process scores all."""

    def score(self, subnet) -> Any:
        return SimpleNamespace(primary=50.0)


class Versions:
    """The supernet's weights alone, by default."""

    def name_at(self, step, target_ms, num_shared) -> str | None:
        return None

    def use(self, name) -> None:
        pass

    def after(self, step, target_ms, state) -> State:
        return state


class Run:
    """What a descent needs of a workspace."""

    def __init__(self, folder: Path, **slim: Any) -> None:
        self.scorer, self.journal = Scorer(), folder / "steps.jsonl"
        alphas = [[{"MB4D": 0.5, "MB3D": 0.2, "identity": 0.3}] * depth for depth in SPACE.max_depths]
        write_record(folder / "supernet.json", {**SUPERNET, "alphas": alphas})
        self._workspace: Any = SimpleNamespace(
            settings=Settings(slim=SlimSettings(**{"actions": "every", **slim})),
            space=SPACE,
            task=ONE_LABEL,
            crew=None,
            run_dir=SimpleNamespace(slim_steps=self.journal, supernet_record=folder / "supernet.json"),
        )

    def descend(self, *, is_stopped: bool = False) -> list[dict[str, Any]]:
        """Steps down to three budgets; where it is stopped, a new process goes on after each."""
        descent = self.open()
        for share in (0.8, 0.6, 0.4):
            descent = self.open() if is_stopped else descent
            target_ms = share * Table().predict(SPACE.largest())
            _, state = descent.first_within(target_ms, lambda net: True, progress=lambda *_: None)
            assert state.latency_ms <= target_ms
        return descent.records

    def found(self, *shares: float, is_stopped: bool = False) -> dict[float, State]:
        """What each budget gets, given as a share of the largest network's latency, in the order of asking."""
        descent, found = self.open(), {}
        for share in shares:
            descent = self.open() if is_stopped else descent
            found[share] = self.ask(descent, share)
        return found

    def ask(self, descent: Descent, share: float) -> State:
        target_ms = share * Table().predict(SPACE.largest())
        return descent.first_within(target_ms, lambda net: True, progress=lambda *_: None)[1]

    def open(self) -> Descent:
        return Descent(self._workspace, Table(), self.scorer, "about", Versions())  # type: ignore[arg-type]


def test_settings_choose_how_a_step_weighs(tmp_path):
    found = {}
    for name, options in WAYS.items():
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, **options)
        rows = [row for step in run.descend() for row in step["candidates"]]
        has_given_up = any(row["below"] is not None for row in rows)
        has_left_out = any(row["last_score"] is not None for row in rows)
        found[name] = (has_given_up, has_left_out, run.scorer.threads != {threading.get_ident()})
    assert found == {
        "in turn": (True, False, False),
        "lazily": (True, True, False),
        "in parallel": (False, False, True),
    }


def test_a_stride_takes_fewer_steps_to_the_same_budgets(tmp_path):
    num_steps = []
    for stride in (0.0, 0.1):
        (tmp_path / str(stride)).mkdir()
        num_steps.append(len(Run(tmp_path / str(stride), stride=stride).descend()))
    assert 3 <= num_steps[1] < num_steps[0]


@pytest.mark.parametrize("stride", [0.0, 0.1])
@pytest.mark.parametrize("way", WAYS)
def test_a_descent_that_goes_on_writes_what_one_without_a_stop_writes(tmp_path, way, stride):
    journals = []
    for is_stopped in (False, True):
        folder = tmp_path / str(is_stopped)
        folder.mkdir()
        run = Run(folder, **WAYS[way], stride=stride)
        assert len(run.descend(is_stopped=is_stopped)) >= 3
        journals.append(run.journal.read_text())
    assert journals[0] == journals[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stride", [0.0, 0.05, 0.1, 0.3])
def test_what_a_budget_gets_depends_on_that_budget_alone(tmp_path, way, stride):
    shares = (0.9, 0.75, 0.7, 0.5)
    options = {**WAYS[way], "stride": stride}
    folders = (tmp_path / str(number) for number in itertools.count())

    def fresh() -> Run:
        folder = next(folders)
        folder.mkdir()
        return Run(folder, **options)

    alone = {share: fresh().found(share)[share] for share in shares}
    assert len({state.latency_ms for state in alone.values()}) == len(shares)
    for order in itertools.permutations(shares):
        for is_stopped in (False, True):
            assert fresh().found(*order, is_stopped=is_stopped) == alone, order


def test_without_paths_places_are_as_important_as_the_supernet_says(tmp_path):
    """Whatever weights score the steps: a descent that goes on has the importances of one that does not."""
    run = Run(tmp_path, actions="paper")
    write_record(tmp_path / "supernet.json", SUPERNET)
    num_steps = len(run.descend())
    largest, asked = Subnet.largest(SPACE), []

    class Recovery(Versions):
        def name_at(self, step, target_ms, num_shared):
            return f"after {step}" if step else None

        def use(self, name):
            asked.append(name)

    class Recovered(Scorer):
        def __call__(self, subnet):
            asked.append(subnet)
            return super().__call__(subnet)

    again = Descent(run._workspace, Table(), Recovered(), "about", Recovery())  # type: ignore[arg-type]
    again.first_within(0.35 * Table().predict(SPACE.largest()), lambda net: True, progress=lambda *_: None)
    start = asked.index(None)
    assert asked[start + 1] == largest and asked[start + 2] == largest.after(Drop(0, 0))
    measured = [subnet for subnet in asked[start:] if isinstance(subnet, Subnet)][: 1 + sum(SPACE.max_depths)]
    assert all(sum(subnet.architecture.depths) >= sum(SPACE.max_depths) - 1 for subnet in measured)
    assert asked[start + len(measured) + 1] == f"after {num_steps}"
