import json
import math
import random
from typing import Any

import pytest

from efficientformer.arch.cost import sizes_mib
from efficientformer.arch.parts import Part, block_part, network_parts, stem_part
from efficientformer.arch.spaces import QUICK, v1_space
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.errors import LatencyError, RecordError
from efficientformer.latency.tables.calibration import Calibration, Spread
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.error import ErrorSummary, MeasuredNetwork
from efficientformer.latency.tables.staircases import Step
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.records import write_record

SPACE = v1_space(name="hand", max_widths=(32, 32, 32, 32), max_depths=(2, 2, 2, 2), max_mb3d=2)
MACHINE = {"cpu": "A", "cores": 2, "os": "Linux x86_64", "memory_gib": 8.0, "python": "3.12.1"}
RUNTIME = {
    "name": "onnxruntime",
    "version": "1.0",
    "compute_unit": "cpu",
    "precision": "fp32",
    "options": {"intra_op_threads": 1},
}
MAP, TOKENS = MB4D(), MB3D()


def hand_table(**changes):
    latencies = {
        stem_part((2, 2), 64, 16): 0.5,
        stem_part((2, 2), 64, 32): 0.9,
        **{block_part(MAP, (16 >> i, 16 >> i), w): 0.1 * w / 16 for i in range(4) for w in (16, 32)},
        block_part(TOKENS, (2, 2), 16): 0.3,
        block_part(TOKENS, (2, 2), 32): 0.7,
        **{
            Part("downsample", (16 >> i, 16 >> i), a, b): a * b / 1000
            for i in range(3)
            for a in (16, 32)
            for b in (16, 32)
        },
        **{Part("flatten", (2, 2), w, w): 0.01 for w in (16, 32)},
        **{Part("head", (2, 2), w, w, num_classes=10): w / 1000 for w in (16, 32)},
    }
    smallest = MeasuredNetwork(SPACE.smallest(), 1.0, (0.9, 1.1), 1.05)
    networks = tuple(MeasuredNetwork(SPACE.smallest(), 1.0, (0.9, 1.1), 1 / (1 + e), True) for e in (0.01, -0.04, 0.02))
    values = {
        "space": SPACE,
        "resolution": 64,
        "num_classes": 10,
        "runtime": RUNTIME,
        "threads": 1,
        "clock": "cpu",
        "entries": {part: Entry(ms, (ms * 0.9, ms * 1.1), 24) for part, ms in latencies.items()},
        "calibration": Calibration(),
        "spread": Spread(0.05, 1.0, 4.0),
        "largest": MeasuredNetwork(SPACE.largest(), 2.0, (1.9, 2.1), 2.1),
        "smallest": smallest,
        "networks": (smallest, *networks),
        "error": ErrorSummary(1.0, 2.0, 1.0, 3),
        "provenance": {"machine": MACHINE, "versions": {}, "time": "", "load": 0.0, "command": ""},
    }
    return LatencyTable(**{**values, **changes})


def test_prediction_is_the_sum_of_the_parts():
    table = hand_table()
    assert table.predict(SPACE.smallest()) == pytest.approx(0.5 + 4 * 0.1 + 3 * 0.256 + 0.01 + 0.016)
    network = SPACE.build((16, 16, 16, 32), (2, 1, 1, 2), 1)
    downsamples = 2 * 0.256 + 0.512
    assert table.predict(network) == pytest.approx(0.5 + 4 * 0.1 + downsamples + 0.2 + 0.01 + 0.7 + 0.032)


def test_calibration_scales_adds_and_prices_weights_that_miss_the_cache():
    plain = hand_table().predict(SPACE.largest())
    weights_mib, activations_mib = sizes_mib(network_parts(SPACE.largest(), 64, 10))
    sweep_mib = weights_mib + 4 * activations_mib
    assert 0.1 < weights_mib < 10 and 0.1 < activations_mib < 10
    scaled = hand_table(calibration=Calibration(scale=1.5, offset_ms=0.25))
    assert scaled.predict(SPACE.largest()) == pytest.approx(1.5 * plain + 0.25)
    priced = hand_table(calibration=Calibration(cache_mib=sweep_mib / 2, ms_per_mib=2.0))
    assert priced.predict(SPACE.largest()) == pytest.approx(plain + 2.0 * 0.7968 * weights_mib, rel=1e-3)
    roomy = hand_table(calibration=Calibration(cache_mib=sweep_mib + 0.1, ms_per_mib=2.0))
    assert roomy.predict(SPACE.largest()) == pytest.approx(plain)


