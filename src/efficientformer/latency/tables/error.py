"""How far a table is from whole networks: each network is predicted by a calibration that has not seen it.

Chains are small enough to keep their weights in a cache; a large network is not. So, besides a scale, a calibration may
have a price for each MiB of weights that miss a cache, the one thing that does not add up over parts. Chains of wide
blocks outgrow the cache as well; their misses are in the entries already and are not counted again. The form of the
calibration is chosen by its error on networks left out one at a time; to estimate the error of that choice, it is made
again without the network that is predicted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from efficientformer.arch.spec import Architecture
from efficientformer.latency.tables.calibration import Calibration, Spread

MIN_NETWORKS_FOR_CHOICE = 6
WORTHWHILE = 0.9
"""A second coefficient must bring the left-out error below this share of the error with a scale alone."""
CACHES_MIB = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 24.0, 28.0, 32.0, 40.0, 48.0, 64.0)
COVERED = 0.95
SINGULAR = 1e-9
UncachedMib = Mapping[float, np.ndarray]
"""By MiB of the cache, MiB of each network's weights that miss it, beyond those that its entries include."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """A whole network: measured median, its 95 % interval, and predicted latency.

    `held_out` networks were predicted by a calibration fitted without them: the table's error is computed from those.
    """

    architecture: Architecture
    measured_ms: float
    interval_ms: tuple[float, float]
    predicted_ms: float
    held_out: bool = False

    @property
    def error_percent(self) -> float:
        """Prediction minus measurement, in percent of the measurement."""
        return 100.0 * (self.predicted_ms / self.measured_ms - 1.0)


@dataclass(frozen=True)
class ErrorSummary:
    """Error over held-out networks: percent of the measured latency, and Kendall's tau of the two orders."""

    mean_percent: float
    max_percent: float
    kendall_tau: float
    num_networks: int


@dataclass(frozen=True)
class _Form:
    """A way to calibrate: a scale alone, or a scale with an offset or with a price of weights that miss a cache."""

    has_offset: bool = False
    cache_mib: float | None = None

    def relative(self, sums_ms: np.ndarray, uncached_mib: UncachedMib, measured_ms: np.ndarray) -> np.ndarray:
        """What the coefficients multiply, divided by the measured latency: (networks, 2); the second may be zero."""
        second = np.zeros_like(sums_ms)
        if self.has_offset:
            second = np.ones_like(sums_ms)
        elif self.cache_mib is not None:
            second = uncached_mib[self.cache_mib]
        return np.stack([sums_ms, second], axis=1) / measured_ms[:, None]

    def fit(self, sums_ms: np.ndarray, uncached_mib: UncachedMib, measured_ms: np.ndarray) -> Calibration:
        """Least squares of the relative error; no coefficient is negative."""
        relative = self.relative(sums_ms, uncached_mib, measured_ms)
        scale, second = map(float, _solve(relative.T @ relative, relative.sum(axis=0)))
        if self.has_offset:
            return Calibration(scale, offset_ms=second)
        if self.cache_mib is not None:
            return Calibration(scale, cache_mib=self.cache_mib, ms_per_mib=second)
        return Calibration(scale)

    def left_out_error(self, sums_ms: np.ndarray, uncached_mib: UncachedMib, measured_ms: np.ndarray) -> float:
        """Mean relative error over the networks, each predicted from all the others."""
        relative = self.relative(sums_ms, uncached_mib, measured_ms)
        own = relative[:, :, None] * relative[:, None, :]
        coefficients = _solve(own.sum(axis=0) - own, relative.sum(axis=0) - relative)
        return float(np.mean(np.abs((relative * coefficients).sum(axis=1) - 1.0)))


FORMS = (_Form(), _Form(has_offset=True), *(_Form(cache_mib=cache_mib) for cache_mib in CACHES_MIB))


