"""The latency of an idle machine, from samples of which other work slowed some down.

On a shared machine the same code runs in two modes: at full speed, or up to one and a half times slower while a
neighbor uses the same core or cache, for parts of a second to minutes. The median of all samples then depends on the
neighbors. The quiet median, that of the samples near the fastest ones, is repeatable.

It is no median of a network whose own latency varies: at 3 % it is the 13th percentile of the calls, at 5 % the 7th. So
`is_disturbed` decides by the shape of the samples which of the two applies. A network's own variation is one hump,
about symmetric; other work only adds time, in all candidates alike. Where the shape is a hump, and where samples are
wall time, the latency is the plain median.

Intervals come from resampling whole blocks of consecutive rounds (circular block bootstrap, Politis and Romano 1992),
since neighboring rounds see the same mode. All candidates share one draw of rounds, so that common disturbances cancel
in differences. For two candidates, ratios within each round are more precise: whatever slows both cancels.
"""

import math

import numpy as np

QUIET = 1.03
"""A sample is quiet up to this multiple of the fastest level. Chosen among 1.02 to 1.05 for the smallest spread of the
medians of the same networks over seven processes on a busy machine (see benchmarks/LOG.md)."""
SKIPPED_SHARE = 1 / 20
"""Share of the samples, the fastest ones, that are skipped to find the fastest level: one lucky sample is an
outlier."""
# The shape of samples, from six quantiles. Of a bell curve, the middle half takes 0.41 of the width between the outer
# two, and the step to the second 0.24. Chosen for few errors in both directions, on bell curves of 0.4 to 10 % in 17 to
# 100 rounds, on the disturbances of the tests, and on 24 sessions of a busy machine (benchmarks/LOG.md).
LEVELS = (0.05, 0.2, 0.25, 0.5, 0.75, 0.95)
WIDEST = 0.45
MOST_SKEWED = 0.6
FLATTEST = 0.62
SHARPEST_EDGE = 0.06
NUM_RESAMPLES = 400
RESAMPLES_AT_ONCE = 50
MIN_PAIRS = 6
MIN_PAIRS_SHARE = 1 / 5
PERCENT = 95.0


def is_disturbed(samples: np.ndarray) -> bool:
    """Whether other work shaped most columns of samples (rounds, candidates): not one symmetric hump of usual width."""
    low, fast, quarter, middle, three_quarters, high = np.quantile(samples, LEVELS, axis=0, method="median_unbiased")
    width = np.maximum(high - low, np.finfo(float).tiny)
    is_wide = width / middle > WIDEST
    is_one_sided = np.abs(high - 2 * middle + low) / width > MOST_SKEWED
    has_two_humps = (three_quarters - quarter) / width > FLATTEST
    has_edge = (fast - low) / width < SHARPEST_EDGE
    return bool(np.mean((high > low) & (is_wide | is_one_sided | has_two_humps | has_edge)) > 0.5)


def latency_median(samples: np.ndarray, *, quiet: bool) -> np.ndarray:
    """The quiet or the plain median (...) along the first axis (rounds, ...)."""
    return quiet_median(samples) if quiet else np.median(samples, axis=0)


def quiet_median(samples: np.ndarray) -> np.ndarray:
    """Median of the quiet samples along the first axis (rounds, ...)."""
    ordered = np.sort(samples, axis=0)
    count = np.sum(ordered <= quiet_limit(ordered), axis=0)[None]
    middle = [np.take_along_axis(ordered, index, axis=0)[0] for index in ((count - 1) // 2, count // 2)]
    return (middle[0] + middle[1]) / 2


def quiet_limit(samples: np.ndarray) -> np.ndarray:
    """The largest value (...) that counts as quiet among samples (rounds, ...)."""
    return QUIET * np.sort(samples, axis=0)[int(len(samples) * SKIPPED_SHARE)]


def quiet_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which rounds are quiet for both of two candidates, and the next quietest where those are too few."""
    excess = np.maximum(first / quiet_limit(first), second / quiet_limit(second))
    enough = min(len(excess), max(MIN_PAIRS, math.ceil(MIN_PAIRS_SHARE * len(excess))))
    return excess <= max(1.0, np.sort(excess)[enough - 1])


def median_interval(values: np.ndarray, percent: float = PERCENT) -> tuple[float, float]:
    """Interval of the median of independent values, from order statistics, for any distribution.

    The coverage is at least `percent`, unless the values are too few (for 95 %: fewer than six); these give their
    smallest and largest.
    """
    ordered, count = np.sort(values), len(values)
    outside, tail, rank = (100.0 - percent) / 200, 0.5**count, 0
    while tail <= outside:
        rank += 1
        tail += math.comb(count, rank) / 2**count
    return float(ordered[max(rank - 1, 0)]), float(ordered[min(count - rank, count - 1)])


def resampled_rounds(num_rounds: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Indices of rounds (num_resamples, num_rounds), in blocks of about the cube root of num_rounds.

    With longer blocks there are too few of them: 80 rounds in blocks of 12 covered 87 % instead of 92 to 95 %.
    """
    block = max(1, round(num_rounds ** (1 / 3)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(num_rounds, size=(num_resamples, -(-num_rounds // block), 1))
    rounds = (starts + np.arange(block)) % num_rounds
    return rounds.reshape(num_resamples, -1)[:, :num_rounds]


def resampled_medians(samples: np.ndarray, *, quiet: bool) -> np.ndarray:
    """Medians (num_resamples, ...) over resampled rounds of samples (rounds, ...)."""
    parts = np.array_split(resampled_rounds(len(samples)), NUM_RESAMPLES // RESAMPLES_AT_ONCE)
    return np.concatenate([latency_median(samples[rows.T], quiet=quiet) for rows in parts])


def percentile_interval(resampled: np.ndarray) -> np.ndarray:
    """Lower and upper end (2, ...) of the middle 95 % along the first axis."""
    outside = (100.0 - PERCENT) / 2
    return np.percentile(resampled, [outside, 100.0 - outside], axis=0)
