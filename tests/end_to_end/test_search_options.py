"""Options of the search, on the finished run of small real images: recovery, torchrun, a second device, limits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from efficientformer.cli.app import run
from efficientformer.pipeline.phases import baselines
from efficientformer.reading import read_record
from efficientformer.search.subnet import Subnet

from .conftest import SCALE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recovering(designed, tmp_path_factory) -> Path:
    """A run whose descent trains after every second step and tries contenders."""
    run_dir = tmp_path_factory.mktemp("recovering") / "run"
    shutil.copytree(designed[0], run_dir)
    options = ("--slim.polish", "0", "--slim.workers", "1", "--slim.recover-every", "2", "--slim.recover-steps", "3")
    trials = ("--slim.recover-lr", "0.01", "--slim.trials", "3", "--slim.trial-epochs", "1")
    assert run(["slim", "--run-dir", str(run_dir), *options, *trials]) == 0
    return run_dir


def test_a_descent_that_trains_on_its_way_goes_on_with_the_weights_it_had(recovering, program, tmp_path):
    run_dir = tmp_path / "killed"
    shutil.copytree(recovering, run_dir)
    journal = run_dir / "slim" / "steps.jsonl"
    steps, trace = journal.read_text(), read_record(run_dir / "slim" / "trace.json", Any)
    recovered = [step for step in trace["steps"] if step["accuracy"] != step["candidates"][step["taken"]]["accuracy"]]
    assert recovered and all(step["step"] % 2 == 0 for step in recovered)
    # Killed between the training of the last such step and its line in the journal, with nothing judged known any more.
    last = 2 * (len(trace["steps"]) // 2)
    journal.write_text("".join(steps.splitlines(keepends=True)[: 1 + last]))
    for name in ("trace.json", "evaluations.jsonl"):
        (run_dir / "slim" / name).unlink()
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 0 and "Traceback" not in stderr, stderr
    assert journal.read_text() == steps


@pytest.mark.parametrize("is_known", [True, False], ids=["scores known", "scores lost"])
def test_a_resumed_descent_that_trains_draws_the_same_contenders(recovering, program, tmp_path, is_known):
    run_dir = tmp_path / "killed"
    shutil.copytree(recovering, run_dir)
    trace_path = run_dir / "slim" / "trace.json"
    before = read_record(trace_path, dict)
    trace_path.unlink()
    if not is_known:
        (run_dir / "slim" / "evaluations.jsonl").unlink()
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 0, stderr
    after = read_record(trace_path, dict)
    assert after["budgets"] == before["budgets"] and after["num_evaluations"] == before["num_evaluations"]


def test_rivals_are_scored_with_the_weights_of_the_network_that_they_are_compared_with(
    recovering, program, tmp_path, monkeypatch
):
    """Every random rival is the slimmed network itself, so it has the same score."""
    run_dir = tmp_path / "compared"
    shutil.copytree(recovering, run_dir)
    found = [Subnet.from_json(entry) for entry in read_record(run_dir / "slim" / "trace.json", dict)["budgets"]]
    monkeypatch.setattr(baselines, "random_subnets", lambda *_, slowest_ms, **__: next(waiting))
    waiting = iter([[subnet] for subnet in found])
    code, _, stderr = program("baselines", "--run-dir", run_dir, "--baselines.evolution", "0")
    assert code == 0, stderr
    for row in read_record(run_dir / "slim" / "baselines.json", dict)["budgets"]:
        (rival,) = [rival for rival in row["baselines"] if rival["name"] == "random"]
        assert rival["accuracy"] == row["slimmed"]["accuracy"]


def test_a_stride_takes_fewer_steps_whether_interrupted_or_not(designed, program, tmp_path):
    run_dir = tmp_path / "striding"
    shutil.copytree(designed[0], run_dir)
    trace_path, journal = run_dir / "slim" / "trace.json", run_dir / "slim" / "steps.jsonl"
    num_before = len(read_record(trace_path, Any)["steps"])
    code, _, stderr = program("slim", "--run-dir", run_dir, "--slim.stride", "0.3", "--slim.polish", "0")
    assert code == 0, stderr
    trace, steps = read_record(trace_path, Any), journal.read_text()
    assert 0 < len(trace["steps"]) < num_before
    assert any(candidate["further"] for step in trace["steps"] for candidate in step["candidates"])
    for budget in trace["budgets"]:
        assert budget["predicted_ms"] <= budget["target_ms"]
    journal.write_text("".join(steps.splitlines(keepends=True)[:2]))
    trace_path.unlink()
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 0 and journal.read_text() == steps, stderr
    code, stdout, _ = program("slim", "--run-dir", run_dir, "--explain", "1")
    assert code == 0 and trace["steps"][0]["candidates"][trace["steps"][0]["taken"]]["text"] in " ".join(stdout.split())


def test_a_short_training_decides_between_the_network_found_and_others_as_slow(designed, program, tmp_path):
    run_dir = tmp_path / "tried"
    shutil.copytree(designed[0], run_dir)
    code, _, stderr = program("slim", "--run-dir", run_dir, "--slim.trials", "3", "--slim.trial-epochs", "1")
    assert code == 0 and "short trainings the best network" in stderr, stderr
    for budget in read_record(run_dir / "slim" / "trace.json", Any)["budgets"]:
        trials = budget["trials"]
        best = max(trials, key=lambda trial: trial["trial_top1"])
        assert 1 < len(trials) <= 3 and all(trial["latency_ms"] <= budget["target_ms"] for trial in trials)
        assert (budget["architecture"], budget["predicted_ms"]) == (best["architecture"], best["latency_ms"])
    kept = {path: path.read_text() for path in (run_dir / "slim" / "trials").glob("*.json")}
    (run_dir / "slim" / "trace.json").unlink()
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 0 and kept and kept == {path: path.read_text() for path in kept}, stderr


EACH_VERB = """
import contextlib, json, os, sys
from pathlib import Path
from efficientformer.cli.app import run
folder, rank, codes = Path(sys.argv[1]), os.environ["RANK"], []
for number, verb in enumerate(json.loads(sys.argv[2])):
    with (folder / f"out-{number}-{rank}").open("w") as out, (folder / f"err-{number}-{rank}").open("w") as err:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            codes.append(run(verb))
