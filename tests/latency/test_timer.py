import gc
import os
from dataclasses import dataclass

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.prepared import Calls, InProcess
from efficientformer.latency.timing.timer import WarmUp, time_interleaved, warm_up

from .synthetic import Candidate, Machine

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")


def test_every_sample_is_kept_in_order_of_rounds():
    machine, seen = Machine(), []
    candidates = {"a": machine.candidate(0.5), "b": machine.candidate(2.0)}
    samples = time_interleaved(
        candidates,
        rounds=7,
        clock="wall",
        on_round=lambda index, taken: seen.append((index, taken)),
    )
    assert [index for index, _ in seen] == list(range(7))
    assert samples == {name: [taken[name] for _, taken in seen] for name in candidates}


def orders(candidates, **options):
    """Names in the order in which the rounds call them."""
    called = []
    wrapped = {name: InProcess(lambda name=name: called.append(name)) for name in candidates}
    once = dict.fromkeys(candidates, Calls(settling=0, timed=1))
    time_interleaved(wrapped, clock="wall", calls=once, **options)
    return [called[start : start + len(candidates)] for start in range(0, len(called), len(candidates))]


def test_rounds_have_random_orders_that_a_continued_run_repeats():
    whole = orders("abcdef", rounds=6, seed=3)
    assert len({tuple(order) for order in whole}) > 3
    assert all(sorted(order) == list("abcdef") for order in whole)
    assert orders("abcdef", rounds=6, seed=3, first_round=4) == whole[4:]
    assert orders("abcdef", rounds=6, seed=4) != whole


def test_small_candidates_repeat_their_call_and_each_sample_settles_first():
    tiny = Machine().candidate(0.01)
    warm = warm_up({"tiny": tiny}, clock="cpu", min_sample_ms=1.0)["tiny"]
    assert 95 <= warm.calls.timed <= 105
    assert warm.calls.settling == 8
    tiny.num_calls = 0
    samples = time_interleaved({"tiny": tiny}, rounds=2, clock="cpu", calls={"tiny": warm.calls})
    assert tiny.num_calls == 2 * (warm.calls.timed + 8)
    assert all(0.009 < sample < 0.011 for sample in samples["tiny"])


def test_slow_candidates_settle_in_one_call_and_are_timed_once():
    slow = Machine().candidate(300.0)
    assert warm_up({"slow": slow}, clock="cpu")["slow"] == WarmUp(Calls(settling=1, timed=1), runs=7, has_settled=True)
    assert slow.num_calls == 7


@dataclass
class Settling(Candidate):
    """A network whose first calls are slower, each by a factor less than the one before."""

    excess: float = 4.0
    shrink: float = 0.8

    def sample(self, calls, clock):
        steady_ms = self.latency_ms
        try:
            self.latency_ms = steady_ms * (1 + self.excess * self.shrink**self.num_calls)
            return super().sample(calls, clock)
        finally:
            self.latency_ms = steady_ms


def test_warm_up_lasts_until_calls_take_as_long_as_those_before():
    machine = Machine(1)
    candidates = {"at once": machine.candidate(2.0), "late": Settling(machine, 2.0), "never": Settling(machine, 2.0)}
    candidates["never"].shrink = 0.97
    warm = warm_up(candidates, clock="cpu")
    assert warm["at once"].runs == 7 and warm["at once"].has_settled
    assert 13 < warm["late"].runs < 31 and warm["late"].has_settled
    assert warm["never"].runs == 31 and not warm["never"].has_settled
    assert candidates["late"].sample(Calls(0, 1), "cpu") < 1.1 * 2.0


def test_progress_counts_rounds():
    machine, told = Machine(), []
    time_interleaved(
        {"a": machine.candidate(1.0)},
        rounds=2,
        clock="cpu",
        progress=lambda done, total, text: told.append((done, total, text)),
    )
    assert told == [(1, 2, "round 1 of 2"), (2, 2, "round 2 of 2")]


@needs_affinity
def test_one_thread_stays_on_one_core_and_is_set_free_even_after_an_error():
    before, during = os.sched_getaffinity(0), []

    def fail():
        during.append(os.sched_getaffinity(0))
        during.append(gc.isenabled())
        raise RuntimeError("broken candidate")

    with pytest.raises(RuntimeError, match="broken candidate"):
        time_interleaved({"a": InProcess(fail)}, rounds=1, clock="cpu")
    assert len(during[0]) == 1 and during[1] is False
    assert os.sched_getaffinity(0) == before and gc.isenabled()


@needs_affinity
def test_several_threads_may_use_every_core():
    during = []
    time_interleaved(
        {"a": InProcess(lambda: during.append(os.sched_getaffinity(0)))},
        rounds=1,
        clock="wall",
        threads=2,
        min_sample_ms=0,
    )
    assert during[0] == os.sched_getaffinity(0)


def test_cpu_clock_is_refused_for_two_threads():
    with pytest.raises(LatencyError, match="one thread"):
        time_interleaved({"a": InProcess(int)}, rounds=1, clock="cpu", threads=2)
