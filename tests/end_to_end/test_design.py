"""The whole way on small real images: the product's own files and programs, on a device of known latency and here."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from torchvision.transforms import v2

from efficientformer.arch.cost import sizes_mib
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spec import Architecture
from efficientformer.cli.app import run
from efficientformer.data.images import read_image
from efficientformer.latency.tables.calibration import uncached_mib
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.stamps import accept_output
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir

from .conftest import SMALL, SPACE, TINY, Started

pytestmark = pytest.mark.slow

TIMED = {"provenance", "seconds", "load"}


def without_times(content):
    """A record less what is measured anew in every run."""
    if isinstance(content, dict):
        return {name: without_times(value) for name, value in content.items() if name not in TIMED}
    return [without_times(value) for value in content] if isinstance(content, list) else content


def wait_until(is_so: Callable[[], bool], process: Started):
    """Or until the process ended."""
    while not is_so() and process.poll() is None:
        time.sleep(0.02)


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_on_this_machine_keeps_its_promises(command, photos, tmp_path):
    """Large budgets and much headroom, so that no noise of a busy machine leaves them out of reach."""
    promises = ("--budget", "85%", "--slim.headroom", "0.1", "--limits.memory-mib", "500", "--table.max-error", "100")
    promises += ("--table.rounds", "4", "--space", str(SPACE))
    process = command("design", "--data", photos, "--run-dir", tmp_path, "--json", *SMALL, *promises)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    (entry,) = json.loads(stdout)
    assert entry["kept"] and entry["measured_interval_ms"][1] <= entry["budget_ms"]
    assert 0 < entry["limits"]["memory_mib"]["measured"] <= 500
    table = read_record(tmp_path / "table.json", Any)
    assert table["runtime"]["name"] == "onnxruntime" and table["clock"] == "cpu"


def test_json_has_one_entry_per_budget_with_every_promised_field(designed):
    _, result, _ = designed
    assert [entry["budget"] for entry in result] == ["60%", "40%"]
    fields = "budget_ms predicted_ms measured_p50_ms measured_interval_ms kept top1 num_params macs architecture onnx"
    for entry in result:
        assert set(fields.split()) <= set(entry)
        low, high = entry["measured_interval_ms"]
        assert low <= entry["measured_p50_ms"] <= high
        assert entry["kept"] == (high <= entry["budget_ms"])
    assert result[1]["num_params"] < result[0]["num_params"], "the device weighs files"


def test_the_exported_file_is_the_network_of_the_records(designed):
    run_dir, result, _ = designed
    for entry in result:
        session = onnxruntime.InferenceSession(entry["onnx"], providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        assert json.loads(metadata["classes"]) == ["across", "down", "flat"]
        assert Architecture.from_json(json.loads(metadata["architecture"])) == Architecture.from_json(
            entry["architecture"]
        )
        assert session.get_inputs()[0].shape == [1, 3, 16, 16]
        export = read_record(run_dir / "networks" / entry["slug"] / "export.json", Any)
        assert export["max_abs_difference"] <= export["tolerance"]


def test_top1_is_what_the_exported_file_scores_on_the_validation_images(designed, photos):
    """Computed anew: the files of `val`, torchvision's geometry, the metadata's numbers, ONNX Runtime."""
    run_dir, result, _ = designed
    for entry in result:
        session = onnxruntime.InferenceSession(entry["onnx"], providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        classes, numbers = json.loads(metadata["classes"]), json.loads(metadata["preprocessing"])
        size = int(numbers["resolution"] / numbers["crop_ratio"] + 1e-6)
        shape = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.CenterCrop(numbers["resolution"])])
        confusion = np.zeros((3, 3), dtype=int)
        for file in sorted((photos / "val").glob("*/*.png")):
            pixels_HWC = np.asarray(shape(Image.open(file).convert("RGB")), dtype=np.float32) / 255
            x_HWC = (pixels_HWC - np.float32(numbers["mean"])) / np.float32(numbers["std"])
            (logits_BK,) = session.run(None, {session.get_inputs()[0].name: x_HWC.transpose(2, 0, 1)[None]})
            confusion[classes.index(file.parent.name), logits_BK[0].argmax()] += 1
        record = read_record(run_dir / "networks" / entry["slug"] / "evaluation.json", dict)
        assert record["num_images"] == confusion.sum() == 24
        # Both round resized pixels in their own way, which may decide an image in the balance.
        assert np.abs(np.array(record["confusion"]) - confusion).sum() <= 2
        assert entry["top1"] == record["top1"] == 100 * np.trace(record["confusion"]) / 24


def test_the_fastest_of_the_exact_forms_is_exported(designed, program, tmp_path):
    """On a device that takes longer for larger files the form with fewer constants wins, without a doubt."""
    run_dir, result, _ = designed
    for entry in result:
        export = read_record(run_dir / "networks" / entry["slug"] / "export.json", Any)
        usual, other = export["compared"]
        assert usual["ratio"] == 1.0 and other["interval"][1] < 1.0
        assert export["forms"] == other["forms"] == {"pooling": "difference", "projections": "joined"}
    copy = tmp_path / "untuned"
    shutil.copytree(run_dir, copy)
    code, _, stderr = program("export", "--run-dir", copy, "--export.no-autotune")
    assert code == 0 and "export.autotune changed from True to False" in stderr
    untuned = [read_record(copy / "networks" / entry["slug"] / "export.json", Any) for entry in result]
    assert all(export["forms"]["pooling"] == "products" and "compared" not in export for export in untuned)


def test_a_file_that_takes_any_number_of_images_is_verified_all_the_same(designed, program, tmp_path):
    run_dir = tmp_path / "batches"
    shutil.copytree(designed[0], run_dir)
    for arguments in (("export", "--export.dynamic-batch"), ("verify",)):
        code, _, stderr = program(*arguments, "--run-dir", run_dir)
        assert code == 0, stderr
    path = run_dir / "networks" / "60pct" / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"images": np.zeros((7, 3, 16, 16), np.float32)})[0].shape == (7, 3)


def test_the_broken_file_is_named_everywhere(designed):
    run_dir, _, stderr = designed
    assert "broken.png" in stderr
    assert [skipped["file"] for skipped in read_record(run_dir / "data.json", Any)["skipped"]] == [
        "train/flat/broken.png"
    ]
    assert "broken.png" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_the_trace_descends_and_its_networks_fit_their_targets(designed):
    run_dir, _, _ = designed
    trace = read_record(run_dir / "slim" / "trace.json", Any)
    latencies = [trace["start"]["latency_ms"], *(step["latency_ms"] for step in trace["steps"])]
    assert latencies == sorted(latencies, reverse=True)
    for step in trace["steps"]:
        scores = [candidate["score"] for candidate in step["candidates"] if candidate["score"] is not None]
        assert step["candidates"][step["taken"]]["score"] == min(scores)
    for budget in trace["budgets"]:
        assert budget["predicted_ms"] <= budget["target_ms"]
        ended_at = trace["steps"][budget["step"] - 1]["accuracy"]
        tops = [ended_at, *(state["accuracy"] for state in budget["polish"])]
        assert tops == sorted(tops) and budget["accuracy"] == tops[-1]


def test_running_again_does_nothing_again(designed, program, photos):
    run_dir, result, _ = designed
    _, stdout, stderr = program("design", "--data", photos, "--run-dir", run_dir, "--json", *TINY)
    assert json.loads(stdout) == result
    assert stderr.count("up to date") == 10  # table, supernet, slim, verify; train, evaluate, export of two networks


def test_a_changed_setting_redoes_exactly_what_it_touches(designed, program, tmp_path):
    run_dir = tmp_path / "changed"
    shutil.copytree(designed[0], run_dir)
    code, _, stderr = program("design", "--run-dir", run_dir, "--train.epochs", "1")
    assert code == 0, stderr
    assert "train.epochs changed from 2 to 1" in stderr
    assert stderr.count("up to date") == 3  # table, supernet, slim


def test_a_further_budget_needs_no_new_search(designed, program, photos, tmp_path):
    run_dir = tmp_path / "further"
    shutil.copytree(designed[0], run_dir)
    steps_before = (run_dir / "slim" / "steps.jsonl").read_text()
    code, stdout, stderr = program("slim", "--run-dir", run_dir, "--budget", "70%", "--budget", "40%", "--json")
    assert code == 0, stderr
    assert [budget["budget"] for budget in json.loads(stdout)["budgets"]] == ["70%", "40%"]
    assert (run_dir / "slim" / "steps.jsonl").read_text().startswith(steps_before)


def test_baselines_are_as_fast_judged_alike_and_in_the_report(designed, program, tmp_path):
    run_dir = tmp_path / "compared"
    shutil.copytree(designed[0], run_dir)
    few = ("--baselines.random", "3", "--baselines.evolution", "0.5")
    code, stdout, stderr = program("baselines", "--run-dir", run_dir, *few, "--json")
    assert code == 0, stderr
    budgets = json.loads(stdout)["budgets"]
    assert [row["budget"] for row in budgets] == ["60%", "40%"]
    table = LatencyTable.load(run_dir / "table.json")
    cache_mib, ms_per_mib = table.calibration.cache_mib, table.calibration.ms_per_mib

    def weights_and_missed_mib(architecture):
        sizes = sizes_mib(network_parts(architecture, table.resolution, table.num_classes))
        return sizes[0], uncached_mib(*sizes, cache_mib)

    smallest_mib, smallest_missed_mib = weights_and_missed_mib(table.space.smallest())
    for budget in budgets:
        surrogate = budget["surrogate"]
        found = surrogate["optimum"]
        found_mib, missed = weights_and_missed_mib(Architecture.from_json(found["architecture"]))
        let_off_ms = ms_per_mib * (missed - found_mib * smallest_missed_mib / smallest_mib)
        assert let_off_ms >= 0 and found["latency_ms"] - let_off_ms <= budget["latency_ms"] + 1e-9
        assert surrogate["slimmed_drop"] >= surrogate["optimum_drop"] - 1e-9 and 0 <= found["accuracy"] <= 100
        assert surrogate["gap"] == pytest.approx(surrogate["greedy_drop"] - surrogate["optimum_drop"]) and (
            surrogate["gap"] >= -1e-9
        )
        names = [row["name"] for row in budget["baselines"]]
        assert set(names) >= {"scaled_l1", "slim_by_macs", "evolution"}
        for row in budget["baselines"]:
            assert row["latency_ms"] <= budget["latency_ms"] + 1e-9 and 0 <= row["accuracy"] <= 100
    judged = (run_dir / "slim" / "evaluations.jsonl").read_text()
    _, _, stderr = program("baselines", "--run-dir", run_dir, *few)
    assert stderr.count("up to date") == 1
    (run_dir / "slim" / "baselines.json").unlink()
    _, again, _ = program("baselines", "--run-dir", run_dir, *few, "--json")
    assert json.loads(again)["budgets"] == budgets
    assert (run_dir / "slim" / "evaluations.jsonl").read_text() == judged, "nothing is judged twice"
    assert run(["report", "--run-dir", str(run_dir)]) == 0
    assert "Comparison with baselines" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_ranking_trains_random_networks_once_and_says_how_well_the_supernet_orders_them(designed, program, tmp_path):
    run_dir = tmp_path / "ranked"
    shutil.copytree(designed[0], run_dir)
    _, stdout, stderr = program("rank", "--run-dir", run_dir, "--rank.networks", "3", "--json")
    record = json.loads(stdout)
    assert len(record["networks"]) == 3 and -1 <= record["interval"][0] <= record["interval"][1] <= 1, stderr
    trained = {path: path.read_text() for path in (run_dir / "rank" / "trained").glob("*.json")}
    _, stdout, stderr = program("rank", "--run-dir", run_dir, "--rank.networks", "4", "--json")
    assert json.loads(stdout)["networks"][:3] == record["networks"], stderr
    assert len(trained) == 3 and all(path.read_text() == text for path, text in trained.items())
    assert "Kendall tau" in stderr and "over 4 random networks" in stderr
    assert len(list((run_dir / "rank" / "trained").glob("*.json"))) == 4 and not list(run_dir.rglob("*.pt"))


def test_predict_names_the_classes_of_new_images(designed, photos, tmp_path, capsys):
    _, result, _ = designed
    sheet = tmp_path / "sheet.png"
    code = run(["predict", result[0]["onnx"], str(photos / "val"), "--sheet", str(sheet), "--json"])
    predictions = json.loads(capsys.readouterr().out)
    assert code == 0 and len(predictions) == 24
    assert all(sum(best["score"] for best in p["top5"]) == pytest.approx(100, abs=0.1) for p in predictions)
    assert np.asarray(read_image(sheet)).std() > 10


def test_an_unreachable_budget_is_refused_before_training(program, photos, tmp_path, designed):
    run_dir = tmp_path / "refused"
    shutil.copytree(designed[0], run_dir)
    shutil.rmtree(run_dir / "supernet")
    code, _, stderr = program("supernet", "--run-dir", run_dir, "--budget", "1us")
    assert code == 1
    assert "cannot be met" in stderr and "smallest reachable budget" in stderr
    assert not (run_dir / "supernet").exists()


def test_a_table_of_another_device_is_refused(program, photos, tmp_path, designed):
    run_dir = tmp_path / "foreign"
    shutil.copytree(designed[0], run_dir)
    table = read_record(run_dir / "table.json", Any)
    table["provenance"]["machine"]["cpu"] = "Some other chip"
    (run_dir / "table.json").write_text(json.dumps(table))
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 2 and "table.json was changed or replaced since it was made" in stderr
    accept_output(RunDir(run_dir), "table", run_dir / "table.json")  # as in a run that another machine began
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 1 and "Some other chip" in stderr and "Traceback" not in stderr
    assert "--table.allow-foreign" in stderr
    code, _, stderr = program("table", "--run-dir", run_dir, "--table.allow-foreign")
    assert code == 0 and "up to date" in stderr
    code, _, stderr = program("slim", "--run-dir", run_dir)
    assert code == 0, stderr


def test_a_table_that_errs_too_much_is_refused(program, photos, tmp_path, designed):
    run_dir = tmp_path / "poor"
    shutil.copytree(designed[0], run_dir)
    code, _, stderr = program("slim", "--run-dir", run_dir, "--table.max-error", "0.01")
    assert code == 1 and "more rounds (--table.rounds)" in stderr and "Traceback" not in stderr
    assert "again" not in stderr.partition("error")[0]  # the limit is no reason to measure again
    code, _, stderr = program("table", "--run-dir", run_dir, "--table.max-error", "0.01")
    assert code == 0 and "measured again" in stderr and "up to date" not in stderr, "as the error says"
    code, _, stderr = program("table", "--run-dir", run_dir, "--table.max-error", "100")
    assert code == 0 and "up to date" in stderr


def test_ctrl_c_says_how_to_go_on(command, photos, tmp_path):
    process = command("design", "--data", photos, "--run-dir", tmp_path / "stopped", *TINY)
    wait_until((tmp_path / "stopped" / "data.json").exists, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "Run the same command again" in stderr and "Traceback" not in stderr


def test_two_processes_do_not_share_a_run_directory(command, photos, tmp_path):
    first = command("design", "--data", photos, "--run-dir", tmp_path / "shared", *TINY)
    wait_until((tmp_path / "shared" / "data.json").exists, first)
    second = command("table", "--run-dir", tmp_path / "shared")
    _, stderr = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 2 and "Another efficientformer process" in stderr


def test_kill_9_at_random_moments_of_each_phase_changes_nothing(command, program, photos, tmp_path, designed):
    """With the same table, a run killed again and again ends with the records of the one that was not."""
    whole = designed[0]
    killed = tmp_path / "killed"
    (killed / "stamps").mkdir(parents=True)
    for name in ("table.json", "stamps/table.json"):
        shutil.copy(whole / name, killed / name)
    arguments = ("design", "--data", photos, "--run-dir", killed, *TINY)
    moments = random.Random(5)
    for begun, lines in (("supernet/metrics.jsonl", 1), ("slim/steps.jsonl", 4), ("networks/60pct/metrics.jsonl", 1)):
        process = command(*arguments)
        wait_until(lambda path=killed / begun, lines=lines: num_lines(path) >= lines, process)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it ended before it could be killed in {begun}"
    code, _, stderr = program(*arguments)
    assert code == 0, stderr
    names = ["supernet/record.json", "supernet/metrics.jsonl", "slim/steps.jsonl"]
    for slug in ("60pct", "40pct"):
        names += [f"networks/{slug}/{file}" for file in ("architecture.json", "metrics.jsonl", "evaluation.json")]
    for name in names:
        read = (lambda path: path.read_text()) if name.endswith("jsonl") else (lambda path: read_record(path, Any))
        assert without_times(read(killed / name)) == without_times(read(whole / name)), name


def test_a_verb_does_not_take_what_other_settings_made(designed, program, tmp_path):
    run_dir = tmp_path / "stale"
    shutil.copytree(designed[0], run_dir)
    for arguments, stale in (
        (("train", "--budget", "50%"), "trace.json is out of date (budget changed)"),
        (("slim", "--budget", "60%", "--budget", "40%", "--resolution", "32"), "table.json is out of date"),
    ):
        code, _, stderr = program(*arguments, "--run-dir", run_dir)
        assert code == 2 and stale in stderr
    (run_dir / "stamps" / "train 60pct.json").unlink()
    code, _, stderr = program("export", "--run-dir", run_dir, "--resolution", "16")
    assert code == 2 and "weights.safetensors is missing or not finished" in stderr


def test_networks_trained_side_by_side_are_those_trained_one_after_the_other(designed, program, tmp_path):
    trained = {}
    for processes in (1, 2):
        run_dir = tmp_path / str(processes)
        shutil.copytree(designed[0], run_dir)
        shutil.rmtree(run_dir / "networks")
        counts = ("--training-processes", processes, "--training-threads", processes, "--workers", 1)
        code, _, stderr = program("train", "--run-dir", run_dir, *counts)
        assert code == 0, stderr
        assert stderr.count("train 60pct") == stderr.count("train 40pct") == 1 and stderr.count("data ") == 1
        trained[processes] = [
            (run_dir / "networks" / slug / "weights.safetensors").read_bytes() for slug in ("60pct", "40pct")
        ]
        _, _, stderr = program("train", "--run-dir", run_dir)
        assert stderr.count("up to date") == 2, "how many are trained at a time makes no difference to what is known"
    assert trained[1] == trained[2]
