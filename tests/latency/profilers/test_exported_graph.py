"""What an executed operator stands for, on graphs written by hand as runtimes leave them."""

from efficientformer.latency.profilers.exported_graph import Executed, ExportedGraph
from efficientformer.latency.profilers.profile import Operator


def chain(*names: str, skips: dict[str, tuple[str, ...]] | None = None) -> ExportedGraph:
    """A graph of nodes "/path/Kind_1" that each read the one before, and what `skips` adds."""
    operators = {
        name: Operator(name.rpartition("/")[2].partition("_")[0], name[1:].rpartition("/")[0]) for name in names
    }
    reads = {name: (names[index - 1],) if index else () for index, name in enumerate(names)}
    for name, more in (skips or {}).items():
        reads[name] += more
    return ExportedGraph(operators, reads, {f"{name}_output_0": name for name in names} | {"logits": names[-1]})


def kinds_and_paths(found):
    return [[(operator.kind, operator.path) for operator in operators] for operators in found]


def test_a_convolution_named_after_its_activation_is_the_convolution():
    graph = chain("/stem/conv/Conv", "/stem/act/Relu", "/block/conv/Conv", "/block/Add", "/block/act/Relu")
    executed = [
        Executed("Conv", ("/stem/act/Relu_output_0_nchwc",), ()),
        Executed("Conv", ("/block/act/Relu_output_0_nchwc",), (0,)),
    ]
    assert kinds_and_paths(graph.stands_for(executed)) == [
        [("Relu", "stem/act"), ("Conv", "stem/conv")],
        [("Relu", "block/act"), ("Conv", "block/conv"), ("Add", "block")],
    ]


def test_names_are_found_with_what_runtimes_add_to_them():
    graph = chain("/a/MatMul", "/a/Reshape_2", "/head/Gemm")
    assert graph.find("/a/MatMul/MatMulAddFusion") == "/a/MatMul"
    assert graph.find("/a/MatMul/WithoutBiases") == "/a/MatMul"
    assert graph.find("/a/Reshape_2_new_reshape") == "/a/Reshape_2"
    assert graph.find("logits") == "/head/Gemm"
    assert graph.find("gemm_input_reshape_token_7") is None


def test_a_transpose_named_after_a_product_leaves_the_product_to_its_own_operator():
    graph = chain("/fc1/MatMul", "/fc1/Add")
    executed = [
        Executed("Transpose", ("/fc1/MatMul/transpose_a",), ()),
        Executed("FullyConnected", ("/fc1/Add",), (0,)),
    ]
    assert kinds_and_paths(graph.stands_for(executed))[1] == [("Add", "fc1"), ("MatMul", "fc1")]


def test_an_operator_whose_name_is_lost_is_found_before_its_reader():
    graph = chain("/mlp/fc1/MatMul", "/mlp/act/HardSwish", "/mlp/fc2/MatMul")
    executed = [
        Executed("FullyConnected", ("Multiply_13",), ()),
        Executed("HSwish_15", ("HSwish_15",), (0,)),
        Executed("FullyConnected", ("/mlp/fc2/MatMul",), (1,)),
    ]
    assert kinds_and_paths(graph.stands_for(executed)) == [
        [("MatMul", "mlp/fc1")],
        [("HardSwish", "mlp/act")],
        [("MatMul", "mlp/fc2")],
    ]


def test_a_reorder_and_a_constant_stand_for_nothing():
    graph = chain("/conv/Conv", "/norm/InstanceNormalization", "/norm/Reshape")
    executed = [
        Executed("Conv", ("/conv/Conv",), ()),
        Executed("Reorder", ("",), (0,)),
        Executed("MVN", ("MVN_40",), (1,)),
        Executed("Const", ("Constant_7",), ()),
        Executed("Reshape", ("/norm/Reshape",), (2, 3)),
    ]
    found = kinds_and_paths(graph.stands_for(executed))
    assert found[1] == found[3] == []
    assert found[2] == [("InstanceNormalization", "norm")]


def test_an_activation_takes_its_members_and_not_those_of_its_neighbors():
    graph = chain("/conv/Conv", "/act/Sigmoid", "/act/Mul", skips={"/act/Mul": ("/conv/Conv",)})
    executed = [
        Executed("Conv", ("/conv/Conv_output_0_nchwc",), ()),
        Executed("QuickGelu", ("/act/Mul/QuickGeluFusion/",), (0,)),
        Executed("ReorderOutput", ("ReorderOutput_token_2", "/act/Mul_output_0"), (1,)),
    ]
    found = kinds_and_paths(graph.stands_for(executed))
    assert found[:2] == [[("Conv", "conv")], [("Mul", "act"), ("Sigmoid", "act")]]
