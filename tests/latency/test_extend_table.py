from dataclasses import dataclass, field

import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import QUICK, v1_space
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.extend import extend_table
from efficientformer.latency.tables.formulas import architecture_formulas
from efficientformer.latency.tables.preparation import prepare_architecture

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


@pytest.mark.parametrize("network", [OTHER.largest(), OTHER.build((16, 32, 48, 64), (1, 2, 2, 1), 2), QUICK.largest()])
def test_every_part_of_any_network_has_a_formula(network):
    parts = network_parts(network, 64, 7)
    formulas = architecture_formulas(network, parts, QUICK, 64, 7)
    assert set(formulas) == set(parts)
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


def test_parts_of_v2_are_refused_with_the_remedy(table):
    with pytest.raises(LatencyError, match=r"not of EfficientFormerV2.*efficientformer benchmark"):
        extend_table(table, [ZOO["efficientformerv2_s0"]], Additive(), rounds=4)
