import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficientformer.analysis.observations.verdict import (
    COSTS,
    EQUAL,
    FAILS,
    HOLDS,
    IN_PART,
    SAVES,
    UNDECIDED,
    overall,
    runtimes_differ,
    switch_effect,
    verdict_on,
    widened,
)


@pytest.mark.parametrize(
    ("interval", "bound", "threshold", "verdict"),
    [
        ((1.2, 1.4), "at least", 1.05, HOLDS),
        ((1.05, 1.4), "at least", 1.05, HOLDS),
        ((0.9, 1.04), "at least", 1.05, FAILS),
        ((1.0, 1.2), "at least", 1.05, UNDECIDED),
        ((1.01, 1.09), "at most", 1.1, HOLDS),
        ((1.01, 1.1), "at most", 1.1, HOLDS),
        ((1.12, 1.3), "at most", 1.1, FAILS),
        ((1.05, 1.15), "at most", 1.1, UNDECIDED),
    ],
)
def test_a_verdict_follows_from_the_side_of_the_interval(interval, bound, threshold, verdict):
    assert verdict_on(interval, bound, threshold) == verdict


@given(
    st.floats(0.1, 10),
    st.floats(1.0, 3),
    st.floats(1.0, 3),
    st.floats(0.1, 10),
    st.sampled_from(["at least", "at most"]),
)
def test_a_wider_interval_never_turns_a_verdict_around(center, narrow, factor, threshold, bound):
    inner = (center / narrow, center * narrow)
    outer = widened(inner, [factor])
    before, after = verdict_on(inner, bound, threshold), verdict_on(outer, bound, threshold)
    assert after in (before, UNDECIDED)


def test_copies_widen_an_interval_in_both_directions_by_the_largest_factor():
    assert widened((0.9, 1.2), []) == (0.9, 1.2)
    assert widened((0.9, 1.2), [1.01, 0.8]) == pytest.approx((0.9 * 0.8, 1.2 / 0.8))


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([FAILS, UNDECIDED, FAILS], FAILS),
        ([HOLDS, FAILS, UNDECIDED], IN_PART),
        ([UNDECIDED], UNDECIDED),
        ([HOLDS, UNDECIDED, UNDECIDED], UNDECIDED),
        ([HOLDS, UNDECIDED], HOLDS),
    ],
)
def test_a_claim_follows_from_its_experiments_and_is_undecided_if_most_are(verdicts, verdict):
    assert overall(verdicts) == verdict


@pytest.mark.parametrize(
    ("interval", "effect"),
    [
        ((0.8, 0.9), SAVES),
        ((1.1, 1.2), COSTS),
        ((0.99, 1.01), EQUAL),
        ((0.9, 1.0), UNDECIDED),
        ((0.97, 1.03), UNDECIDED),
    ],
)
def test_a_switch_saves_costs_or_makes_no_difference(interval, effect):
    assert switch_effect(interval) == effect


@pytest.mark.parametrize(
    ("intervals", "factor", "verdict"),
    [
        ({"a": (1.0, 1.1), "b": (2.2, 2.4)}, (2.0, 2.4), HOLDS),
        ({"a": (1.0, 1.01), "b": (1.0, 1.02)}, (1.0, 1.02), FAILS),
        ({"a": (1.0, 1.2), "b": (1.1, 1.3), "c": (1.05, 1.2)}, (1.0, 1.3), UNDECIDED),
    ],
)
def test_runtimes_differ_when_their_ratios_lie_apart(intervals, factor, verdict):
    found, verdict_found = runtimes_differ(intervals)
    assert found == pytest.approx(factor) and verdict_found == verdict
