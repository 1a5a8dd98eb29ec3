import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from efficientformer.exporting.formats.reductions import REDUCTIONS, reduce_over_two_axes
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

SHAPE = (2, 3, 4, 5)


def reduction(path, kind, axes, *, opset, keepdims=1, computed=False):
    """A file with one reduction between two activations."""
    as_input = opset >= (13 if kind == "ReduceSum" else 18)
    initializers = [helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes)] if as_input else []
    nodes = [helper.make_node("Sigmoid", ["x"], ["a"])]
    if as_input and computed:
        nodes.append(helper.make_node("Identity", ["axes"], ["same"]))
    inputs = ["a", "same" if computed else "axes"] if as_input else ["a"]
    attributes = {} if as_input else {"axes": axes}
    nodes.append(helper.make_node(kind, inputs, ["b"], keepdims=keepdims, **attributes))
    nodes.append(helper.make_node("Sigmoid", ["b"], ["y"]))
    shape = np.ones(SHAPE).sum(tuple(axes), keepdims=bool(keepdims)).shape
    graph = helper.make_graph(
        nodes,
        "reduction",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializers,
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def rewrite(before, after):
    model = onnx.load_model(before)
    reduce_over_two_axes(model)
    onnx.save_model(model, after)


@pytest.mark.parametrize("kind", sorted(REDUCTIONS))
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_the_rewritten_file_computes_the_same_over_two_axes(kind, opset, tmp_path):
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    for axis in (-4, -1, 0, 1, 3):
        for keepdims in (0, 1):
            reduction(before, kind, [axis], opset=opset, keepdims=keepdims)
            rewrite(before, after)
            onnx.checker.check_model(onnx.load_model(after))
            expected, found = (OnnxRuntime(1).open(path, SHAPE).output() for path in (before, after))
            assert found.shape == expected.shape and np.allclose(found, expected, atol=1e-6)
            assert "Unsqueeze" in [node.op_type for node in onnx.load_model(after).graph.node]


def test_other_reductions_stay_as_they_are(tmp_path):
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    for axes, computed in (([1, 2], False), ([1], True)):
        reduction(before, "ReduceMean", axes, opset=18, computed=computed)
        rewrite(before, after)
        assert onnx.load_model(after).graph == onnx.load_model(before).graph
