import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.clock import check_clock, check_one_clock, clock_reader


def test_cpu_time_is_refused_for_more_than_one_thread():
    check_clock("cpu", 1)
    check_clock("wall", 4)
    with pytest.raises(LatencyError, match="wall clock"):
        check_clock("cpu", 2)
    with pytest.raises(LatencyError, match="no clock 'sun'"):
        check_clock("sun", 1)


def test_latencies_of_two_clocks_are_never_compared():
    check_one_clock("cpu", "cpu")
    with pytest.raises(LatencyError, match="same clock"):
        check_one_clock("wall", "cpu", "wall")


def test_cpu_clock_stands_still_while_the_thread_sleeps():
    import time

    cpu, wall = clock_reader("cpu"), clock_reader("wall")
    before = cpu(), wall()
    time.sleep(0.05)
    assert wall() - before[1] >= 0.05e9
    assert cpu() - before[0] < 0.04e9
