import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from efficientformer.arch.dense import SemanticFpn
from efficientformer.cli.app import run
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline import comparison
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.records import write_record
from efficientformer.report.wording import ms

from ..models.small import SMALL_V2
from .interrupted import finished_rounds, interrupting_after

SMALL = ["mobilenetv2_035", "mobileone_s0", "--resolution", "32"]


def words_of(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name networks to compare, or a --suite (paper or mobile)."),
        (["mobilnetv2_140"], "similar names are mobilenetv2_140"),
        (["resnet18", "--reference", "resnet50"], "--reference resnet50 is not among the networks: resnet18"),
        (["resnet18", "--runtime", "abacus"], "no runtime 'abacus'"),
        (["resnet18", "--device", "toaster"], "no device 'toaster'"),
        (["resnet18", "--threads", "0"], "at least one thread"),
        (["resnet18", "--rounds", "3"], "ask for 40 or more"),
        (["--suite", "desktop"], "desktop"),
        (["resnet18", "--task", "semantic"], "is a network of timm, and has no head for images with a class"),
        (["--suite", "mobile", "--task", "detection"], "of task models there is --suite paper"),
        (["efficientformer_l1", "--head.width", "64"], "say which with --task semantic or --task detection"),
        (["efficientformer_l1", "--task", "semantic", "--head.depth", "2"], "leave it out with --task semantic"),
        (["efficientformer_l1", "--task", "semantic", "--head.width", "12"], "multiple of 8"),
    ],
)
def test_a_wrong_request_is_one_clear_error(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in words_of(captured.err) and captured.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["broken.onnx"], "broken.onnx is not"),
        (["open.onnx"], "Choose one with --resolution"),
        (["open.onnx", "--resolution", "16", "--threads", "2", "--clock", "cpu"], "wall clock"),
    ],
)
def test_what_cannot_be_measured_is_a_stated_failure(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.onnx").write_bytes(b"hello")
    write_graph(Path("open.onnx"))
    assert run(["benchmark", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in words_of(error) and "Traceback" not in error


def write_graph(path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.mark.slow
def test_networks_of_several_origins_on_two_runtimes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_graph(Path("flat.onnx"))
    arguments = ["flat.onnx", *SMALL, "--reference", "mobileone_s0", "--out", "here"]
    assert run(["benchmark", *arguments, "--runtime", "onnxruntime", "--runtime", "pytorch", "--json"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record == json.loads(Path("here/benchmark.json").read_text())
    assert [row["name"] for row in record["models"]] == ["flat", "mobilenetv2_035", "mobileone_s0"]
    assert [runtime["name"] for runtime in record["runtimes"]] == ["onnxruntime", "pytorch"]
    flat, narrow, reference = record["models"]
    assert "PyTorch modules only" in flat["results"][1]["problem"] and flat["results"][0]["problem"] is None
    for row in (narrow, reference):
        assert row["resolution"] == [32, 32] and row["top1"] is None and row["macs"] > 0
        for result in row["results"]:
            assert result["problem"] is None and result["relative_difference"] < 1e-3
            assert result["interval_ms"][0] <= result["p50_ms"] <= result["interval_ms"][1]
            assert result["p50_ms"] <= result["p90_ms"] <= result["p99_ms"]
            assert len(result["samples_ms"]) >= 40
    assert [result["ratio"] for result in reference["results"]] == [1, 1]
    assert narrow["results"][0]["ratio"] < 1
    assert "MobileNet" not in captured.err  # nothing went wrong with it
    assert "flat on pytorch" in captured.err
    assert not list(Path("here").glob("rounds-*"))
    assert Path("here/benchmark.html").read_text().count("<section") >= 4

    assert run(["benchmark", "mobilenetv2_035", "--resolution", "32", "--out", "here"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime ms [95 %]" in shown and "mobilenetv2_035" in shown and "benchmark.html" in shown


def test_an_interrupted_benchmark_goes_on_with_its_rounds_and_its_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(RunConsole, "progress", interrupting_after(20))
        assert run(["benchmark", *SMALL, "--out", "here"]) == 130
    assert "Run the same command again" in capsys.readouterr().err
    taken = finished_rounds(Path("here"))
    files = {path: path.stat().st_mtime_ns for path in Path("here/networks").iterdir()}
    assert len(taken) == 20 and len(files) == 4

    assert run(["benchmark", *SMALL, "--out", "here", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    samples = [row["results"][0]["samples_ms"] for row in record["models"]]
    assert [list(row) for row in zip(*samples, strict=True)][:20] == [[round(ms, 6) for ms in row] for row in taken]
    assert {path: path.stat().st_mtime_ns for path in Path("here/networks").iterdir()} == files


def test_more_networks_than_memory_holds_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "_available_memory", lambda: 2**20)
    assert run(["benchmark", *SMALL]) == 2
    assert "2 networks on onnxruntime may need" in words_of(capsys.readouterr().err)


def test_task_models_are_compared_next_to_published_figures(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = Network(replace(SMALL_V2, head=SemanticFpn(16, 8)), num_classes=2, resolution=(32, 64))
    folder = tmp_path / "run" / "networks" / "own"
    save_weights(network, folder / "weights.safetensors", {"task": json.dumps("semantic")})
    rows = [{"name": name, "iou": 43.0, "num_images": 1, "num_pixels": 9} for name in ("a", "b")]
    write_record(folder / "evaluation.json", {"miou": 43.0, "num_images": 1, "per_class": rows})
    sizes = ["--head.num-classes", "2", "--head.fpn-width", "16", "--head.width", "8", "--resolution", "32x64"]
    names = ["efficientformer_l1", "run", "--reference", "own"]
    assert run(["benchmark", "--task", "semantic", *names, *sizes, "--out", "bench"]) == 0
    printed = capsys.readouterr().out
    assert "mIoU in its run" in printed and "43.0%" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("EfficientFormer-L1    38.9")]
    record = json.loads((tmp_path / "bench" / "benchmark.json").read_text())
    first, own = record["models"]
    assert first["results"][0]["p50_ms"] > own["results"][0]["p50_ms"] and own["results"][0]["ratio"] == 1
    assert (own["score"], first["score"], first["top1"], first["paper"]) == (43.0, None, None, None)
    assert record["task"]["head"] == "Semantic FPN 16-8" and record["task"]["num_classes"] == 2
    assert line.split()[-1] == ms(first["results"][0]["p50_ms"])
    page = (tmp_path / "bench" / "benchmark.html").read_text(encoding="utf-8")
    assert "Published figures" in page and "ResNet50" in page and "Semantic FPN 16-8 and 2 classes" in page
