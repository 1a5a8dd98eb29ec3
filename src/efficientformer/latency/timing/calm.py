"""Which rounds are calm: every candidate is timed in every round, so a slow round shows up in all of them.

A neighbor that slows this machine by a few percent for seconds slows every candidate, and no sample alone shows it. So
rounds are judged in windows by their pace, the median over the candidates of the ratio to the candidate's own median. A
window slower than the calmest one by more than `CALM` is disturbed, unless paces differ as much within windows: that is
how the networks themselves vary, and leaving slow windows out would only lower their medians. Samples of disturbed
windows stay in the record and count for no median, and the same number of rounds is taken again at the end, up to half
of those asked for. On a machine that is hardly ever calm, a single lucky window would remain; there the calmest half of
the rounds counts.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

WINDOW = 8
"""Rounds that are judged together; those left over at the end belong to the last window."""
CALM = 1.03
SCATTER = 2.2
"""Windows may differ by this multiple of the scatter within the calmer of them: five standard errors of their pace."""
CALMER_SHARE = 0.25
MAX_REDONE_SHARE = 0.5


def calm_rounds(samples_ms: ArrayLike) -> np.ndarray:
    """Which rounds (rounds,) of samples (rounds, candidates) are in calm windows."""
    levels, limit, window = _windows(samples_ms)
    return (levels <= limit)[window]


def counted_rounds(samples_ms: ArrayLike) -> np.ndarray:
    """Which rounds (rounds,) count for medians: calm ones, and the next calmest windows up to half of all rounds."""
    levels, limit, window = _windows(samples_ms)
    counted = levels <= limit
    for index in np.argsort(levels, kind="stable"):
        if 2 * counted[window].sum() >= len(window):
            break
        counted[index] = True
    return counted[window]


def _windows(samples_ms: ArrayLike) -> tuple[np.ndarray, float, np.ndarray]:
    """The pace of each window, the largest pace of a calm one, and the window (rounds,) of each round."""
    samples = np.asarray(samples_ms, dtype=float)
    pace = np.median(samples / np.median(samples, axis=0), axis=1)
    num_windows = max(1, len(pace) // WINDOW)
    window = np.minimum(np.arange(len(pace)) // WINDOW, num_windows - 1)
    paces = [pace[window == index] for index in range(num_windows)]
    levels = np.array([np.median(values) for values in paces])
    scatter = float(np.quantile([np.std(values) for values in paces], CALMER_SHARE))
    return levels, levels.min() * max(CALM, 1 + SCATTER * scatter), window


def num_missing(samples_ms: Sequence[Sequence[float]], rounds: int, most_redone: float = MAX_REDONE_SHARE) -> int:
    """Number of further rounds needed for `rounds` calm ones; none once the share `most_redone` was taken again."""
    if len(samples_ms) < rounds:
        return rounds - len(samples_ms)
    most = rounds + math.floor(most_redone * rounds)
    return max(0, min(rounds - int(calm_rounds(samples_ms).sum()), most - len(samples_ms)))
