"""How far a table is from whole networks: one scale fitted on some of them, the error told by the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from efficientformer.latency.table import ErrorSummary

MIN_NETWORKS_FOR_OFFSET = 6
WORTHWHILE = 0.8
"""An offset must bring the left-out error below this share of the error without it."""


@dataclass(frozen=True)
class Calibration:
    """measured = scale * sum of entries + offset_ms."""

    scale: float
    offset_ms: float

    def __call__(self, sums_ms: np.ndarray) -> np.ndarray:
        return self.scale * sums_ms + self.offset_ms


def fit_calibration(sums_ms: Sequence[float], measured_ms: Sequence[float]) -> Calibration:
    """The scale with the least squared relative error, with an offset only where leaving networks out shows its worth."""
    sums, measured = np.asarray(sums_ms), np.asarray(measured_ms)
    if len(sums) < MIN_NETWORKS_FOR_OFFSET:
        return _fit(sums, measured, with_offset=False)
    errors = {with_offset: _left_out_error(sums, measured, with_offset) for with_offset in (False, True)}
    return _fit(sums, measured, with_offset=errors[True] < WORTHWHILE * errors[False])


def summarize_error(measured_ms: Sequence[float], predicted_ms: Sequence[float]) -> ErrorSummary:
    """Mean and largest error in percent of the measured latency, and Kendall's tau (0 for fewer than two networks)."""
    measured, predicted = np.asarray(measured_ms), np.asarray(predicted_ms)
    percent = 100.0 * np.abs(predicted / measured - 1.0)
    tau = kendalltau(measured, predicted).statistic if len(measured) > 1 else 0.0
    return ErrorSummary(
        mean_percent=float(percent.mean()),
        max_percent=float(percent.max()),
        kendall_tau=float(np.nan_to_num(tau)),
        num_networks=len(measured),
    )


def _fit(sums: np.ndarray, measured: np.ndarray, *, with_offset: bool) -> Calibration:
    columns = [sums / measured, 1.0 / measured] if with_offset else [sums / measured]
    solution = np.linalg.lstsq(np.stack(columns, axis=1), np.ones(len(sums)), rcond=None)[0]
    return Calibration(float(solution[0]), float(solution[1]) if with_offset else 0.0)


def _left_out_error(sums: np.ndarray, measured: np.ndarray, with_offset: bool) -> float:
    errors = []
    for index in range(len(sums)):
        others = np.arange(len(sums)) != index
        predicted = _fit(sums[others], measured[others], with_offset=with_offset)(sums[index])
        errors.append(abs(predicted / measured[index] - 1.0))
    return float(np.mean(errors))
