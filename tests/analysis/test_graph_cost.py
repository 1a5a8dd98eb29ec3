from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from efficientformer.analysis.comparison.graph_cost import graph_cost
from efficientformer.arch.cost import network_cost
from efficientformer.arch.zoo import L1
from efficientformer.errors import LatencyError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse


def test_macs_of_an_exported_network_are_those_of_its_architecture(tmp_path: Path) -> None:
    shape = (1, 3, 96, 96)
    export_onnx(fuse(create_model(L1, resolution=96)), shape, tmp_path / "l1.onnx")
    assert graph_cost(tmp_path / "l1.onnx", shape).macs == network_cost(L1, 96, 1000).macs


def test_grouped_convolutions_and_transposed_ones_are_counted(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False), nn.ConvTranspose2d(8, 2, 2, stride=2, bias=False)
    )
    export_onnx(module, (1, 4, 6, 6), tmp_path / "net.onnx")
    cost = graph_cost(tmp_path / "net.onnx", (1, 4, 6, 6))
    assert cost.macs == 36 * 8 * 2 * 9 + 36 * 8 * 2 * 4
    assert cost.num_params == 8 * 2 * 9 + 8 * 2 * 4


def test_a_graph_with_an_operator_that_is_not_counted_has_no_macs(tmp_path: Path) -> None:
    class Mixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bchw,bdhw->bcd", x, x)

    export_onnx(Mixed(), (1, 3, 4, 4), tmp_path / "net.onnx")
    model = onnx.load_model(tmp_path / "net.onnx")
    assert "Einsum" in {node.op_type for node in model.graph.node}
    assert graph_cost(tmp_path / "net.onnx", (1, 3, 4, 4)).macs is None


@pytest.mark.parametrize("content", [b"", b"not a graph at all"])
def test_what_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(LatencyError, match=r"net\.onnx is not"):
        graph_cost(path, (1, 3, 4, 4))


def test_open_sizes_are_taken_from_the_input(tmp_path: Path) -> None:
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [5, 3, 1, 1], [1.0] * 15)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, "h", "w"])],
        [kernel],
    )
    path = tmp_path / "net.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    assert graph_cost(path, (1, 3, 8, 4)).macs == 15 * 32