(folder / f"codes-{rank}").write_text(json.dumps(codes))
"""


def test_torchrun_shares_a_search_and_nothing_else(designed, tmp_path):
    """What two processes find is what one found, by the same steps."""
    run_dir = tmp_path / "shared"
    shutil.copytree(designed[0], run_dir)
    before, steps = read_record(run_dir / "slim" / "trace.json", dict), run_dir / "slim" / "steps.jsonl"
    steps_before = steps.read_text()
    for name in ("trace.json", "evaluations.jsonl", "steps.jsonl"):
        (run_dir / "slim" / name).unlink()
    (tmp_path / "each_verb.py").write_text(EACH_VERB)
    rank = ["rank", "--rank.networks", "3", "--train.epochs", "1", "--json"]
    verbs = [["slim"], rank, ["supernet", "--supernet.epochs", "1", "--json"], ["supernet"], ["table"]]
    arguments = [str(tmp_path), json.dumps([[*verb, "--run-dir", str(run_dir)] for verb in verbs])]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*start, str(tmp_path / "each_verb.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr

    def printed(name: str) -> list[str]:
        return [(tmp_path / f"{name}-{rank}").read_text() for rank in range(2)]

    assert [json.loads(codes)[:4] for codes in printed("codes")] == [[0] * 4, [0] * 4], printed("err-0")
    after = read_record(run_dir / "slim" / "trace.json", dict)
    assert steps.read_text() == steps_before and after["budgets"] == before["budgets"]
    first, second = printed("out-1")
    assert len(json.loads(first)["networks"]) == 3 and second == ""
    assert [text.count("the largest network scores") for text in printed("err-2")] == [1, 0], "one process speaks"
    first, second = printed("out-2")
    assert json.loads(first) == read_record(run_dir / "supernet" / "record.json", Any) and second == ""
    assert [text.count("up to date") for text in printed("err-3")] == [1, 0]
    assert all(json.loads(codes)[4] != 0 for codes in printed("codes"))
    assert "can share the verbs supernet, slim, baselines, rank and train" in "".join(printed("err-4"))


def test_a_supernet_serves_a_second_device(designed, program, tmp_path):
    first, second = designed[0], tmp_path / "second"
    arguments = ("--supernet-from", first, "--run-dir", second)
    code, _, stderr = program("table", *arguments, "--device", f"{SCALE} second")
    assert code == 0, stderr
    code, _, stderr = program("slim", "--run-dir", second)
    assert code == 2 and "efficientformer supernet" in stderr
    for verb in ("supernet", "slim"):
        code, _, stderr = program(verb, "--run-dir", second)
        assert code == 0, stderr
        assert f"taken from {first.resolve()}" in stderr or verb == "slim"
    weights = "supernet/weights.safetensors"
    assert (second / weights).read_bytes() == (first / weights).read_bytes()
    assert (
        (second / "slim" / "evaluations.jsonl")
        .read_text()
        .startswith((first / "slim" / "evaluations.jsonl").read_text())
    )
    assert read_record(second / "table.json", Any)["provenance"]["machine"]["cpu"] == "second"
    code, _, stderr = program("supernet", "--run-dir", second, "--supernet.epochs", "1")
    assert code == 2 and "does not fit this run: supernet.epochs changed" in stderr
    code, _, stderr = program("design", "--supernet-from", first, "--run-dir", tmp_path / "other", "--seed", "7")
    assert code == 2 and "does not fit this run: seed changed" in stderr and "table " not in stderr
    code, _, stderr = program("table", "--supernet-from", first, "--run-dir", first)
    assert code == 2 and "cannot take its own supernet" in stderr


def test_limits_hold_beside_the_budget(designed, program, tmp_path):
    run_dir = tmp_path / "limited"
    shutil.copytree(designed[0], run_dir)
    before = read_record(run_dir / "result.json", Any)[0]
    code, _, stderr = program("slim", "--run-dir", run_dir, "--budget", "60%", "--limits.params-m", "0.0001")
    assert code == 1 and "--limits.params-m 0.0001 cannot be met: the smallest network" in stderr
    file_mib = 0.7 * Path(before["onnx"]).stat().st_size / 2**20
    options = ["--limits.params-m", str(0.8e-6 * before["num_params"]), "--limits.file-mib", str(file_mib)]
    options += ["--percentile", "p90", "--budget", "60%"]
    code, stdout, stderr = program("design", "--run-dir", run_dir, *options, "--json")
    assert code == 0, stderr
    (entry,) = json.loads(stdout)
    assert entry["kept"] and entry["percentile"] == "p90" and entry["measured_ms"] >= entry["measured_p50_ms"]
    assert entry["num_params"] < 0.8 * before["num_params"]
    assert Path(entry["onnx"]).stat().st_size / 2**20 == entry["limits"]["file_mib"]["measured"] <= file_mib
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "measured p90" in page and "M parameters" in page
