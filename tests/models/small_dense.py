"""Small networks with dense heads."""

from dataclasses import replace

import pytest

from efficientformer.arch.dense import OneStage, SemanticFpn

from .small import SMALL, SMALL_V2

DENSE = [replace(small, head=head) for small in (SMALL, SMALL_V2) for head in (SemanticFpn(16, 8), OneStage(16, 24, 2))]
DENSE_IDS = ["v1-semantic", "v1-boxes", "v2-semantic", "v2-boxes"]
every_dense = pytest.mark.parametrize("dense", DENSE, ids=DENSE_IDS)
