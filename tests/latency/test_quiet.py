import numpy as np
import pytest

from efficientformer.latency.timing.quiet import (
    is_disturbed,
    median_interval,
    percentile_interval,
    quiet_median,
    quiet_pairs,
    resampled_medians,
    resampled_rounds,
)


def test_quiet_samples_give_the_plain_median():
    samples = np.array([1.0, 1.005, 1.01, 1.02, 1.025])
    assert quiet_median(samples) == pytest.approx(1.01)
    assert quiet_median(samples[:4]) == pytest.approx(1.0075)


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
    assert np.all(np.diff(rounds[:, :48].reshape(20, 12, 4), axis=2) % 49 == 1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        modes = np.repeat(rng.choice([1.0, 1.4], size=12), 5)
        low, high = percentile_interval(resampled_medians(modes * rng.normal(1.0, 0.01, size=60), quiet=True))
        covered += low <= 1.0 <= high
    assert covered >= 85


def test_resampled_medians_are_those_of_each_draw():
    samples = np.random.default_rng(0).normal(1.0, 0.1, (30, 3))
    draws = resampled_rounds(30)
    medians = resampled_medians(samples, quiet=True)
    assert medians.shape == (len(draws), 3)
    assert np.array_equal(medians[7], quiet_median(samples[draws[7]]))


def test_interval_of_a_median_by_hand():
    # Of ten fair coins one or fewer, or nine or more, are heads in 22 of 1024 cases; two or fewer in 5.5 %.
    assert median_interval(np.arange(10.0)[::-1]) == (1.0, 8.0)
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)
    assert median_interval(np.array([5.0])) == (5.0, 5.0)


def test_interval_of_a_median_covers_whatever_the_distribution():
    rng = np.random.default_rng(0)
    for draw, median in ((rng.standard_normal, 0.0), (lambda n: rng.pareto(1.0, n), 1.0)):
        intervals = [median_interval(draw(41)) for _ in range(1000)]
        assert np.mean([low <= median <= high for low, high in intervals]) >= 0.95


def test_pairs_are_quiet_where_both_are():
    first, second = np.ones(20), np.ones(20)
    first[:5] = 1.2
    second[3:9] = 1.5
    assert quiet_pairs(first, second).tolist() == [False] * 9 + [True] * 11


def test_too_few_quiet_pairs_are_joined_by_the_next_quiet_ones():
    first, second = np.ones(20), np.ones(20)
    first[:12], second[12:] = 1.3, 1.3
    second[3:9], first[14:17] = 0.99, 1.2
    first[0:6] = 1.1
    pairs = quiet_pairs(first, second)
    assert pairs.sum() == 6 and pairs[:6].all()
    assert quiet_pairs(np.ones(3), np.ones(3)).all()


@pytest.mark.parametrize("num_rounds", [17, 60])
@pytest.mark.parametrize("variation", [0.004, 0.01, 0.03, 0.05, 0.1])
def test_variation_of_the_networks_themselves_is_no_disturbance(variation, num_rounds):
    rng = np.random.default_rng(0)
    draws = [rng.normal(1.0, variation, (num_rounds, 3)) for _ in range(300)]
    assert np.mean([is_disturbed(samples) for samples in draws]) < 0.06


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_other_work_on_the_machine_is_recognized(share):
    rng = np.random.default_rng(0)
    for _ in range(100):
        samples = rng.normal(1.0, 0.005, (40, 3)) * np.where(rng.random((40, 3)) < share, 1 + rng.random((40, 3)), 1.0)
        assert is_disturbed(samples)


def test_one_network_that_varies_does_not_make_the_machine_disturbed():
    samples = np.random.default_rng(0).normal(1.0, 0.004, (60, 3))
    samples[::2, 1] *= 1.3
    assert is_disturbed(samples[:, [1]]) and not is_disturbed(samples)


def test_equal_samples_are_undisturbed():
    assert not is_disturbed(np.ones((40, 3)))
