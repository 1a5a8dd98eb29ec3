"""What becomes of an aim once its network is measured; the measurements are made up."""

import numpy as np
import pytest
from tests.latency.synthetic import measurement_of

from efficientformer.arch.spaces import QUICK
from efficientformer.latency.timing.calm import WINDOW
from efficientformer.latency.timing.measurement import paired_ratio
from efficientformer.pipeline.run.budget import parse_budget
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import confirm
from efficientformer.pipeline.slimming.aim import Aim, Proposal
from efficientformer.pipeline.slimming.confirm import Confirmation
from efficientformer.pipeline.slimming.descent import Place
from efficientformer.pipeline.slimming.limits import Limits
from efficientformer.pipeline.slimming.measure import LARGEST
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.run_dir import RunDir
from efficientformer.search.candidates import State
from efficientformer.search.subnet import Subnet

HEADROOM = 0.02


class Machine:
    """Says how many percent of the largest network's latency each takes, with noise; notes what it is asked."""

    def __init__(self, percent: dict[str, float], noise: float) -> None:
        self.percent, self.noise = percent, noise
        self.asked: list[tuple[int, list[str]]] = []

    def measure(self, workspace, largest, candidates, *, rounds):
        self.asked.append((rounds, sorted(candidates)))
        # The same in every window of rounds, and little enough that every sample counts as quiet.
        noise = np.tile(np.linspace(-1, 1, WINDOW), rounds // WINDOW)
        samples = {LARGEST: np.full(rounds, 10.0)}
        for name in candidates:
            samples[name] = self.percent[name] / 10 * (1 + self.noise * noise)
        return {
            name: measurement_of(values.tolist(), ratio=paired_ratio(values, samples[LARGEST], LARGEST))
            for name, values in samples.items()
        }


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    settings = resolve_settings({"budget": ["40%", "25%"], "verify": {"rounds": 160}})
    return Workspace(RunDir(tmp_path), settings, RunConsole())


@pytest.fixture
def aims(workspace) -> list[Aim]:
    subnet = Subnet.largest(QUICK)
    aims = []
    for text, predicted_ms in (("40%", 3.9), ("25%", 2.4)):
        aim = Aim(
            Promise(parse_budget(text), HEADROOM),
            10 * float(text[:-1]) / 100,
            predicted_ms,
            {},
            Proposal(Place(0), [State(subnet, predicted_ms, 50.0)]),
        )
        aims.append(aim)
    return aims


def confirmation(workspace, monkeypatch, machine) -> Confirmation:
    monkeypatch.setattr(confirm, "prepare_untrained", lambda *_: object())
    monkeypatch.setattr(confirm, "measure_briefly_with_largest", machine.measure)
    return Confirmation(workspace, Limits(workspace))


def test_what_is_fast_is_confirmed_and_what_is_slow_corrected_by_as_much_as_it_took(workspace, aims, monkeypatch):
    machine = Machine({"40pct": 38.0, "25pct": 30.0}, noise=0.001)
    confirmation(workspace, monkeypatch, machine).confirm(aims)
    fast, slow = aims
    assert fast.is_confirmed and fast.proposal and not fast.corrections
    assert not slow.is_confirmed and not slow.proposal and slow.num_rejected == 1
    ((_, made),) = slow.corrections
    assert made["limit_ms"] == pytest.approx(2.5) and made["measured_ms"] == pytest.approx(3.0, rel=0.01)
    assert slow.target_ms == pytest.approx(2.4 * 2.5 * (1 - HEADROOM) / made["measured_ms"])


def test_what_few_rounds_leave_open_takes_as_many_again(workspace, aims, monkeypatch):
    machine = Machine({"40pct": 39.58, "25pct": 20.0}, noise=0.012)
    confirming = confirmation(workspace, monkeypatch, machine)
    waiting = aims
    for _ in range(2):
        confirming.confirm(waiting)
        waiting = [aim for aim in aims if not aim.is_confirmed]
        assert waiting == aims[:1] and aims[0].proposal and not aims[0].corrections
    machine.noise = 0.0001
    confirming.confirm(waiting)
    assert aims[0].is_confirmed
    assert machine.asked == [(40, ["25pct", "40pct"]), (40, ["40pct"]), (80, ["40pct"])]


def test_what_stays_open_in_as_many_rounds_as_a_promise_takes_is_too_slow(workspace, aims, monkeypatch):
    machine = Machine({"40pct": 39.58, "25pct": 20.0}, noise=0.012)
    confirming = confirmation(workspace, monkeypatch, machine)
    for _ in range(3):
        confirming.confirm(aims[:1])
    assert [rounds for rounds, _ in machine.asked] == [40, 40, 80]
    assert aims[0].num_rejected == 1 and aims[0].target_ms < 3.9


def test_what_is_rather_too_slow_than_not_is_replaced_at_once(workspace, aims, monkeypatch):
    machine = Machine({"40pct": 39.65, "25pct": 20.0}, noise=0.012)
    confirmation(workspace, monkeypatch, machine).confirm(aims)
    assert aims[0].num_rejected == 1 and aims[1].is_confirmed
