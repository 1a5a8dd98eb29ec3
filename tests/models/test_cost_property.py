"""Analytic costs equal those of the module, for any architecture of the family."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from efficientformer.arch.cost import Cost, network_cost, part_cost
from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.parts import head_parts, network_parts
from efficientformer.arch.spec import FFN, MB3D, MB4D, Architecture, AttnFFN, Stage
from efficientformer.arch.zoo import build_architecture
from efficientformer.models.create import create_model
from efficientformer.models.parts import build_part, part_input_shape

SIDES = st.integers(1, 70)


STRIDES = st.sampled_from([(2, 2), (2, 1), (1, 2), (1, 1), (2, 2, 2), (1, 2, 1)])
V2_BLOCKS = st.one_of(
    st.builds(FFN, st.integers(1, 4)),
    st.builds(
        AttnFFN,
        mlp_ratio=st.integers(1, 4),
        num_heads=st.integers(1, 4),
        key_dim=st.sampled_from([4, 16, 32]),
        value_ratio=st.integers(1, 4),
        stride=st.integers(1, 2),
    ),
)
V2_STAGES = st.builds(Stage, st.integers(1, 6).map(lambda n: 8 * n), st.lists(V2_BLOCKS, min_size=1, max_size=3))
V2 = st.builds(Architecture, st.tuples(*[V2_STAGES] * 4), STRIDES)


@st.composite
def v1_architectures(draw) -> Architecture:
    widths = draw(st.tuples(*[st.integers(1, 6).map(lambda n: 8 * n)] * 4))
    depths = draw(st.tuples(*[st.integers(1, 3)] * 4))
    return build_architecture(
        widths,
        depths,
        draw(st.integers(0, depths[2] + depths[3])),
        stem_strides=draw(STRIDES),
        mb4d=MB4D(draw(st.integers(1, 4))),
        mb3d=MB3D(
            *draw(st.tuples(*[st.integers(1, 4)] * 2)), draw(st.sampled_from([4, 16, 32])), draw(st.integers(1, 4))
        ),
    )


ARCHITECTURES = st.one_of(v1_architectures(), V2)
WIDTHS = st.integers(1, 4).map(lambda n: 8 * n)
HEADS = st.one_of(st.builds(SemanticFpn, WIDTHS, WIDTHS), st.builds(OneStage, WIDTHS, WIDTHS, st.integers(1, 3)))


class ActivationCounter(TorchDispatchMode):
    """Elements that convolutions and matrix products put out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += out.numel()
        return out


def counted(module: torch.nn.Module, shape: tuple[int, ...]) -> Cost:
    with FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(shape, device="meta"))
    with ActivationCounter() as activations:
        module(torch.empty(shape, device="meta"))
    return Cost(counter.get_total_flops() // 2, sum(p.numel() for p in module.parameters()), activations.total)


@settings(max_examples=25, deadline=None)
@given(ARCHITECTURES, st.tuples(SIDES, SIDES), st.integers(1, 20), st.booleans())
def test_network_cost_is_that_of_the_module(architecture, resolution, num_classes, has_distillation_head):
    with torch.device("meta"):
        network = create_model(
            architecture,
            num_classes=num_classes,
            resolution=resolution,
            has_distillation_head=has_distillation_head,
        )
    cost = network_cost(architecture, resolution, num_classes, has_distillation_head=has_distillation_head)
    assert counted(network, (1, 3, *resolution)) == cost


@settings(max_examples=10, deadline=None)
@given(ARCHITECTURES, st.tuples(SIDES, SIDES))
def test_part_cost_is_that_of_the_module(architecture, resolution):
    for part in network_parts(architecture, resolution, 7):
        with torch.device("meta"):
            module = build_part(part)
        assert counted(module, part_input_shape(part)) == part_cost(part)


@settings(max_examples=6, deadline=None)
@given(ARCHITECTURES, HEADS, st.tuples(SIDES, SIDES), st.integers(1, 9))
def test_dense_heads_cost_what_their_modules_do(architecture, head, resolution, num_classes):
    dense = replace(architecture, head=head)
    with torch.device("meta"):
        network = create_model(dense, num_classes=num_classes, resolution=resolution)
    assert counted(network, (1, 3, *resolution)) == network_cost(dense, resolution, num_classes)
    for part in head_parts(dense, resolution, num_classes):
        with torch.device("meta"):
            module = build_part(part)
        if part.kind == "detections":  # has no weights, and as many boxes as the data have
            assert part_cost(part) == Cost() and not [*module.parameters()]
            continue
        cost = counted(module, part_input_shape(part))
        # Levels share their branches: the first has their parameters.
        is_shared = part.kind == "box_level" and part.level.number > 0
        assert (replace(cost, num_params=1) if is_shared else cost) == part_cost(part), part.key
