import pytest

from efficientformer.latency.profilers.kinds import family_of


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("Conv", "convolution"),
        ("GroupConvolution", "convolution"),
        ("FusedMatMul", "product"),
        ("aten::linear", "product"),
        ("scaled_dot_product_attention", "attention"),
        ("SkipLayerNormalization", "normalization"),
        ("MVN_693", "normalization"),
        ("aten::gelu_", "activation"),
        ("HSwish_15638", "activation"),
        ("adaptive_avg_pool2d", "pooling"),
        ("ReorderOutput", "reshape"),
        ("Multiply_13192", "elementwise"),
        ("Subgraph", None),
        ("/blocks.0/mlp/Add", None),
    ],
)
def test_types_of_every_runtime_have_a_family(kind, family):
    assert family_of(kind) == family
