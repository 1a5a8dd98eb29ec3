"""The networks as torch.hub finds them."""

import importlib.util
import sys
from pathlib import Path

import torch

from efficientformer.arch.zoo import ZOO

REPOSITORY = Path(__file__).parents[2]


def test_torch_hub_knows_every_published_network(monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    spec = importlib.util.spec_from_file_location("hubconf_of_ours", REPOSITORY / "hubconf.py")
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    assert all(callable(getattr(hubconf, name)) and name in getattr(hubconf, name).__doc__ for name in ZOO)
    options = {"num_classes": 3, "resolution": 64}
    network = torch.hub.load(str(REPOSITORY), "efficientformerv2_s0", source="local", trust_repo=True, **options)
    assert network.architecture == ZOO["efficientformerv2_s0"]
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
