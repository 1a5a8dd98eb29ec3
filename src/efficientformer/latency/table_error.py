"""How far a table is from whole networks: a calibration fitted on some of them, the error told by the others.

Chains keep their weights in a cache near the core; a large network cannot. So, besides a scale, a network may be
charged for each MiB of weights beyond a cache, the one thing that parts cannot know of one another.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from scipy.stats import kendalltau

from efficientformer.latency.table import Calibration, ErrorSummary

MIN_NETWORKS_FOR_CHOICE = 6
WORTHWHILE = 0.9
"""A second coefficient must bring the left-out error below this share of the error with a scale alone."""
CACHES_MIB = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass(frozen=True)
class _Form:
    """A way to calibrate: with a scale alone, or with an offset or a price of weights beyond a cache as well."""

    has_offset: bool = False
    cache_mib: float | None = None

    def fit(self, sums_ms: np.ndarray, weights_mib: np.ndarray, measured_ms: np.ndarray) -> Calibration:
        """Least squares of the relative error; no coefficient is negative."""
        columns = [sums_ms]
        if self.has_offset:
            columns.append(np.ones_like(sums_ms))
        if self.cache_mib is not None:
            columns.append(np.maximum(0.0, weights_mib - self.cache_mib))
        solution, _ = nnls(np.stack(columns, axis=1) / measured_ms[:, None], np.ones_like(measured_ms))
        scale, second = float(solution[0]), float(solution[-1])
        if self.has_offset:
            return Calibration(scale, offset_ms=second)
        if self.cache_mib is not None:
            return Calibration(scale, cache_mib=self.cache_mib, ms_per_mib=second)
        return Calibration(scale)


FORMS = (_Form(), _Form(has_offset=True), *(_Form(cache_mib=cache_mib) for cache_mib in CACHES_MIB))


def fit_calibration(sums_ms: ArrayLike, weights_mib: ArrayLike, measured_ms: ArrayLike) -> Calibration:
    """A scale; a second coefficient only where it predicts left-out networks much better than the scale alone."""
    sums, weights, measured = np.asarray(sums_ms), np.asarray(weights_mib), np.asarray(measured_ms)
    form, *others = FORMS
    if len(sums) >= MIN_NETWORKS_FOR_CHOICE:
        best = min(others, key=lambda other: _left_out_error(other, sums, weights, measured))
        if _left_out_error(best, sums, weights, measured) < WORTHWHILE * _left_out_error(form, sums, weights, measured):
            form = best
    return form.fit(sums, weights, measured)


def summarize_error(measured_ms: ArrayLike, predicted_ms: ArrayLike) -> ErrorSummary:
    """Mean and largest error in percent of the measured latency, and Kendall's tau (0 for fewer than two networks)."""
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


def _left_out_error(form: _Form, sums_ms: np.ndarray, weights_mib: np.ndarray, measured_ms: np.ndarray) -> float:
    errors = []
    for index in range(len(sums_ms)):
        others = np.arange(len(sums_ms)) != index
        calibration = form.fit(sums_ms[others], weights_mib[others], measured_ms[others])
        errors.append(abs(calibration.latency_ms(sums_ms[index], weights_mib[index]) / measured_ms[index] - 1.0))
    return float(np.mean(errors))
