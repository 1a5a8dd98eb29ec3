import os

import pytest

from efficientformer.latency.profilers.profile import Operator
from efficientformer.latency.profilers.pytorch import LOG_LEVEL, profile_pytorch
from efficientformer.latency.runtimes.pytorch import PyTorch

from .conftest import SHAPE


@pytest.fixture(scope="module")
def profile(small_network):
    return profile_pytorch(PyTorch(1), small_network, SHAPE, rounds=5)


def test_operators_come_with_the_module_that_calls_them(profile):
    assert Operator("conv2d", "stages.0/blocks.0/fc1") in profile.written
    assert Operator("linear", "stages.3/blocks.1/token_mixer/qkv") in profile.written
    assert Operator("softmax", "stages.3/blocks.1/token_mixer") in profile.written
    assert Operator("mean", "") in profile.written


def test_operators_inside_operators_do_not_count_twice(profile):
    kinds = {operator.kind for operator in profile.written}
    assert not kinds & {"convolution", "_convolution", "addmm", "mkldnn_convolution"}
    assert all(item.ms > 0 for item in profile.operators)


def test_nothing_is_left_behind(profile, small_network):
    assert LOG_LEVEL not in os.environ
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in small_network.modules())
