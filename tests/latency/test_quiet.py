import numpy as np
import pytest

from efficientformer.latency.quiet import (
    percentile_interval,
    quiet_median,
    resampled_quiet_medians,
    resampled_rounds,
)


def test_quiet_samples_give_the_plain_median():
    samples = np.array([1.0, 1.01, 1.02, 1.03, 1.04])
    assert quiet_median(samples) == pytest.approx(1.02)
    assert quiet_median(samples[:4]) == pytest.approx(1.015)


def test_slow_mode_does_not_count_even_as_a_majority():
    samples = np.array([1.0, 1.4, 1.41, 1.42, 1.02, 1.43, 1.44, 1.01])
    assert quiet_median(samples) == pytest.approx(1.01)


def test_one_lucky_sample_among_many_is_no_level():
    samples = np.concatenate([[0.7], np.full(39, 1.0)])
    assert quiet_median(samples) == 1.0


def test_columns_are_judged_one_by_one():
    one = np.array([1.0, 1.4, 1.01, 1.5])
    other = np.array([7.0, 5.0, 5.1, 7.2])
    both = quiet_median(np.stack([one, other], axis=1))
    assert both == pytest.approx([quiet_median(one), quiet_median(other)])


def test_rounds_are_resampled_in_blocks_of_neighbors():
    rounds = resampled_rounds(49, num_resamples=20)
    assert rounds.shape == (20, 49)
    assert rounds.min() >= 0 and rounds.max() < 49
    assert np.all((np.diff(rounds.reshape(20, 7, 7), axis=2) % 49) == 1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        modes = np.repeat(rng.choice([1.0, 1.4], size=12), 5)
        low, high = percentile_interval(resampled_quiet_medians(modes * rng.normal(1.0, 0.01, size=60)))
        covered += low <= 1.0 <= high
    assert covered >= 85
