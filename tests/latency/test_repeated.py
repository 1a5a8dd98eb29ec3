"""Intervals over fresh sessions, on a machine on which every process gets a latency of its own."""

from functools import partial

import numpy as np
import pytest

from efficientformer.latency.timing.quiet import median_interval
from efficientformer.latency.timing.repeated import NUM_SESSIONS, Repeated, percent_of_look
from efficientformer.latency.timing.session import TimedSession

from .synthetic import Machine, measurement_of, measurements_of

LATENCIES_MS = {"network": 1.2, "largest": 2.0}
BETWEEN = 0.01
"""Of ten processes each, repeatability records have 0.5 to 1.6 %."""


def measured(machine, rounds=17, seed=0):
    candidates = {name: partial(machine.candidate, latency_ms) for name, latency_ms in LATENCIES_MS.items()}
    session = TimedSession(candidates, clock="cpu", threads=1, about="synthetic", seed=seed)
    session.take(rounds)
    return measurements_of(session)


def repeated(seed, *disturbances, sessions=NUM_SESSIONS, look=1, **options):
    machine = Machine(seed, *disturbances, **options)
    taken = [measured(machine, seed=index) for index in range(sessions)]
    return {name: Repeated([session[name] for session in taken], look) for name in LATENCIES_MS}


NUM_SEEDS = 100


@pytest.fixture(scope="module")
def studied():
    """By disturbance and own variation, networks measured over sessions, for many seeds."""
    cases = ((None, 0.004), (None, 0.03), (None, 0.1), ("modes", 0.004), ("spikes", 0.03), ("steps", 0.004))
    return {
        (disturbance, variation): [
            repeated(seed, *([disturbance] if disturbance else []), noise=variation, between=BETWEEN)
            for seed in range(NUM_SEEDS)
        ]
        for disturbance, variation in cases
    }


def median_process_ms(found):
    return np.median([session.p50_ms for networks in found for session in networks["network"].sessions])


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


def test_an_interval_over_sessions_covers_the_median_process(studied):
    of_ms, of_ratios = [], []
    for found in studied.values():
        truth_ms = median_process_ms(found)
        ratios = [networks["network"].ratio_to(networks["largest"], "largest") for networks in found]
        of_ms.append(coverage([networks["network"].interval_ms for networks in found], truth_ms))
        of_ratios.append(coverage([ratio.interval for ratio in ratios], 0.6))
    assert min(of_ms) >= 0.90 and 0.90 <= np.mean(of_ms) <= 0.98
    assert min(of_ratios) >= 0.90 and 0.90 <= np.mean(of_ratios) <= 0.98


def test_an_interval_of_one_session_does_not_cover_the_median_process(studied):
    intervals = [networks["network"].sessions[0].interval_ms for networks in studied[None, 0.004]]
    assert coverage(intervals, 1.2) < 0.5


def test_the_p50_is_that_of_the_median_process(studied):
    for (disturbance, variation), found in studied.items():
        # A machine that is slower for minutes is slower for whole processes, the median one included.
        truth_ms = median_process_ms(found) if disturbance == "steps" else 1.2
        errors = [networks["network"].p50_ms / truth_ms - 1.0 for networks in found]
        assert abs(np.mean(errors)) < 0.01, (disturbance, variation)


def test_who_looks_often_sees_no_more():
    """Sessions are added as long as a network right at its limit is not kept; that must hardly ever help."""
    rng, kept = np.random.default_rng(0), 0
    assert sum(100.0 - percent_of_look(look) for look in range(1, 10_000)) < 10.0
    for _ in range(1000):
        p50s = rng.normal(1.0, BETWEEN, 20 * NUM_SESSIONS)
        looks = (median_interval(p50s[: NUM_SESSIONS * look], percent_of_look(look)) for look in range(1, 21))
        kept += any(high < 1.0 for _, high in looks)
    assert kept / 1000 <= 0.05


def test_more_sessions_narrow_the_interval_though_its_confidence_grows():
    rng = np.random.default_rng(0)
    widths = [
        np.mean(
            [np.diff(median_interval(rng.normal(size=NUM_SESSIONS * look), percent_of_look(look))) for _ in range(500)]
        )
        for look in (1, 2, 3, 6, 12)
    ]
    assert widths == sorted(widths, reverse=True)


def test_figures_are_medians_over_sessions_by_hand():
    sessions = [measurement_of([ms, ms]) for ms in (1.0, 1.02, 1.01, 1.3, 0.99, 1.03)]
    network = Repeated(sessions)
    assert network.p50_ms == pytest.approx(1.015) and network.interval_ms == (0.99, 1.3)
    largest = Repeated([measurement_of([2 * ms, 2 * ms]) for ms in (1.0, 1.02, 1.01, 1.3, 0.99, 1.03)])
    ratio = network.ratio_to(largest, "largest")
    assert ratio.p50 == 0.5 and ratio.interval == (0.5, 0.5)
    content = network.to_json()
    assert content["session_p50_ms"] == [1.0, 1.02, 1.01, 1.3, 0.99, 1.03] and content["interval_percent"] == 95.0
    assert len(content["sessions"]) == 6 and content["sessions"][0]["samples_ms"] == [1.0, 1.0]


def test_one_disturbed_session_of_twelve_is_outside_of_the_interval():
    values = [*np.linspace(0.99, 1.01, 11), 1.4]
    assert Repeated([measurement_of([ms]) for ms in values], look=2).interval_ms[1] == pytest.approx(1.01)


def test_the_90th_percentile_of_few_rounds_is_not_a_lower_one():
    rng = np.random.default_rng(0)
    found = [measurement_of(np.exp(rng.normal(0, 0.05, 17))).p90_ms for _ in range(1000)]
    assert np.median(found) == pytest.approx(np.exp(0.05 * 1.28155), rel=0.003)
