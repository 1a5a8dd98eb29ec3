"""Confidence intervals by resampling rounds of measurement.

A machine changes speed for seconds at a time, so neighboring rounds resemble each other. Whole blocks of consecutive
rounds are drawn (circular block bootstrap, Politis and Romano 1992); drawing single rounds would call a drifting machine
certain. One draw of rounds serves every candidate, so that what is common to all of them cancels in differences and ratios.
"""

import math

import numpy as np

NUM_RESAMPLES = 400
PERCENT = 95.0


def resampled_rounds(num_rounds: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Indices of rounds (num_resamples, num_rounds), each row made of blocks of about sqrt(num_rounds) rounds."""
    block = max(1, round(math.sqrt(num_rounds)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(num_rounds, size=(num_resamples, -(-num_rounds // block), 1))
    rounds = (starts + np.arange(block)) % num_rounds
    return rounds.reshape(num_resamples, -1)[:, :num_rounds]


def resampled_medians(samples: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Medians (num_resamples, ...) over resampled rounds of samples (num_rounds, ...)."""
    rows = resampled_rounds(len(samples), num_resamples=num_resamples, seed=seed)
    return np.stack([np.median(samples[row], axis=0) for row in rows])


def percentile_interval(resampled: np.ndarray) -> np.ndarray:
    """Lower and upper end (2, ...) of the middle 95 % along the first axis."""
    outside = (100.0 - PERCENT) / 2
    return np.percentile(resampled, [outside, 100.0 - outside], axis=0)


def median_interval(samples: list[float] | tuple[float, ...] | np.ndarray) -> tuple[float, float]:
    """95 % interval of the median of one candidate's samples, in the samples' unit."""
    low, high = percentile_interval(resampled_medians(np.asarray(samples, dtype=float)))
    return float(low), float(high)