def test_bounds_of_parts_add_up_to_no_more_than_any_network_takes():
    table = hand_table(calibration=Calibration(1.1, 0.2, cache_mib=0.3, ms_per_mib=2.0))
    part_ms, rng = table.part_bound_ms(SPACE), random.Random(0)
    drawn = [SPACE.random(rng) for _ in range(100)]

    def bound_ms(network):
        return table.calibration.offset_ms + sum(map(part_ms, network_parts(network, 64, 10)))

    assert bound_ms(SPACE.smallest()) == pytest.approx(table.predict(SPACE.smallest()))
    assert bound_ms(SPACE.largest()) < 0.99 * table.predict(SPACE.largest())
    known = [net for net in drawn if not table.missing_parts(net)]
    assert known and all(bound_ms(net) <= table.predict(net) + 1e-9 for net in known)


def test_a_prediction_has_an_interval():
    table = hand_table()
    latency_ms = table.predict(SPACE.smallest())
    low, high = table.spread.interval_ms(latency_ms)
    assert low < latency_ms < high
    assert high / latency_ms == pytest.approx(latency_ms / low) == pytest.approx(math.exp(0.05))


@pytest.mark.parametrize(
    "network",
    [
        SPACE.build((48, 16, 16, 16), (1, 1, 1, 1), 0),
        v1_space("other", (32, 32, 32, 32), (2, 2, 2, 2), 2, mb3d=MB3D(num_heads=4)).largest(),
        QUICK.smallest(),
    ],
)
def test_a_part_outside_the_table_is_named(network):
    with pytest.raises(LatencyError, match=r"no entry for \S+@\d+x\d+.*Build a table"):
        hand_table().predict(network)


def test_json_round_trip(tmp_path):
    table = hand_table(resolution=(64, 64), calibration=Calibration(1.1, 0.0, 2.0, 0.03), history=({"what": "merged"},))
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json")
    assert loaded == table
    assert loaded.predict(SPACE.largest()) == table.predict(SPACE.largest())


def test_record_keeps_to_its_format():
    content = json.loads(json.dumps(hand_table().to_json()))
    expected = {"format", "space", "entries", "scale", "offset_ms", "spread", "largest", "networks", "error"}
    assert expected | {"interpolation", "steps", "history"} <= set(content)
    assert set(content["largest"]) == {"architecture", "p50_ms", "interval_ms", "predicted_ms"}
    assert set(content["networks"][0]) == {
        "architecture",
        "measured_ms",
        "interval_ms",
        "predicted_ms",
        "held_out",
    }
    assert set(next(iter(content["entries"].values()))) == {
        "part",
        "latency_ms",
        "interval_ms",
        "samples",
        "chains_mib",
    }


@pytest.mark.parametrize("damage", [{"entries": {"x": 1.0}}, {"largest": {}}, {"space": {"name": "x"}}])
def test_damaged_files_are_refused(damage):
    content = {**hand_table().to_json(), **damage}
    with pytest.raises(RecordError, match="Not a latency table"):
        LatencyTable.from_json(content)


def test_a_table_of_an_earlier_format_is_refused_with_the_remedy(tmp_path):
    write_record(tmp_path / "table.json", {**hand_table().to_json(), "format": 4})
    with pytest.raises(RecordError, match=r"table\.json: .*format 4, .*reads format 6.*'efficientformer table'"):
        LatencyTable.load(tmp_path / "table.json")


def test_an_entry_of_an_unknown_part_is_refused():
    content = json.loads(json.dumps(hand_table().to_json()))
    next(iter(content["entries"].values()))["part"]["kind"] = "MB5D"
    with pytest.raises(RecordError, match="Unknown kind of part 'MB5D'"):
        LatencyTable.from_json(content)


