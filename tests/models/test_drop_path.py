"""Stochastic depth, against timm's; and what networks are imported with."""

import subprocess
import sys

import pytest
import timm.layers
import torch

from efficientformer.models.metablocks import DropPath


@pytest.mark.parametrize("shape", [(64, 3), (64, 5, 3), (64, 3, 2, 2)])
def test_it_is_timms(shape):
    x = torch.randn(shape)
    dropped = []
    for make in (DropPath, timm.layers.DropPath):
        torch.manual_seed(0)
        dropped.append(make(0.4).train()(x))
    assert torch.allclose(*dropped) and not torch.equal(dropped[0], x)
    rows = dropped[0].flatten(1)
    kept = rows.abs().sum(dim=1) > 0
    assert 0 < kept.sum() < 64 and torch.allclose(rows[kept], x.flatten(1)[kept] / 0.6)


def test_evaluation_and_a_rate_of_zero_leave_everything():
    x = torch.randn(8, 3)
    assert DropPath(0.4).eval()(x) is x and DropPath().train()(x) is x


def test_networks_are_built_without_timm_and_torchvision():
    """Which take longer to import than torch does: every command waits for that."""
    code = "import sys, efficientformer.pipeline.phases.supernet; print({'timm', 'torchvision'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
