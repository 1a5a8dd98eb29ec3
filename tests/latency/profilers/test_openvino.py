import pytest

pytest.importorskip("openvino")

from efficientformer.latency.profilers.exported_graph import Executed
from efficientformer.latency.profilers.openvino import _kind_of_joined, _run_at_loading, profile_openvino
from efficientformer.latency.runtimes.openvino import OpenVino

from .conftest import SHAPE


@pytest.fixture(scope="module")
def profile(small_network):
    return profile_openvino(OpenVino(1), small_network, SHAPE, rounds=5)


def test_shares_add_up_to_the_total_exactly(profile):
    assert profile.is_shares
    assert sum(item.ms for item in profile.operators) == pytest.approx(profile.total_ms)


def test_every_convolution_and_product_is_found_under_its_own_name(profile):
    computing = ("Conv", "MatMul", "Gemm")
    found = {operator.path for item in profile.operators for operator in item.computes if operator.kind in computing}
    # A counter of a tiny operator may round to nothing, so the heavy ones are asked for.
    assert {"stem/conv2", "stages.0/blocks.0/fc1", "stages.0/blocks.0/fc2", "stages.1/downsample/conv"} <= found


def test_what_runs_once_while_loading_is_left_out():
    executed = [
        Executed("Input", ("images",), ()),
        Executed("Const", ("weights",), ()),
        Executed("Reorder", (), (1,)),
        Executed("Convolution", ("/conv/Conv",), (0, 2)),
    ]
    assert _run_at_loading(executed) == {1, 2}


def test_joined_operators_with_made_up_names_are_what_their_members_are():
    assert _kind_of_joined(("Multiply_13192", "HSwish_15638")) == "HSwish_15638"
    assert _kind_of_joined(("Multiply_13206",)) == "Multiply_13206"
    assert _kind_of_joined(("/blocks.0/Add", "HSwish_1")) is None
    assert _kind_of_joined(()) is None
