"""Reductions of ONNX files, rewritten in a form that pnnx converts correctly.

pnnx (20261020) loses the axis of a reduction over a single one and reduces over none; two axes it keeps. So each single
axis gets a neighbor of size one.
"""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}


def reduce_over_two_axes(model: ModelProto) -> None:
    """Rewrite every reduction over one axis in place; the model computes the same."""
    constants = {item.name: item for item in model.graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        axes = _axes(node, constants) if node.op_type in REDUCTIONS else []
        nodes += _over_two_axes(model, node, axes[0]) if len(axes) == 1 else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _axes(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> list[int]:
    """Axes of a reduction, which older operator sets keep in an attribute; none when they are computed."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            return list(attribute.ints)
    if len(node.input) < 2 or node.input[1] not in constants:
        return []
    return numpy_helper.to_array(constants[node.input[1]]).tolist()


def _over_two_axes(model: ModelProto, node: NodeProto, axis: int) -> list[NodeProto]:
    """The axis, and a new one of size one behind it; axes below zero count from the end, the new one included."""
    both, new = ([axis, axis + 1], axis + 1) if axis >= 0 else ([axis - 1, axis], axis)
    keepdims = next((attribute.i for attribute in node.attribute if attribute.name == "keepdims"), 1)
    source, result = node.input[0], node.output[0]
    wide, reduced = f"{result}/wide", f"{result}/reduced" if keepdims else result

    def with_axes(kind: str, source: str, target: str, axes: list[int], **attributes: Any) -> NodeProto:
        if _takes_axes_as_input(model, kind):
            constant = f"{target}/axes"
            model.graph.initializer.append(numpy_helper.from_array(np.array(axes, dtype=np.int64), constant))
            return helper.make_node(kind, [source, constant], [target], **attributes)
        return helper.make_node(kind, [source], [target], axes=axes, **attributes)

    nodes = [
        with_axes("Unsqueeze", source, wide, [new]),
        with_axes(node.op_type, wide, reduced, both, keepdims=keepdims),
    ]
    return [*nodes, with_axes("Squeeze", reduced, result, [new])] if keepdims else nodes


def _takes_axes_as_input(model: ModelProto, kind: str) -> bool:
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return opset >= (18 if kind.startswith("Reduce") and kind != "ReduceSum" else 13)
