"""`table show`, `check`, `merge`, `diff` and `predict` on tables of a synthetic device."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import v1_space
from efficientformer.cli.app import run
from efficientformer.cli.table.show import block_title
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.fit import fit_table, plan_table
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.reading import read_record
from efficientformer.records import write_record

SPACE = v1_space("tiny", (16, 16, 64, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1))
COMMANDS = ("show", "check", "merge", "diff", "predict")


def table_of(*, speed=1.0, seed=0, threads=1, noise=0.005):
    plan = plan_table(SPACE, 32, 5, chain_length=3, num_networks=8, seed=0)
    walks = [network_parts(network, 32, 5) for network in plan.networks]
    truth = speed * np.array(
        [0.02 + sum(0.01 + part.width / 1000 for part in parts) for parts in plan.chains + tuple(walks)]
    )
    samples = truth * np.exp(np.random.default_rng(seed).normal(0, noise, (16, len(truth))))
    runtime = open_runtime("pytorch", threads)
    origin = {"machine": runtime.machine(), "versions": {}, "time": "2026-11-22T12:00:00+00:00", "load": 0.1}
    return fit_table(
        plan, samples.tolist(), runtime=runtime.describe(), threads=threads, clock="cpu", provenance=origin
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table_of().save(tmp_path / "first.json")
    table_of(seed=1, speed=1.1).save(tmp_path / "second.json")
    table_of().save(tmp_path / "run" / "table.json")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command, capsys):
    assert run(["table", command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"efficientformer table {command}" in text and "For example" in text and "--json" in text


@pytest.mark.parametrize("table", ["first.json", "run"])
def test_show_takes_a_file_or_a_run_directory(folder, capsys, table):
    assert run(["table", "show", table]) == 0
    text = capsys.readouterr().out
    for words in ("pytorch", "1 thread, cpu clock", "space tiny at 32 px", "8 unseen networks", "MB3D", "downsample"):
        assert words in text, words
    assert run(["table", "show", table, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["num_entries"] == len(table_of().entries) and record["error"]["num_networks"] == 8
    (maps,) = [block for block in record["stages"][2]["blocks"] if block["kind"] == "MB4D"]
    assert maps["widths"] == maps["fast_widths"] == [16, 32, 48, 64]


def test_a_block_is_called_by_what_others_of_its_kind_have_not():
    def titles(*options):
        blocks = [{"kind": "MB3D", "expansion": expansion, "num_heads": heads} for expansion, heads in options]
        return [block_title(block, [*blocks, {"kind": "MB4D", "expansion": 2, "num_heads": None}]) for block in blocks]

    assert titles((4, 8)) == ["MB3D"] and titles((4, 8), (2, 8)) == ["MB3D, expansion 4", "MB3D, expansion 2"]
    assert titles((None, 2), (None, 1)) == ["MB3D, 2 heads", "MB3D, 1 head"]
    assert titles((4, 8), (2, 8), (2, 4))[2] == "MB3D, expansion 2, 4 heads"


def test_check_passes_on_this_device_and_names_what_it_found(folder, capsys):
    assert run(["table", "check", "first.json"]) == 0
    text = capsys.readouterr().out
    assert "mean error" in text and "every narrower block is faster" in text


def test_check_tells_staircases(folder, capsys):
    table = table_of()
    (part,) = [part for part in table.entries if (part.kind, part.grid, part.width) == ("MB4D", (4, 4), 32)]
    entries = {**table.entries, part: Entry(0.2, (0.199, 0.201), 16)}
    replace(table, entries=entries).save(folder / "stairs.json")
    assert run(["table", "check", "stairs.json", "--json"]) == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert "48 to 32 channels" in step


def test_check_fails_with_one_sentence(folder, capsys):
    record = read_record(folder / "first.json", Any)
    record["provenance"]["machine"]["cpu"] = "Some other chip"
    record["error"]["mean_percent"] = 12.5
    write_record(folder / "bad.json", record)
    assert run(["table", "check", "bad.json", "--json"]) == 1
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["problems"]) == 2
    assert "recorded was Some other chip" in captured.err and "12.5 %" in captured.err
    assert "Traceback" not in captured.err


def test_check_measures_networks_here_and_finds_a_table_that_invents(folder, capsys):
    assert run(["table", "check", "first.json", "--measure", "2", "--rounds", "4", "--json"]) == 1
    captured = capsys.readouterr()
    unseen = json.loads(captured.out)["unseen"]
    assert len(unseen["networks"]) == 2 and len(unseen["drifts"]) == 1 and "at_table_speed" in unseen
    assert all(network["measured_ms"] > 0 for network in unseen["networks"])
    assert "measured now" in captured.err or "times as long" in captured.err


def test_check_says_that_the_table_has_seen_every_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(globals(), "SPACE", v1_space("three", (16, 16, 16, 48), (1, 1, 1, 1), 0))
    table_of().save(tmp_path / "few.json")
    assert run(["table", "check", str(tmp_path / "few.json"), "--measure", "2", "--rounds", "4"]) == 2
    captured = capsys.readouterr()
    assert "made from every network of its space" in " ".join(captured.err.split()) and "Traceback" not in captured.err


def test_merge_writes_one_table(folder, capsys):
    assert run(["table", "merge", "first.json", "second.json", "--out", "both.json"]) == 0
    merged = LatencyTable.load(folder / "both.json")
    assert merged.history[-1]["what"] == "merged" and "both.json" in capsys.readouterr().out
    middle = merged.largest.measured_ms / table_of().largest.measured_ms
    assert middle == pytest.approx(1.1**0.5, rel=0.02)


def test_merge_refuses_what_does_not_belong_together(folder, capsys):
    record = read_record(folder / "second.json", Any)
    record["clock"] = "wall"
    write_record(folder / "wall.json", record)
    assert run(["table", "merge", "first.json", "wall.json", "-o", "x.json"]) == 1
    assert "clock is wall" in capsys.readouterr().err
    assert not (folder / "x.json").exists()
    assert run(["table", "merge", "first.json", "-o", "x.json"]) == 2


def test_diff_tells_the_scale_and_the_order(folder, capsys):
    assert run(["table", "diff", "first.json", "second.json", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scale"] == pytest.approx(1.1, rel=0.02) and record["kendall_tau"] > 0.9
    assert run(["table", "diff", "first.json", "run"]) == 0
    text = capsys.readouterr().out
    assert "run takes 1.000 times as long as first.json" in text and "0 of" in text


def test_predict_gives_an_interval_and_extends_only_when_told(folder, capsys):
    network = SPACE.build((16, 16, 48, 32), (1, 1, 1, 1), 1)
    write_record(folder / "inside.json", network.to_json())
    assert run(["table", "predict", "first.json", "inside.json"]) == 0
    assert "ms [" in capsys.readouterr().out
    outside = SPACE.build((16, 32, 48, 32), (1, 1, 1, 1), 1)
    write_record(folder / "outside" / "architecture.json", outside.to_json())
    assert run(["table", "predict", "first.json", "outside"]) == 1
    assert "--extend" in capsys.readouterr().err
    assert run(["table", "predict", "first.json", "nowhere"]) == 2


def test_predict_times_what_is_missing(tmp_path, monkeypatch, capsys):
    from efficientformer.latency.tables.build import build_table

    monkeypatch.chdir(tmp_path)
    runtime = open_runtime("pytorch")
    table = build_table(
        SPACE, resolution=32, num_classes=5, runtime=runtime, clock="cpu", rounds=8, num_networks=6, chain_length=2
    )
    # This is about the verb: a machine too unsteady to add to a table is `test_anchors`'s.
    monkeypatch.setattr("efficientformer.latency.tables.anchors.MAX_DISAGREEMENT", 10.0)
    table.save(tmp_path / "table.json")
    write_record(tmp_path / "wide.json", SPACE.build((16, 32, 48, 32), (1, 1, 1, 1), 1).to_json())
    command = ["table", "predict", "table.json", "wide.json", "--extend", "--rounds", "8", "--out", "wider.json"]
    assert run([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["num_added"] == 3 and record["latency_ms"] > 0
    assert run(["table", "predict", "wider.json", "wide.json"]) == 0
    assert LatencyTable.load(tmp_path / "table.json") == table


@pytest.mark.parametrize("command", [["show", "x"], ["check", "x"], ["diff", "x", "y"], ["merge", "x", "y", "-o", "z"]])
def test_a_table_that_is_not_there_is_named(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["table", *command]) == 2
    error = capsys.readouterr().err
    assert "x does not exist" in error and "Traceback" not in error


def test_a_table_of_an_older_format_is_to_be_built_again(folder, capsys):
    record = read_record(folder / "first.json", Any)
    write_record(folder / "old.json", {**record, "format": 3})
    assert run(["table", "show", "old.json"]) == 1
    error = capsys.readouterr().err
    assert "old.json: This latency table has format 3" in error and "Measure it again" in error
