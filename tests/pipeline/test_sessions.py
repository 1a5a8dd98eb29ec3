"""The sessions behind a promise, on devices whose latency differs from process to process."""

import json

import pytest
from tests.latency.synthetic import Device, Machine

from efficientformer.errors import RecordError
from efficientformer.latency.timing.repeated import NUM_SESSIONS
from efficientformer.pipeline.run.budget import parse_budget
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import LARGEST
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.pipeline.slimming.sessions import ONE_PROCESS, Sessions
from efficientformer.run_dir import RunDir

FILES = {"40pct": "digest of one file", "25pct": "digest of another"}
LATENCIES_MS = {LARGEST: 2.0, "40pct": 0.7, "25pct": 0.49}
PROMISES = {slug: Promise(parse_budget(text), 0.02) for slug, text in (("40pct", "40%"), ("25pct", "25%"))}


class Opener:
    """Opens networks on one machine, and counts how often."""

    def __init__(self, machine=None, **latencies_ms):
        self.machine = machine or Machine(0, between=0.005)
        self.latencies_ms = {**LATENCIES_MS, **latencies_ms}
        self.opened = 0

    def __call__(self, runtime):
        self.opened += 1
        return {name: self.machine.candidate(ms) for name, ms in self.latencies_ms.items()}


@pytest.fixture
def workspace(tmp_path, capsys) -> Workspace:
    settings = resolve_settings({"budget": ["40%", "25%"], "verify": {"rounds": 48}})
    return Workspace(RunDir(tmp_path), settings, RunConsole())


def sessions(workspace, opener, files=FILES, device=None):
    return Sessions(workspace, device or Device(), opener, files)


def test_every_session_opens_the_networks_anew(workspace):
    opener = Opener()
    taken = sessions(workspace, opener)
    taken.measure(PROMISES)
    measured = taken.repeated("40pct")
    assert opener.opened == len(measured["40pct"].sessions) == NUM_SESSIONS and taken.opened_in == ONE_PROCESS
    assert len({round(session.p50_ms, 3) for session in measured["40pct"].sessions}) > 3
    low, high = measured["40pct"].interval_ms
    assert low < 0.7 < high and high - low > 0.002


def test_a_runtime_that_restarts_is_restarted_before_every_session(workspace):
    class Restarting(Device):
        def restart(self):
            restarts.append(1)

    restarts, opener = [], Opener()
    taken = sessions(workspace, opener, device=Restarting())
    taken.measure(PROMISES)
    assert opener.opened == 1 and len(restarts) == NUM_SESSIONS - 1 and taken.opened_in != ONE_PROCESS


def test_an_interrupted_measurement_continues_with_the_session_it_was_at(workspace):
    class Interrupting(Opener):
        def __call__(self, runtime):
            if self.opened == 4:
                raise KeyboardInterrupt
            return super().__call__(runtime)

    with pytest.raises(KeyboardInterrupt):
        sessions(workspace, Interrupting()).measure(PROMISES)
    opener = Opener()
    taken = sessions(workspace, opener)
    taken.measure(PROMISES)
    assert opener.opened == NUM_SESSIONS - 4
    network = taken.repeated("40pct")["40pct"]
    assert len(network.sessions) == NUM_SESSIONS and network.percent == 95.0


def test_what_was_measured_before_counts_and_the_confidence_grows(workspace, capsys):
    sessions(workspace, Opener(**{"40pct": 0.9})).measure(PROMISES)
    assert "measured before" not in capsys.readouterr().err
    # A quiet hour, in which the same file happens to be fast, does not turn broken into kept.
    again = sessions(workspace, Opener(**{"40pct": 0.7}))
    again.measure(PROMISES)
    network = again.repeated("40pct")["40pct"]
    assert f"{NUM_SESSIONS} sessions of the same files were measured before" in capsys.readouterr().err
    assert len(network.sessions) > NUM_SESSIONS and network.percent > 98.0
    assert network.interval_ms[1] > 0.85


def test_another_file_another_device_and_another_clock_start_anew_and_forget_nothing(workspace, tmp_path):
    for _ in range(2):
        sessions(workspace, Opener()).measure(PROMISES)
    changed = sessions(workspace, Opener(), {**FILES, "25pct": "retrained"})
    changed.measure(PROMISES)
    assert len(changed.repeated("25pct")["25pct"].sessions) == NUM_SESSIONS
    assert len(changed.repeated("40pct")["40pct"].sessions) == 3 * NUM_SESSIONS
    other = sessions(workspace, Opener(), device=Device("other"))
    assert not other.repeated("40pct")["40pct"].sessions
    other.measure(PROMISES)
    assert len(other.repeated("40pct")["40pct"].sessions) == NUM_SESSIONS
    assert len(sessions(workspace, Opener()).repeated("40pct")["40pct"].sessions) == 3 * NUM_SESSIONS


def test_another_number_of_rounds_is_no_new_chance(workspace, tmp_path):
    sessions(workspace, Opener()).measure(PROMISES)
    settings = resolve_settings({"budget": ["40%", "25%"], "verify": {"rounds": 60}})
    other = Workspace(RunDir(tmp_path), settings, RunConsole())
    assert len(sessions(other, Opener()).repeated("40pct")["40pct"].sessions) == NUM_SESSIONS


def test_an_open_verdict_takes_more_sessions_and_a_decided_one_does_not(workspace):
    at_the_limit = sessions(workspace, Opener(Machine(0, between=0.01), **{"40pct": 0.8}))
    at_the_limit.measure(PROMISES)
    network = at_the_limit.repeated("40pct")["40pct"]
    assert len(network.sessions) == 3 * NUM_SESSIONS and network.percent == pytest.approx(100 - 10 / 12)


@pytest.mark.parametrize(
    "damage",
    [
        lambda session: session["measurements"][LARGEST].update(samples_ms="many"),
        lambda session: session["measurements"][LARGEST].update(samples_ms="123"),
        lambda session: session["measurements"]["40pct"].update(samples_ms=[-5.0] * 20),
        lambda session: session["measurements"]["40pct"].update(disturbed_rounds=[9999]),
        lambda session: session["measurements"]["40pct"].update(disturbed_rounds="text"),
        lambda session: session["measurements"]["40pct"].update(disturbed_rounds=list(range(17))),
        lambda session: session["measurements"].pop(LARGEST),
        lambda session: session["measurements"].pop("40pct"),
    ],
)
def test_sessions_that_cannot_be_read_are_named(workspace, damage):
    path = workspace.run_dir.verified_sessions
    sessions(workspace, Opener()).measure(PROMISES)
    header, first, *rest = path.read_text().splitlines()
    line = json.loads(first)
    damage(line["session"])
    path.write_text("\n".join([header, json.dumps(line), *rest]) + "\n")
    with pytest.raises(RecordError, match=r"verification.sessions.jsonl.* cannot be used.*Delete it"):
        sessions(workspace, Opener()).repeated("40pct")


def test_a_line_that_was_cut_short_is_measured_again(workspace):
    path = workspace.run_dir.verified_sessions
    sessions(workspace, Opener()).measure(PROMISES)
    content = path.read_text().splitlines()
    path.write_text("\n".join([*content[:NUM_SESSIONS], content[NUM_SESSIONS][:100]]))
    opener = Opener()
    sessions(workspace, opener).measure(PROMISES)
    assert opener.opened == 1
