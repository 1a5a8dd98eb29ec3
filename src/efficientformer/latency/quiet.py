"""The latency of a machine left to itself, from samples some of which were disturbed.

On a shared machine the same code runs in two modes: at full speed, or up to one and a half times slower while a
neighbor uses the same core or cache, for parts of a second to minutes. The median of all samples then tells how busy
the neighbors were. The quiet median is the median of the samples near the fastest ones, and repeats; on a machine that
is quiet anyway it is the median.

Intervals come from resampling whole blocks of consecutive rounds (circular block bootstrap, Politis and Romano 1992),
since neighboring rounds see the same mode. One draw of rounds serves every candidate, so that what they share cancels
in differences and ratios.
"""

import math

import numpy as np

QUIET = 1.05
"""A sample is quiet up to this multiple of the fastest level."""
SKIPPED_SHARE = 1 / 20
"""Share of the samples, the fastest ones, that do not make the fastest level: a lucky sample is no level."""
NUM_RESAMPLES = 400
PERCENT = 95.0


def quiet_median(samples: np.ndarray) -> np.ndarray:
    """Median of the quiet samples along the first axis (rounds, ...)."""
    ordered = np.sort(samples, axis=0)
    count = np.sum(ordered <= quiet_limit(ordered), axis=0)[None]
    middle = [np.take_along_axis(ordered, index, axis=0)[0] for index in ((count - 1) // 2, count // 2)]
    return (middle[0] + middle[1]) / 2


def quiet_limit(samples: np.ndarray) -> np.ndarray:
    """The largest value (...) that counts as quiet among samples (rounds, ...)."""
    return QUIET * np.sort(samples, axis=0)[int(len(samples) * SKIPPED_SHARE)]


def resampled_rounds(num_rounds: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Indices of rounds (num_resamples, num_rounds), each row made of blocks of about sqrt(num_rounds) rounds."""
    block = max(1, round(math.sqrt(num_rounds)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(num_rounds, size=(num_resamples, -(-num_rounds // block), 1))
    rounds = (starts + np.arange(block)) % num_rounds
    return rounds.reshape(num_resamples, -1)[:, :num_rounds]


def resampled_quiet_medians(samples: np.ndarray) -> np.ndarray:
    """Quiet medians (num_resamples, ...) over resampled rounds of samples (rounds, ...)."""
    return np.stack([quiet_median(samples[rows]) for rows in resampled_rounds(len(samples))])


def percentile_interval(resampled: np.ndarray) -> np.ndarray:
    """Lower and upper end (2, ...) of the middle 95 % along the first axis."""
    outside = (100.0 - PERCENT) / 2
    return np.percentile(resampled, [outside, 100.0 - outside], axis=0)
