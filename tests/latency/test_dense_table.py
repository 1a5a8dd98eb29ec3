"""The table of task models: backbone and head are parts of one sum."""

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.head_space import HeadSpace
from efficientformer.arch.parts import head_parts, network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import QUICK, V2_QUICK
from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.fit import fit_table, plan_table
from efficientformer.latency.tables.formulas import architecture_formulas, table_formulas
from efficientformer.latency.tables.table import LatencyTable

from .synthetic import CALL_MS, Device, Machine, chain_latency_ms, part_latency_ms

ORIGIN = {"machine": {}, "versions": {}, "time": "", "load": 0.0, "command": ""}
SEMANTIC = HeadSpace("semantic_fpn", (64, 48), (32,))
BOXES = HeadSpace("one_stage", (32,), (64, 32), (2, 1))
CASES = [(replace(space, head=head), (70, 40)) for space in (QUICK, V2_QUICK) for head in (SEMANTIC, BOXES)]
every_case = pytest.mark.parametrize(
    ("space", "resolution"), CASES, ids=["v1-semantic", "v1-boxes", "v2-semantic", "v2-boxes"]
)


@every_case
def test_entries_of_a_head_are_its_parts_alone(space, resolution):
    formulas = table_formulas(space, resolution, 5)
    for part, formula in formulas.items():
        found = sum(weight * chain_latency_ms(chain) for chain, weight in formula.weights.items())
        assert found == pytest.approx(part_latency_ms(part) + (CALL_MS if part.kind == "stem" else 0), abs=1e-9), (
            part.key
        )
    for network in (space.smallest(), space.largest()):
        assert set(network_parts(network, resolution, 5)) <= formulas.keys()
    chains = {chain for formula in formulas.values() for chain in formula.weights}
    for chain in chains:
        for before, after in pairwise(chain):
            assert before.width == after.in_width or (before.kind, after.kind) == ("box_level", "detections"), chain
    # A head adds few chains to those of the classifiers' space.
    without = table_formulas(replace(space, head=None), resolution, 5)
    assert len(chains) - len({chain for formula in without.values() for chain in formula.weights}) <= 31


@every_case
def test_task_models_are_predicted_exactly_on_an_additive_device(space, resolution):
    table = table_on(space, resolution)
    assert LatencyTable.from_json(table.to_json()) == table
    assert table.calibration.scale == pytest.approx(1.0) and table.error.max_percent < 1e-6
    rng = random.Random(1)
    for _ in range(20):
        network = space.random(rng)
        assert table.predict(network) == pytest.approx(chain_latency_ms(network_parts(network, resolution, 5)))
        assert not table.missing_parts(network)


def table_on(space: SearchSpace, resolution) -> LatencyTable:
    plan = plan_table(space, resolution, 5, chain_length=4, num_networks=6, seed=0)
    walks = [network_parts(network, resolution, 5) for network in plan.networks]
    truth = np.array([*map(chain_latency_ms, plan.chains), *map(chain_latency_ms, walks)])
    samples = np.tile(truth, (4, 1)).tolist()
    return fit_table(plan, samples, runtime=Device().describe(), threads=1, clock="cpu", provenance=ORIGIN)


def test_a_head_outside_the_table_is_missing_and_measured_by_its_own_formulas():
    space, resolution = CASES[0]
    table, other = table_on(space, resolution), replace(space.largest(), head=SemanticFpn(48, 24))
    missing = table.missing_parts(other)
    assert {part.kind for part in missing} == {"semantic_level", "semantic_classes"}
    with pytest.raises(LatencyError, match="no entry for semantic_level@"):
        table.predict(other)
    formulas = architecture_formulas(other, missing, space, resolution, 5)
    for part in missing:
        found = sum(weight * chain_latency_ms(chain) for chain, weight in formulas[part].weights.items())
        assert found == pytest.approx(part_latency_ms(part), abs=1e-9)


def test_a_network_that_ends_in_tokens_returns_to_maps_before_a_dense_head():
    parts = network_parts(replace(QUICK.largest(), head=OneStage(32, 32, 1)), 64, 5)
    kinds = [part.kind for part in parts]
    assert kinds[kinds.index("fpn_level") - 1] == "unflatten"
    assert kinds[-9:] == ["fpn_level"] * 3 + ["fpn_further"] + ["box_level"] * 4 + ["detections"]
    # Behind a stem of stride 2, levels at 1/4 to 1/32 of 64 pixels.
    assert [part.grid for part in parts[-5:]] == [(16, 16), (8, 8), (4, 4), (2, 2), (16, 16)]
    assert [part.kind for part in head_parts(QUICK.largest(), 64, 5)] == ["head"]


def test_a_table_of_task_models_end_to_end(tiny_space):
    runtime = open_runtime("onnxruntime", threads=1)
    space = replace(tiny_space, head=HeadSpace("semantic_fpn", (16, 8), (8,)))
    table = build_table(
        space, resolution=64, num_classes=5, clock="cpu", num_networks=2, chain_length=2, runtime=runtime, rounds=2
    )
    assert 0 < table.smallest.measured_ms < table.largest.measured_ms
    assert table.predict(space.smallest()) < table.predict(space.largest())
    assert {part.kind for part in table.entries} >= {"fpn_level", "semantic_level", "semantic_classes"}


@dataclass(frozen=True)
class Recorder(Device):
    """A device that notes what comes out of all that it is to time."""

    outputs: list[tuple[int, ...]] = field(default_factory=list)

    def prepare(self, module, input_shape):
        self.outputs.append(tuple(module(torch.zeros(input_shape)).shape))
        return Machine(len(self.outputs)).candidate(CALL_MS + 0.01 * len([*module.modules()]))


def test_detectors_are_timed_with_their_decoding(tiny_space):
    """In a chain for its own entry, and behind every whole network, as their files have it."""
    device = Recorder()
    space = replace(tiny_space, head=HeadSpace("one_stage", (16,), (16, 8), (1,)))
    options = {"resolution": (64, 48), "num_classes": 5, "clock": "cpu", "chain_length": 2, "rounds": 2}
    table = build_table(space, num_networks=2, runtime=device, **options)
    assert [part.kind for part in table.entries].count("detections") == 1
    assert device.outputs.count((1, OneStage.detections, 6)) == 1 + len(table.networks)
