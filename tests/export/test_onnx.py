import collections
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch

from efficientformer.analysis.comparison.random_weights import randomize
from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spec import FFN, MB3D, Architecture, AttnFFN, Stage
from efficientformer.arch.zoo import ZOO, build_architecture
from efficientformer.errors import RecordError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.onnx import export_onnx, read_onnx_metadata
from efficientformer.exporting.parity import onnx_output, onnx_parity
from efficientformer.latency.devices import open_runtime
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.parts import build_part, part_input_shape

SMALL = build_architecture((8, 16, 24, 32), (1, 1, 3, 2), 4, stem_strides=(2, 1), mb3d=MB3D(2, 2, 8, 2))
SMALL_V2 = Architecture(
    (
        Stage(8, (FFN(2),)),
        Stage(16, (FFN(),)),
        Stage(24, (FFN(3), AttnFFN(2, 2, 8, 2, stride=2))),
        Stage(32, (AttnFFN(2, 2, 8, 3), FFN(2))),
    ),
    stem_strides=(2, 1),
)


def trained(network: Network) -> Network:
    """Bias tables, batch norm statistics and layer scales away from where they start."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            if "attention_bias" in name:
                parameter.normal_()
            elif "layer_scale" in name:
                parameter.uniform_(0.3, 1)
            else:
                parameter.add_(0.05 * torch.randn_like(parameter))
    with torch.no_grad():
        for _ in range(3):
            network.train()(1 + 2 * torch.randn(8, 3, 64, 64))
    return network.eval()


def node_counts(path) -> collections.Counter:
    return collections.Counter(node.op_type for node in onnx.load_model(path).graph.node)


def test_released_network(tmp_path):
    network = trained(create_model("efficientformer_l1", has_distillation_head=True))
    path = tmp_path / "model.onnx"
    export_onnx(fuse(network), (1, 3, 224, 224), path)
    assert onnx_parity(network, path, (1, 3, 224, 224), num_images=2) <= 1e-4
    counts = node_counts(path)
    assert counts["Gelu"] == 15 and counts["Conv"] == 33 and counts["Softmax"] == 1
    assert counts["LayerNormalization"] == 3 and counts["AveragePool"] == 14
    assert not counts.keys() & {"Erf", "BatchNormalization", "Sub", "Gather", "Resize"}


# Sizes change maps and bias tables, whose code a family shares: one network of each is exported at another size.
PUBLISHED = [(name, (64, 96)) for name in ZOO]
PUBLISHED += [(name, (160, 160)) for name in ("efficientformer_l1", "efficientformerv2_s0")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), PUBLISHED)
def test_every_published_network_on_two_runtimes(tmp_path, name, size):
    shape = (1, 3, *size)
    network, path = create_model(name, resolution=size), tmp_path / "model.onnx"
    randomize(network, shape)
    export_onnx(fuse(network), shape, path)
    assert onnx_parity(network, path, shape, num_images=1) <= 1e-4
    with torch.no_grad():
        expected = network(torch.from_numpy(input_sample(shape))).numpy()
    found = open_runtime("openvino").open(path, shape).output()
    assert abs(found - expected).max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("resolution", [32, (40, 56), 33])
@pytest.mark.parametrize("folded", [False, True])
def test_small_networks_at_several_resolutions(tmp_path, architecture, resolution, folded):
    size = (resolution, resolution) if isinstance(resolution, int) else resolution
    network = trained(create_model(architecture, num_classes=5, resolution=resolution, has_distillation_head=True))
    path = tmp_path / "model.onnx"
    export_onnx(fuse(network) if folded else network, (2, 3, *size), path)
    assert onnx_parity(network, path, (2, 3, *size)) <= 1e-4


HEADS = [SemanticFpn(16, 8), OneStage(16, 8, 2)]


@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("head", HEADS, ids=["semantic", "boxes"])
def test_dense_heads_at_even_and_odd_sizes(tmp_path, architecture, head):
    """One output of static shape, without operators that compute shapes."""
    dense = replace(architecture, head=head)
    for size in ((64, 96), (33, 47)):
        network, path = trained(create_model(dense, num_classes=3, resolution=size)), tmp_path / "model.onnx"
        export_onnx(fuse(network), (1, 3, *size), path)
        assert onnx_parity(network, path, (1, 3, *size), num_images=2) <= 1e-4
        with torch.no_grad():
            shape = list(network(torch.zeros(1, 3, *size)).shape)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [value.shape for value in session.get_outputs()] == [shape]
        assert not node_counts(path).keys() & {"BatchNormalization", "Shape", "Gather", "NonZero", "Loop", "If"}


@pytest.mark.parametrize("head", HEADS, ids=["semantic", "boxes"])
def test_dense_heads_take_any_number_of_images(tmp_path, head):
    network = trained(create_model(replace(SMALL_V2, head=head), num_classes=3, resolution=(40, 56)))
    export_onnx(fuse(network), (2, 3, 40, 56), tmp_path / "model.onnx", dynamic_batch=True)
    for count in (1, 3):
        images = torch.randn(count, 3, 40, 56)
        with torch.no_grad():
            expected = network(images).numpy()
        assert abs(onnx_output(tmp_path / "model.onnx", images.numpy()) - expected).max() <= 1e-4 * expected.std()


def test_another_resolution_than_it_was_made_for(tmp_path):
    network = trained(create_model(SMALL, num_classes=5, resolution=32))
    path = tmp_path / "model.onnx"
    export_onnx(network, (1, 3, 48, 40), path)
    assert onnx_parity(network, path, (1, 3, 48, 40)) <= 1e-4


@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("folded", [False, True])
def test_any_number_of_images(tmp_path, architecture, folded):
    network, path = trained(create_model(architecture, num_classes=5, resolution=(40, 56))), tmp_path / "model.onnx"
    export_onnx(fuse(network) if folded else network, (2, 3, 40, 56), path, dynamic_batch=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        images = torch.randn(count, 3, 40, 56)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = network.eval()(images).numpy()
        assert found.shape == (count, 5) and abs(found - expected).max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2], ids=["v1", "v2"])
def test_torch_export_keeps_the_function(architecture):
    network = trained(create_model(architecture, num_classes=5, resolution=32)).eval()
    images = torch.randn(4, 3, 32, 32)
    batch = torch.export.Dim("batch", min=1, max=64)
    for module in (network, fuse(network)):
        exported = torch.export.export(module, (images[:2],), dynamic_shapes=({0: batch},)).module()
        with torch.no_grad():
            torch.testing.assert_close(exported(images), network(images), rtol=1e-4, atol=1e-4)


def test_every_part(tmp_path):
    for index, part in enumerate(network_parts(SMALL, 32, 5)):
        module, path = build_part(part), tmp_path / f"{index}.onnx"
        export_onnx(fuse(module), part_input_shape(part), path)
        assert onnx_parity(module, path, part_input_shape(part)) <= 1e-4, part.key


def test_runtime_fuses_what_the_file_leaves(tmp_path):
    """With all optimizations on, ONNX Runtime has a kernel for GELU and folds every computed shape."""
    network = trained(create_model(SMALL, num_classes=5, resolution=32))
    path, optimized = tmp_path / "model.onnx", tmp_path / "optimized.onnx"
    export_onnx(fuse(network), (1, 3, 32, 32), path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    counts = node_counts(optimized)
    assert sum(count for name, count in counts.items() if name.endswith("Gelu")) == 7
    assert not counts.keys() & {"Erf", "Shape", "Concat", "Slice"}


def test_metadata_and_shape(tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(create_model(SMALL, num_classes=5), (1, 3, 32, 32), path, {"classes": '["è", "b"]', "note": "x"})
    assert read_onnx_metadata(path) == {"classes": '["è", "b"]', "note": "x"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("images", [1, 3, 32, 32])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("logits", [1, 5])]
    (opset,) = onnx.load_model(path).opset_import
    assert opset.version == 20


def test_the_file_is_a_function_of_the_network(tmp_path):
    network = create_model(SMALL, num_classes=5)
    for name in ("a.onnx", "b.onnx"):
        export_onnx(network, (1, 3, 32, 32), tmp_path / name)
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert b".py" not in content  # no paths of the machine that wrote it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


@pytest.mark.filterwarnings("error")
def test_export_is_quiet_and_leaves_the_module_as_it_was(tmp_path, capfd):
    network = create_model(SMALL, num_classes=5).train()
    network.stages[0].eval()
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(network, (1, 3, 32, 32), tmp_path / "model.onnx")
    onnx_parity(network, tmp_path / "model.onnx", (1, 3, 32, 32), num_images=1)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_unreadable_files(tmp_path):
    with pytest.raises(RecordError, match=r"absent\.onnx"):
        read_onnx_metadata(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\xff not a model")
    with pytest.raises(RecordError, match=r"broken\.onnx"):
        read_onnx_metadata(tmp_path / "broken.onnx")
