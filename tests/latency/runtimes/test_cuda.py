"""Without a CUDA device only refusals can be checked."""

import numpy as np
import pytest
import torch

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.files import input_sample
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtimes.cuda import require_cuda

from .conftest import SHAPE

has_cuda = torch.cuda.is_available()


@pytest.mark.skipif(has_cuda, reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_missing_device_is_named_with_its_remedy(name):
    with pytest.raises(LatencyError, match=f"'{name}' needs a CUDA device.*nvidia-smi"):
        require_cuda(name, 1)
    with pytest.raises(LatencyError, match=r"needs a CUDA device|pip install tensorrt"):
        open_runtime(name)


def test_threads_say_nothing_about_a_device():
    with pytest.raises(UsageError, match="--threads 2"):
        open_runtime("cuda", 2)


@pytest.mark.skipif(not has_cuda, reason="needs a CUDA device")
def test_graphs_compute_what_the_network_does_and_are_timed_by_events(network):
    with torch.no_grad():
        expected = network(torch.from_numpy(input_sample(SHAPE)))
    prepared = open_runtime("cuda").prepare(network, SHAPE)
    assert np.abs(prepared.output() - expected.numpy()).max() < 1e-3
    assert prepared.sample(Calls(2, 3), "wall") > 0
    with pytest.raises(LatencyError, match="their own events"):
        prepared.sample(Calls(2, 3), "cpu")
