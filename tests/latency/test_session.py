import itertools
from functools import partial

import numpy as np
import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.timing.calm import calm_rounds, num_missing
from efficientformer.latency.timing.partial import PartialRounds
from efficientformer.latency.timing.quiet import latency_median, percentile_interval, resampled_medians
from efficientformer.latency.timing.session import TimedSession

from .synthetic import Machine


class Scripted:
    """A device whose slowness in each round is given; the last holds from then on."""

    def __init__(self, *slowness):
        self.slowness = slowness

    def candidate(self, latency_ms):
        return _Candidate(latency_ms, itertools.chain(self.slowness, itertools.repeat(self.slowness[-1])))


class _Candidate:
    def __init__(self, latency_ms, slowness):
        self.latency_ms, self.slowness = latency_ms, slowness

    def sample(self, calls, clock):
        return self.latency_ms * (next(self.slowness) if calls.settling else 1.0)


def session(device, path=None, clock="cpu", **latencies_ms):
    candidates = {name: partial(device.candidate, ms) for name, ms in (latencies_ms or {"a": 1.5, "b": 7.0}).items()}
    return TimedSession(candidates, clock=clock, threads=1, about="x", partial_path=path)


def taken(device, rounds, path=None):
    timed = session(device, path)
    timed.take(rounds)
    return np.array(timed.partial.rounds)


def test_calm_rounds_are_taken_once():
    assert len(taken(Scripted(1.0), 40)) == 40


def test_a_disturbed_window_is_taken_again_at_the_end():
    timed = session(Scripted(*[1.0] * 8, *[1.05] * 8, 1.0))
    timed.take(40)
    assert timed.num_rounds == 48 and timed.is_calm(40) and not timed.is_calm(41)
    assert timed.disturbed_rounds == list(range(8, 16))
    assert np.array_equal(timed.samples_ms(), np.delete(timed.partial.rounds, range(8, 16), axis=0))


def test_a_disturbance_within_the_limit_changes_nothing():
    assert len(taken(Scripted(*[1.0] * 8, *[1.02] * 8, 1.0), 40)) == 40


def test_a_machine_that_never_calms_down_is_given_up_after_half_as_many_rounds_again():
    samples = taken(Scripted(*[1.0] * 8, 1.2), 40)
    assert len(samples) == 60 and calm_rounds(samples).sum() == 8
    assert num_missing(samples.tolist(), 40) == 0
    # Asked for more rounds, it is given another chance.
    assert num_missing(samples.tolist(), 80) == 20


def test_an_interrupted_session_takes_the_same_rounds_again_and_keeps_its_plan(tmp_path):
    script = [*[1.0] * 8, *[1.05] * 8, 1.0]
    whole = taken(Scripted(*script), 40)
    path, names = tmp_path / "rounds.jsonl", ["a", "b"]
    first = PartialRounds(path, "x", names)
    first.note(warm_up={name: {"settling_calls": 3, "calls_per_sample": 2} for name in names})
    for row in whole[:43]:
        first.add(dict(zip(names, row.tolist(), strict=True)))
    again = session(Scripted(1.0), path)
    again.take(40)
    assert np.array_equal(again.partial.rounds, whole)
    assert again.warm_up["a"] == {"settling_calls": 3, "calls_per_sample": 2}
    assert np.array_equal(taken(Scripted(9.0), 40, path), whole)


def test_nothing_is_prepared_where_no_round_is_missing(tmp_path):
    told = []
    device, path = Scripted(1.0), tmp_path / "rounds.jsonl"
    session(device, path).take(16, preparing=lambda *step: told.append(step))
    assert told == [(1, 2, "prepared 1 of 2"), (2, 2, "prepared 2 of 2")]
    session(device, path).take(16, preparing=lambda *step: told.append(step))
    assert len(told) == 2


def test_samples_follow_the_plan_of_the_first_round():
    candidate = Machine().candidate(0.5)
    timed = TimedSession({"a": lambda: candidate}, clock="cpu", threads=1, about="x")
    timed.take(2, min_sample_ms=4.0)
    plan = timed.warm_up["a"]
    assert plan["settled"] and plan["calls_per_sample"] in (8, 9)
    assert candidate.num_calls == plan["runs"] + 2 * (plan["settling_calls"] + plan["calls_per_sample"])


@pytest.mark.parametrize(("largest_ms", "num_calls"), [(0.2, 10), (3.0, 30), (20.0, 50)])
def test_a_sample_lasts_as_long_as_a_call_of_the_largest_within_limits(largest_ms, num_calls):
    timed = session(Machine(noise=0.0), small=0.1, large=largest_ms)
    timed.take(2, largest="large")
    assert timed.warm_up["small"]["calls_per_sample"] == pytest.approx(num_calls, abs=1)


def test_medians_and_intervals_are_of_the_rounds_that_count():
    timed = session(Machine(1, "modes"))
    timed.take(40)
    samples_ms, medians = timed.samples_ms(), timed.medians()
    assert medians.num_rounds == len(samples_ms) == timed.num_rounds - len(timed.disturbed_rounds)
    assert medians.quiet and np.array_equal(medians.latencies_ms, latency_median(samples_ms, quiet=True))
    assert np.array_equal(medians.intervals_ms, percentile_interval(resampled_medians(samples_ms, quiet=True)).T)


def test_wall_time_has_plain_medians_whatever_the_machine_does():
    for clock, quiet in (("cpu", True), ("wall", False)):
        timed = session(Machine(1, "modes"), clock=clock)
        timed.take(40)
        assert timed.medians().quiet == quiet
        assert np.array_equal(timed.medians().latencies_ms, latency_median(timed.samples_ms(), quiet=quiet))


def test_cpu_clock_is_refused_for_two_threads():
    with pytest.raises(LatencyError, match="one thread"):
        TimedSession({}, clock="cpu", threads=2, about="x").take(2)
