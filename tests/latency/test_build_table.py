import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.provenance import machine
from efficientformer.reading import read_lines

TASK = {"resolution": 32, "num_classes": 5, "clock": "cpu", "num_networks": 4, "chain_length": 3}


def test_table_of_a_tiny_space_end_to_end(tiny_space, runtime, tmp_path):
    told = []
    table = build_table(tiny_space, **TASK, runtime=runtime, rounds=6, progress=lambda *step: told.append(step))
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total, _ in told} == {len(told)} and told[-1][2] == "round 6 of 6"
    assert table.runtime == runtime.describe() and table.threads == 1 and table.clock == "cpu"
    table.check_device(machine(), runtime.describe())
    # Orders that hold by a wide margin on any machine; milliseconds hold on none.
    assert 0 < table.smallest.measured_ms < table.largest.measured_ms
    assert table.predict(tiny_space.smallest()) < table.predict(tiny_space.largest())
    assert table.predict(tiny_space.largest()) == pytest.approx(table.largest.predicted_ms)
    assert all(entry.samples == 6 for entry in table.entries.values())
    blocks = [entry for part, entry in table.entries.items() if part.kind == "MB3D"]
    assert blocks and all(entry.latency_ms > 0 for entry in blocks)
    assert table.error.num_networks == 4
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == table


def test_interrupted_build_goes_on_from_the_rounds_it_has(tiny_space, tmp_path):
    path = tmp_path / "table.jsonl"
    runtime = open_runtime("pytorch")

    def stop_after_round_3(done, total, text):
        if text.startswith("round 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_table(tiny_space, **TASK, runtime=runtime, rounds=5, partial_path=path, progress=stop_after_round_3)
    kept = read_lines(path, Any)
    assert len(kept) == 2 + 3
    texts = []
    table = build_table(
        tiny_space, **TASK, runtime=runtime, rounds=5, partial_path=path, progress=lambda *step: texts.append(step[2])
    )
    assert [text for text in texts if text.startswith("round")] == ["round 4 of 5", "round 5 of 5"]
    assert read_lines(path, Any)[:5] == kept and len(read_lines(path, Any)) == 2 + 5
    assert all(entry.samples == 5 for entry in table.entries.values())
    texts.clear()
    again = build_table(
        tiny_space, **TASK, runtime=runtime, rounds=5, partial_path=path, progress=lambda *step: texts.append(step[2])
    )
    assert texts == [] and again.entries == table.entries


def test_killed_process_loses_no_finished_round(tiny_space, tmp_path):
    path = tmp_path / "table.jsonl"
    program = f"""
        import os, pathlib, signal
        from efficientformer.arch.space import SearchSpace
        from efficientformer.latency.tables.build import build_table
        from efficientformer.latency.devices import open_runtime

        def kill(done, total, text):
            if text.startswith("round 2"):
                os.kill(os.getpid(), signal.SIGKILL)

        build_table(
            SearchSpace.from_json({tiny_space.to_json()!r}), **{TASK!r}, runtime=open_runtime("pytorch"), rounds=4,
            partial_path=pathlib.Path({str(path)!r}), progress=kill,
        )
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert killed.returncode == -signal.SIGKILL
    texts = []
    build_table(
        tiny_space,
        **TASK,
        runtime=open_runtime("pytorch"),
        rounds=4,
        partial_path=path,
        progress=lambda *step: texts.append(step[2]),
    )
    assert [text for text in texts if text.startswith("round")] == ["round 3 of 4", "round 4 of 4"]


def test_requests_that_cannot_give_a_table_are_refused_before_any_work(tiny_space):
    told = []
    for runtime, changes, message in (
        (open_runtime("pytorch", 2), {}, "one thread"),
        (open_runtime("pytorch"), {"rounds": 1}, "at least two rounds"),
        (open_runtime("pytorch"), {"num_networks": 1}, "two random networks"),
        (open_runtime("pytorch"), {"clock": "sun"}, "no clock"),
    ):
        with pytest.raises(LatencyError, match=message):
            build_table(tiny_space, **{**TASK, **changes}, runtime=runtime, progress=lambda *step: told.append(step))
    assert told == []
