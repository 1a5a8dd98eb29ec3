import pytest

from efficientformer.analysis.hotspots.operator_classes import CLASSES, Roles, class_of, num_fused, written_class
from efficientformer.latency.profilers.profile import Operator, OperatorTime
from efficientformer.report.analysis import hotspot_figures

MIXED = [
    Operator("Conv", "stem/conv1"),
    Operator("Conv", "stem/conv2"),
    Operator("Conv", "stages.0/blocks.0/mlp/fc1"),
    Operator("Gelu", "stages.0/blocks.0/mlp/act"),
    Operator("Conv", "stages.1/downsample/conv"),
    Operator("Reshape", "stages.1/blocks.0/norm1"),
    Operator("InstanceNormalization", "stages.1/blocks.0/norm1"),
    Operator("MatMul", "stages.1/blocks.0/mixer/qkv"),
    Operator("Transpose", "stages.1/blocks.0/mixer"),
    Operator("MatMul", "stages.1/blocks.0/mixer"),
    Operator("Add", "stages.1/blocks.0/mixer"),
    Operator("Softmax", "stages.1/blocks.0/mixer"),
    Operator("MatMul", "stages.1/blocks.0/mixer/proj"),
    Operator("Add", "stages.1/blocks.0"),
    Operator("ReduceMean", ""),
    Operator("Gemm", "head"),
]
ROLES = Roles.of(MIXED)


@pytest.mark.parametrize(
    ("operator", "expected"),
    list(zip(
        MIXED,
        [
            "patch_embedding", "patch_embedding", "mlp", "activation", "patch_embedding", "normalization",
            "normalization", "attention", "reshape", "attention", "attention", "attention", "attention", "elementwise",
            "pooling", "head",
        ],
        strict=True,
    )),
)  # fmt: skip
def test_an_operator_has_the_class_of_its_module(operator, expected):
    assert written_class(operator, ROLES) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Operator("Conv", "layer1/layer1.0/downsample/downsample.0"), "convolution"),
        (Operator("Conv", "blocks/blocks.0/blocks.0.0/se/fc1"), "convolution"),
        (Operator("Conv", "blocks/blocks.0/blocks.0.0/conv_pw"), "convolution"),
        (Operator("Conv", "conv_head"), "convolution"),
        (Operator("Conv", "patch_embed/proj"), "patch_embedding"),
        (Operator("MatMul", "blocks/blocks.0/attn/proj"), "attention"),
        (Operator("MatMul", "stages/stages.1/downsample/mlp/ln1/linear"), "mlp"),
        (Operator("MatMul", "stages/stages.1/downsample/attn_downsample/kv/linear"), "attention"),
        (Operator("Mul", "bn1/act"), "activation"),
        (Operator("Sub", "stages.0/blocks.0/token_mixer"), "pooling"),
        (Operator("Mul", "stages.0/blocks.0/layer_scale1"), "elementwise"),
        (Operator("MatMul", "mystery"), "other"),
        (Operator("Frobnicate", "stages.0/blocks.0"), "other"),
    ],
)
def test_names_of_well_known_networks(operator, expected):
    assert written_class(operator, ROLES) == expected


def test_the_convolution_that_reads_the_image_embeds_it_whatever_its_name():
    roles = Roles.of([Operator("Conv", "conv1"), Operator("Conv", "layer1.0/conv1"), Operator("Gemm", "fc")])
    assert written_class(Operator("Conv", "conv1"), roles) == "patch_embedding"
    assert written_class(Operator("Conv", "layer1.0/conv1"), roles) == "convolution"
    assert written_class(Operator("Gemm", "fc"), roles) == "head"


@pytest.mark.parametrize(
    ("kind", "computes", "expected"),
    [
        ("Conv", ("stages.0/blocks.0/mlp/act Gelu", "stages.0/blocks.0/mlp/fc1 Conv"), "mlp"),
        ("Conv", ("stages.0/blocks.0/layer_scale1 Mul",), "elementwise"),
        ("Subgraph", ("stages.1/blocks.0 Add", "stages.1/blocks.0/mixer Softmax"), "attention"),
        ("Subgraph", (), "other"),
        ("SkipLayerNormalization", ("stages.1/blocks.0 Add",), "normalization"),
        ("ReorderOutput", (), "reshape"),
        ("Reorder", ("stages.0/blocks.0/mlp/fc1 Conv",), "reshape"),
        ("HSwish_3", (), "activation"),
        ("Mul", ("stages.0/blocks.0/mlp/act HardSwish",), "activation"),
    ],
)
def test_joined_and_added_operators(kind, computes, expected):
    operators = tuple(Operator(word.split()[1], word.split()[0]) for word in computes)
    assert class_of(OperatorTime(kind, 1.0, operators), ROLES) == expected


def test_fused_activations_are_counted():
    written = [Operator("Conv", "a"), Operator("Relu", "a/act"), Operator("Conv", "b"), Operator("Relu", "b/act")]
    executed = [
        OperatorTime("Conv", 1.0, (written[1], written[0])),
        OperatorTime("Conv", 1.0, (written[2],)),
        OperatorTime("Relu", 1.0, (written[3],)),
    ]
    assert num_fused(executed, written, Roles.of(written)) == {"activation": 1}


def test_the_figure_knows_every_class():
    assert set(hotspot_figures.CLASSES) == set(CLASSES)