def test_own_device_is_accepted():
    hand_table().check_device({**MACHINE, "memory_gib": 4.0, "python": "3.13"}, json.loads(json.dumps(RUNTIME)))


@pytest.mark.parametrize(
    ("machine", "runtime", "difference"),
    [
        ({**MACHINE, "cpu": "B"}, RUNTIME, "cpu is B, recorded was A"),
        ({**MACHINE, "cores": 4}, RUNTIME, "cores is 4"),
        (MACHINE, {**RUNTIME, "version": "2.0"}, "runtime version is 2.0, recorded was 1.0"),
        (MACHINE, {**RUNTIME, "name": "pytorch"}, "runtime name is pytorch"),
        (MACHINE, {**RUNTIME, "options": {"intra_op_threads": 2}}, "runtime options"),
    ],
)
def test_foreign_device_is_refused_with_the_difference_and_the_remedy(machine, runtime, difference):
    with pytest.raises(LatencyError, match=rf"{difference}.*build a table on this device"):
        hand_table().check_device(machine, runtime)


def test_an_error_beyond_the_limit_is_refused_with_the_remedy():
    table = hand_table(error=ErrorSummary(8.2, 20.0, 0.8, 24))
    table.check_error(9.0)
    with pytest.raises(LatencyError, match=r"8\.2 % on average.*7 % allowed.*--table.rounds.*--table.max-error 8\.3"):
        table.check_error(7.0)
    with pytest.raises(LatencyError, match="--threads 1"):
        hand_table(error=table.error, threads=2).check_error(7.0)


def test_parts_that_are_missing_are_listed_once():
    table = hand_table()
    assert table.missing_parts(SPACE.largest()) == []
    wide = SPACE.build((16, 48, 16, 16), (1, 2, 1, 1), 0)
    assert [(part.kind, part.in_width, part.width) for part in table.missing_parts(wide)] == [
        ("downsample", 16, 48),
        ("MB4D", 48, 48),
        ("downsample", 48, 16),
    ]


def test_a_table_from_before_precision_had_a_name_is_one_of_single_precision():
    content = hand_table().to_json()
    content["runtime"] = {name: value for name, value in RUNTIME.items() if name != "precision"}
    assert LatencyTable.from_json(content).runtime == RUNTIME


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("largest.p50_ms", -3.0, "largest.p50_ms must be greater than"),
        ("largest.p50_ms", math.inf, "largest.p50_ms must be"),
        ("smallest.interval_ms", [0.1], "smallest.interval_ms has too few items"),
        ("networks.0.measured_ms", 0.0, "networks.0.measured_ms must be greater than"),
        ("spread.fastest_ms", 0, "spread.fastest_ms must be greater than"),
        ("spread.log_half_width", 1e308, "spread.log_half_width must be less than"),
        ("resolution", [64, 0], "resolution: must be a side in pixels"),
        ("num_classes", 10**18, "num_classes must be less than"),
        ("space.stages.1.width_step", 0, "stages.1.width_step must be a positive multiple of 8"),
        ("space.stages.0.depth", 10**9, "stages.0.depth must be"),
        ("clock", "sundial", "clock must be 'cpu' or 'wall'"),
        ("format", None, "format must be a whole number"),
        ("provenance", {}, "provenance.machine is missing"),
    ],
)
def test_a_table_of_another_shape_is_one_line_that_names_the_field(tmp_path, field, value, problem):
    content: Any = json.loads(json.dumps(hand_table().to_json()))
    assert LatencyTable.from_json(content) == hand_table()
    *parents, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    inner = content
    for part in parents:
        inner = inner[part]
    inner[last] = value
    with pytest.raises(RecordError, match=problem):
        LatencyTable.from_json(content)


def test_a_block_whose_width_changes_is_no_part_and_steps_without_time_have_words():
    content: Any = json.loads(json.dumps(hand_table().to_json()))
    part = next(entry["part"] for entry in content["entries"].values() if "block" in entry["part"])
    part["in_width"] += 16
    with pytest.raises(RecordError, match="coming in as going out"):
        LatencyTable.from_json(content)
    assert "no measurable time" in str(Step("MB4D@8x8", 16, 32, 0.0, 0.0))
