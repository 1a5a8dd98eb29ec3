import itertools

import numpy as np
import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.prepared import Calls
from efficientformer.latency.timing.calm import (
    WINDOW,
    calm_rounds,
    counted_rounds,
    counted_samples,
    num_missing,
    time_until_calm,
)
from efficientformer.latency.timing.partial import PartialRounds

from .synthetic import Machine


class Scripted:
    """A device whose slowness in each round is given; the last holds from then on."""

    def __init__(self, *slowness):
        self.slowness = slowness

    def candidate(self, latency_ms):
        return _Candidate(latency_ms, itertools.chain(self.slowness, itertools.repeat(self.slowness[-1])))


class _Candidate:
    def __init__(self, latency_ms, slowness):
        self.latency_ms, self.slowness, self.is_warm = latency_ms, slowness, False

    def sample(self, calls, clock):
        return self.latency_ms * (next(self.slowness) if calls.settling else 1.0)


def taken(device, rounds, partial=None):
    candidates = {"a": device.candidate(1.5), "b": device.candidate(7.0)}
    partial = PartialRounds(None, "x", list(candidates)) if partial is None else partial
    time_until_calm(candidates, partial, rounds=rounds, clock="cpu", threads=1)
    return np.array(partial.rounds)


def test_calm_rounds_are_taken_once():
    assert len(taken(Scripted(1.0), 40)) == 40


def test_a_disturbed_window_is_taken_again_at_the_end():
    samples = taken(Scripted(*[1.0] * 8, *[1.05] * 8, 1.0), 40)
    assert len(samples) == 48
    assert np.flatnonzero(~calm_rounds(samples)).tolist() == list(range(8, 16))


def test_a_disturbance_within_the_limit_changes_nothing():
    assert len(taken(Scripted(*[1.0] * 8, *[1.02] * 8, 1.0), 40)) == 40


def test_a_machine_that_never_calms_down_is_given_up_after_half_as_many_rounds_again():
    samples = taken(Scripted(*[1.0] * 8, 1.2), 40)
    assert len(samples) == 60 and calm_rounds(samples).sum() == 8
    assert num_missing(samples.tolist(), 40) == 0
    # Asked for more rounds, it is given another chance.
    assert num_missing(samples.tolist(), 80) == 20


def test_medians_are_of_half_of_the_rounds_at_least():
    """One window was lucky: alone it would stand for a machine that is hardly ever so fast."""
    samples = np.ones((40, 3))
    samples[8:16] *= 1.04
    samples[16:24] *= 1.06
    samples[24:] *= 1.2
    assert np.flatnonzero(calm_rounds(samples)).tolist() == list(range(8))
    assert np.flatnonzero(counted_rounds(samples)).tolist() == list(range(24))
    assert np.array_equal(counted_samples(samples), samples[:24])
    mostly_calm = np.ones((40, 3))
    mostly_calm[8:16] *= 1.04
    assert np.array_equal(counted_rounds(mostly_calm), calm_rounds(mostly_calm))


def test_rounds_left_over_belong_to_the_last_window():
    samples = np.ones((2 * WINDOW + 3, 2))
    samples[WINDOW:] *= 1.1
    assert calm_rounds(samples).tolist() == [True] * WINDOW + [False] * (WINDOW + 3)
    assert calm_rounds(samples[:5]).all()


def test_noise_of_single_candidates_disturbs_no_window():
    rng = np.random.default_rng(0)
    assert calm_rounds(rng.normal(1.0, 0.03, (400, 9))).all()


def test_an_interrupted_measurement_takes_the_same_rounds_again_and_keeps_its_plan(tmp_path):
    script = [*[1.0] * 8, *[1.05] * 8, 1.0]
    whole = taken(Scripted(*script), 40)
    path, names = tmp_path / "rounds.jsonl", ["a", "b"]
    first = PartialRounds(path, "x", names)
    first.note(warm_up={name: {"settling_calls": 3, "calls_per_sample": 2} for name in names})
    for row in whole[:43]:
        first.add(dict(zip(names, row.tolist(), strict=True)))
    again = PartialRounds(path, "x", names)
    assert np.array_equal(taken(Scripted(1.0), 40, again), whole)
    assert again.notes["warm_up"]["a"] == {"settling_calls": 3, "calls_per_sample": 2}
    assert np.array_equal(taken(Scripted(9.0), 40, PartialRounds(path, "x", names)), whole)


def test_samples_follow_the_plan_of_the_first_round():
    candidates = {"a": Machine().candidate(0.5)}
    partial = PartialRounds(None, "x", ["a"])
    time_until_calm(candidates, partial, rounds=2, clock="cpu", threads=1, min_sample_ms=4.0)
    plan = partial.notes["warm_up"]["a"]
    assert plan["settled"] and plan["calls_per_sample"] in (8, 9)
    assert candidates["a"].num_calls == plan["runs"] + 2 * (plan["settling_calls"] + plan["calls_per_sample"])
    assert Calls(plan["settling_calls"], plan["calls_per_sample"]).timed > 1


def test_cpu_clock_is_refused_for_two_threads():
    with pytest.raises(LatencyError, match="one thread"):
        time_until_calm({}, PartialRounds(None, "x", []), rounds=2, clock="cpu", threads=2)
