from dataclasses import dataclass, field, replace

import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import IMAGENET, QUICK, V2_QUICK, V2_STANDARD, v1_space
from efficientformer.arch.spec import FFN, MB3D, MB4D, Architecture, AttnFFN, Stage
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.extend import extend_table
from efficientformer.latency.tables.formulas import architecture_formulas
from efficientformer.latency.tables.preparation import prepare_architecture, prepare_chain

from .synthetic import CALL_MS, Device, Machine, chain_latency_ms, part_latency_ms

OTHER = v1_space(
    "other",
    (96, 80, 112, 208),
    (2, 2, 2, 2),
    3,
    stem_strides=(2, 2),
    mb4d=MB4D(mlp_ratio=3),
    mb3d=MB3D(mlp_ratio=3, num_heads=3),
)


MIXED = OTHER.largest().with_stage(2, Stage(112, (MB4D(3), MB4D(2), MB3D(2, 3))))
NETWORKS = [
    OTHER.largest(),
    OTHER.build((16, 32, 48, 64), (1, 2, 2, 1), 2),
    MIXED,
    QUICK.largest(),
    V2_STANDARD.largest(),
    replace(V2_STANDARD, activation="hard_swish").largest(),
    V2_STANDARD.smallest(),
    *ZOO.values(),
]


@pytest.mark.parametrize("space", [QUICK, IMAGENET, V2_QUICK], ids=lambda space: space.name)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_every_part_of_any_network_has_a_formula(network, space):
    parts = network_parts(network, 64, 7)
    formulas = architecture_formulas(network, parts, space, 64, 7)
    assert list(formulas) == list(dict.fromkeys(parts))
    for part in parts:
        value = sum(weight * chain_latency_ms(chain) for chain, weight in formulas[part].weights.items())
        expected = part_latency_ms(part) + (CALL_MS if part.kind == "stem" else 0.0)
        assert value == pytest.approx(expected, abs=1e-9), part.key


@dataclass(frozen=True)
class Additive(Device):
    """A device that takes so much for each layer and each weight, `factor` times as long as the table's."""

    factor: float = 1.0
    prepared: list = field(default_factory=list)

    def prepare(self, module, input_shape):
        layers = [layer for layer in module.modules() if not list(layer.children())]
        weights = sum(parameter.numel() for parameter in module.parameters())
        latency_ms = self.factor * (CALL_MS + 0.01 * len(layers) + 1e-6 * weights)
        self.prepared.append(Machine(len(self.prepared)).candidate(latency_ms))
        return self.prepared[-1]


@pytest.fixture(scope="module")
def table():
    space = v1_space("tiny", (16, 16, 32, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1))
    return build_table(space, resolution=32, num_classes=5, runtime=Additive(), clock="cpu", rounds=8, num_networks=6)


def test_missing_parts_are_timed_and_nothing_else(table):
    network = table.space.build((16, 48, 32, 32), (1, 1, 1, 1), 0)
    with pytest.raises(LatencyError, match="no entry"):
        table.predict(network)
    runtime = Additive(factor=3.0)
    extended = extend_table(table, [network, network], runtime, rounds=8)
    added = set(extended.entries) - set(table.entries)
    assert {part.kind for part in added} == {"MB4D", "downsample"} and len(added) == 3
    assert all(extended.entries[part] == entry for part, entry in table.entries.items())
    (told,) = extended.history
    assert told["what"] == "extended" and told["scale"] == pytest.approx(1 / 3, rel=0.01)
    true_ms = prepare_architecture(network, 32, 5, Additive()).latency_ms
    assert extended.predict(network) == pytest.approx(true_ms, rel=0.02)
    assert len(runtime.prepared) < 20
    assert extend_table(extended, [network, table.space.largest()], runtime, rounds=8) is extended


def test_another_device_cannot_add_to_a_table(table):
    network = table.space.build((16, 48, 32, 32), (1, 1, 1, 1), 0)
    with pytest.raises(LatencyError, match="measured elsewhere"):
        extend_table(table, [network], open_runtime("onnxruntime"), rounds=4)


def check_sum(table, network):
    """Before calibration, the network takes what all of its parts take in one call."""
    parts = tuple(network_parts(network, 32, 5))
    together_ms = prepare_chain(parts, Additive()).latency_ms
    assert sum(map(table.part_latency_ms, parts)) == pytest.approx(together_ms, rel=0.02)


def test_a_network_of_v2_extends_a_table_of_the_first_spaces(table):
    attends = AttnFFN(3, num_heads=2, key_dim=8)
    stages = [(24, (FFN(2),)), (40, (FFN(3),)), (56, (FFN(3), FFN(4), attends)), (64, (attends, FFN(3)))]
    network = Architecture(tuple(Stage(width, blocks) for width, blocks in stages), (2, 1))
    assert table.missing_parts(network)
    check_sum(extend_table(table, [network], Additive(factor=2.0), rounds=8), network)


def test_a_network_whose_kinds_of_block_expand_differently_extends_a_table(table):
    blocks = (MB4D(3), MB3D(2, num_heads=2, key_dim=8))
    network = Architecture(
        (Stage(16, blocks[:1]), Stage(16, blocks[:1]), Stage(32, blocks), Stage(32, blocks[1:])), (2, 1)
    )
    check_sum(extend_table(table, [network], Additive(), rounds=8), network)
