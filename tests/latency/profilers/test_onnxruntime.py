import pytest

from efficientformer.latency.profilers.onnxruntime import profile_onnxruntime
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

from .conftest import SHAPE


@pytest.fixture(scope="module")
def profile(residual_network):
    return profile_onnxruntime(OnnxRuntime(1), residual_network, (1, 3, 64, 64), rounds=5)


def test_every_convolution_is_found_under_its_own_name(profile):
    hosts = [operator for item in profile.operators if item.kind == "Conv" for operator in item.computes]
    found = {operator.path for operator in hosts if operator.kind == "Conv"}
    assert found == {operator.path for operator in profile.written if operator.kind == "Conv"}
    assert len(found) == 5


def test_activations_run_inside_convolutions(profile):
    assert "Relu" not in {item.kind for item in profile.operators}
    assert sum(operator.kind == "Relu" for operator in profile.written) == 5


def test_times_of_operators_add_up_to_about_the_total(profile):
    # Whatever else runs on the machine meets the timer and the profiler; two clocks of two calls never agree exactly.
    total = sum(item.ms for item in profile.operators)
    assert 0.5 * profile.total_ms < total < 2 * profile.total_ms
    assert not profile.is_shares


def test_each_block_of_ours_is_seen(small_network):
    profile = profile_onnxruntime(OnnxRuntime(1), small_network, SHAPE, rounds=5)
    paths = {operator.path for item in profile.operators for operator in item.computes}
    assert {"stem/conv1", "stages.0/blocks.0/fc1", "stages.1/downsample/conv", "head"} <= paths
    assert {"stages.3/blocks.1/token_mixer/qkv", "stages.3/blocks.1/mlp/fc2"} <= paths
    made_up = {item.kind for item in profile.operators if not item.computes}
    assert made_up <= {"ReorderInput", "ReorderOutput", "Reshape", "Transpose"}
