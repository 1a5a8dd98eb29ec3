import pytest
import torch
import torch._inductor.config
from torch import nn

from efficientformer.arch.zoo import build_architecture
from efficientformer.errors import LatencyError
from efficientformer.latency.runtimes.torch_compile import TorchCompile

from .conftest import random_network
from .test_runtimes import check_calling_thread, check_output

SHAPE = (1, 3, 8, 8)


class _Broken(nn.Module):
    def forward(self, x):
        torch._dynamo.graph_break()
        return x + 1


def test_a_missing_compiler_is_named():
    missing = {"cpp.cxx": (None, "no-such-compiler")}
    with torch._inductor.config.patch(missing), pytest.raises(LatencyError, match=r"no no-such-compiler here.* g\+\+"):
        TorchCompile(1)


def test_a_network_of_more_than_one_graph_is_refused():
    with pytest.raises(LatencyError, match=r"torch\.compile cannot run the network"):
        TorchCompile(1).prepare(_Broken(), SHAPE)


def test_running_without_compilation_is_an_error():
    with (
        torch._dynamo.config.patch(disable=True),
        pytest.raises(LatencyError, match="did not compile the network"),
    ):
        TorchCompile(1).prepare(nn.Conv2d(3, 8, 1), SHAPE)


@pytest.mark.slow
def test_weights_are_frozen_and_many_networks_are_compiled_each_for_itself():
    runtime = TorchCompile(1)
    networks = [nn.Conv2d(3, 8, 3) for _ in range(3)]
    shapes = [SHAPE, SHAPE, (1, 3, 12, 12)]
    with torch._dynamo.config.patch(recompile_limit=1):
        prepared = [runtime.prepare(network, shape) for network, shape in zip(networks, shapes, strict=True)]
    before = [network.output() for network in prepared]
    for network in networks:
        nn.init.zeros_(network.weight)
    for network, output in zip(prepared, before, strict=True):
        assert (network.output() == output).all() and output.any()


@pytest.mark.slow
def test_a_compiled_network_computes_the_same_in_the_calling_thread():
    one_of_each = build_architecture((32, 48, 96, 128), (1, 1, 1, 2), 1, stem_strides=(2, 1))
    network = random_network(architecture=one_of_each)
    prepared = TorchCompile(1).prepare(network, (1, 3, 32, 32))
    check_output("torch_compile", prepared.output(), network)
    check_calling_thread(prepared)


@pytest.mark.slow
def test_two_threads_compute_the_same():
    module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AvgPool2d(3))
    check_output("torch_compile", TorchCompile(2).prepare(module, (1, 3, 64, 64)).output(), module, (1, 3, 64, 64))