def fit_calibration(sums_ms: ArrayLike, uncached_mib: UncachedMib, measured_ms: ArrayLike) -> Calibration:
    """Fit a scale, and a second coefficient where it predicts left-out networks much better than the scale alone."""
    given = np.asarray(sums_ms, float), uncached_mib, np.asarray(measured_ms, float)
    form, *others = FORMS
    if len(given[0]) >= MIN_NETWORKS_FOR_CHOICE:
        best = min(others, key=lambda other: other.left_out_error(*given))
        if best.left_out_error(*given) < WORTHWHILE * form.left_out_error(*given):
            form = best
    return form.fit(*given)


def calibrated_ms(calibration: Calibration, sums_ms: np.ndarray, uncached_mib: UncachedMib) -> np.ndarray:
    """Milliseconds of each network by the calibration."""
    extra_mib = uncached_mib.get(calibration.cache_mib, np.zeros_like(sums_ms))
    return np.array([calibration.latency_ms(*pair) for pair in zip(sums_ms, extra_mib, strict=True)])


def cross_predictions(sums_ms: ArrayLike, uncached_mib: UncachedMib, measured_ms: ArrayLike) -> np.ndarray:
    """Milliseconds of each network by a calibration from all the others, its form included."""
    sums, measured = np.asarray(sums_ms, float), np.asarray(measured_ms, float)
    predicted = np.empty_like(sums)
    for index in range(len(sums)):
        others = np.arange(len(sums)) != index
        seen = {cache_mib: extra_mib[others] for cache_mib, extra_mib in uncached_mib.items()}
        calibration = fit_calibration(sums[others], seen, measured[others])
        predicted[index] = calibrated_ms(calibration, sums, uncached_mib)[index]
    return predicted


def fit_spread(predicted_ms: ArrayLike, measured_ms: ArrayLike, held_out: ArrayLike) -> Spread:
    """The 95 % interval of unseen networks by Student's t, from the logarithms of measured over predicted latency.

    `held_out` marks the networks that were predicted without having been seen; the range is that of all networks.
    """
    from scipy.stats import t  # Slow to import, and not needed to load a table.

    measured, unseen = np.asarray(measured_ms, float), np.asarray(held_out, bool)
    logs = np.log(measured[unseen] / np.asarray(predicted_ms, float)[unseen])
    quantile = float(t.ppf((1 + COVERED) / 2, len(logs)))
    # Deviations from zero, not from the mean: a bias is an error, too.
    half_width = quantile * float(np.sqrt(np.mean(logs**2)))
    return Spread(half_width, float(measured.min()), float(measured.max()))


def summarize_error(measured_ms: ArrayLike, predicted_ms: ArrayLike) -> ErrorSummary:
    """Mean and largest error in percent of the measured latency, and Kendall's tau (0 for fewer than two networks)."""
    from scipy.stats import kendalltau  # Slow to import, and not needed to load a table.

    measured, predicted = np.asarray(measured_ms), np.asarray(predicted_ms)
    percent = 100.0 * np.abs(predicted / measured - 1.0)
    statistic = kendalltau(measured, predicted)[0] if len(measured) > 1 else 0.0
    tau = float(np.asarray(statistic))
    return ErrorSummary(
        mean_percent=float(percent.mean()),
        max_percent=float(percent.max()),
        kendall_tau=0.0 if math.isnan(tau) else tau,
        num_networks=len(measured),
    )


def _solve(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Two coefficients (..., 2) of least squares from (..., 2, 2) and (..., 2); a second that is not positive is 0."""
    determinant = gram[..., 0, 0] * gram[..., 1, 1] - gram[..., 0, 1] ** 2
    first = gram[..., 1, 1] * moment[..., 0] - gram[..., 0, 1] * moment[..., 1]
    second = gram[..., 0, 0] * moment[..., 1] - gram[..., 0, 1] * moment[..., 0]
    usable = determinant > SINGULAR * gram[..., 0, 0] * np.maximum(gram[..., 1, 1], np.finfo(float).tiny)
    both = usable & (first > 0) & (second > 0)
    divisor = np.where(both, determinant, 1.0)
    alone = moment[..., 0] / gram[..., 0, 0]
    return np.stack([np.where(both, first / divisor, alone), np.where(both, second / divisor, 0.0)], axis=-1)
