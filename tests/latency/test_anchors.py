import numpy as np
import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.tables.anchors import check_agreement, choose_anchors, drift

from .test_compare_tables import table_of


def test_anchors_are_spread_over_the_latencies():
    table = table_of()
    anchors = choose_anchors(table)
    assert len(anchors) == 4 and anchors[0] == min(table.networks, key=lambda net: net.measured_ms)
    assert np.all(np.diff([anchor.measured_ms for anchor in anchors]) > 0)
    assert table.largest not in anchors


def test_drift_is_what_most_anchors_say():
    anchors = choose_anchors(table_of())
    told = np.array([anchor.measured_ms for anchor in anchors])
    now = told * np.array([1.2, 1.2, 1.2, 2.0])
    assert drift(anchors, now) == pytest.approx(1.2)
    check_agreement(anchors, now)


def test_anchors_that_disagree_are_refused():
    anchors = choose_anchors(table_of())
    told = np.array([anchor.measured_ms for anchor in anchors])
    with pytest.raises(LatencyError, match=r"0\.70, 0\.70, 1\.40, 1\.40 times.*less else is running"):
        check_agreement(anchors, told * np.array([0.7, 0.7, 1.4, 1.4]))
