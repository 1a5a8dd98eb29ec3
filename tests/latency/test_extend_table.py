import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import QUICK, SearchSpace
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.errors import LatencyError
from efficientformer.latency.build_table import build_table
from efficientformer.latency.chains import architecture_formulas
from efficientformer.latency.extend_table import extend_table
from efficientformer.latency.runtimes import open_runtime

from .synthetic import CALL_MS, chain_latency_ms, part_latency_ms

OTHER = SearchSpace(
    "other", (96, 80, 112, 208), (2, 2, 2, 2), 3, stem_strides=(2, 2), mb4d=MB4D(mlp_ratio=3), mb3d=MB3D(num_heads=3)
)


@pytest.mark.parametrize("network", [OTHER.largest(), OTHER.build((16, 32, 48, 64), (1, 2, 2, 1), 2), QUICK.largest()])
def test_every_part_of_any_network_has_a_formula(network):
    parts = network_parts(network, 64, 7)
    formulas = architecture_formulas(network, parts, QUICK, 64, 7)
    assert set(formulas) == {part.key for part in parts}
    for part in parts:
        value = sum(weight * chain_latency_ms(chain) for chain, weight in formulas[part.key].weights.items())
        expected = part_latency_ms(part) + (CALL_MS if part.kind == "stem" else 0.0)
        assert value == pytest.approx(expected, abs=1e-9), part.key


class Scaled:
    """A runtime whose every sample is a known multiple of what the table was made with."""

    def __init__(self, runtime, factor):
        self._runtime, self._factor = runtime, factor
        self.name, self.threads, self.num_prepared = runtime.name, runtime.threads, 0
        self.describe, self.machine = runtime.describe, runtime.machine
        self.open, self.suffixes = runtime.open, runtime.suffixes

    def prepare(self, module, input_shape):
        self.num_prepared += 1
        prepared, factor = self._runtime.prepare(module, input_shape), self._factor

        class Slower:
            output = prepared.output

            def sample(self, calls, clock):
                return factor * prepared.sample(calls, clock)

        return Slower()


@pytest.fixture(scope="module")
def table():
    space = SearchSpace("tiny", (16, 16, 32, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1))
    return build_table(
        space, resolution=32, num_classes=5, runtime=open_runtime("pytorch"), clock="cpu", rounds=8, num_networks=6
    )


def test_missing_parts_are_timed_and_nothing_else(table):
    network = table.space.build((16, 48, 32, 32), (1, 1, 1, 1), 0)
    with pytest.raises(LatencyError, match="no answer"):
        table.predict(network)
    runtime = Scaled(open_runtime("pytorch"), 3.0)
    extended = extend_table(table, [network, network], runtime, rounds=8)
    added = set(extended.entries) - set(table.entries)
    assert {key.partition("@")[0] for key in added} == {"MB4D", "downsample"} and len(added) == 3
    assert all(extended.entries[key] == entry for key, entry in table.entries.items())
    assert extended.predict(network) > 0
    # Three times as slow a machine is brought back to the table's by its anchors; load moves this by far less.
    (told,) = extended.history
    assert told["what"] == "extended" and 0.15 < told["scale"] < 0.7
    assert runtime.num_prepared < 20
    assert extend_table(extended, [network, table.space.largest()], runtime, rounds=8) is extended


def test_another_device_cannot_add_to_a_table(table):
    network = table.space.build((16, 48, 32, 32), (1, 1, 1, 1), 0)
    with pytest.raises(LatencyError, match="measured elsewhere"):
        extend_table(table, [network], open_runtime("onnxruntime"), rounds=4)
