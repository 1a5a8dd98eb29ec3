import itertools

from efficientformer.latency.prepared import Calls
from efficientformer.latency.profilers.turns import TURNS, time_in_turns


class Steady:
    """A network of 7 ms whose every sample is noted."""

    def __init__(self, log):
        self._log = log

    def sample(self, calls: Calls, clock: str) -> float:
        self._log.append("timed")
        return 7.0


def test_timing_and_profiling_take_turns():
    log = []
    total_ms = time_in_turns(Steady(log), lambda rounds: log.append(rounds), threads=1, rounds=2 * TURNS)
    assert total_ms == 7.0
    assert [entry for entry in log if entry != "timed"] == [2] * TURNS
    profiled = [index for index, entry in enumerate(log) if entry == 2]
    assert profiled[0] > 0 and all(later > earlier + 1 for earlier, later in itertools.pairwise(profiled))


def test_few_rounds_are_one_for_each_turn():
    asked = []
    time_in_turns(Steady([]), asked.append, threads=1, rounds=1)
    assert asked == [1] * TURNS
