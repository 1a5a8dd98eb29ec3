import numpy as np

from efficientformer.latency.timing.calm import WINDOW, calm_rounds, counted_rounds


def test_medians_are_of_half_of_the_rounds_at_least():
    """One window was lucky: alone it would stand for a machine that is hardly ever so fast."""
    samples = np.ones((40, 3))
    samples[8:16] *= 1.04
    samples[16:24] *= 1.06
    samples[24:] *= 1.2
    assert np.flatnonzero(calm_rounds(samples)).tolist() == list(range(8))
    assert np.flatnonzero(counted_rounds(samples)).tolist() == list(range(24))
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


def test_variation_of_the_networks_themselves_disturbs_no_window():
    """The pace of a window of one network that varies by 10 % differs by 4 %; the lowest windows are no level."""
    rng = np.random.default_rng(0)
    shares = [calm_rounds(rng.normal(1.0, 0.1, (80, 1))).mean() for _ in range(200)]
    assert np.mean(shares) > 0.95


def test_a_slow_window_is_disturbed_though_the_networks_vary():
    samples = np.random.default_rng(0).normal(1.0, 0.03, (80, 3))
    samples[16:40] *= 1.3
    assert np.flatnonzero(~calm_rounds(samples)).tolist() == list(range(16, 40))
