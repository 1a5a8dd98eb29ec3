import json

import pytest

from efficientformer.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resolution", "100"], "Choose a multiple of 32"),
        (["--network", "resnet50"], "There is no network 'resnet50'"),
        (["--network", "efficientformerv2_s0"], "efficientformerv2_s0 is of EfficientFormerV2"),
        (["--observation", "7"], "There is no observation 7"),
        (["--choice", "coffee"], "coffee"),
        (["--choice", "activation", "--network", "nonsense"], "--choice alone tests none"),
        (["--choice", "activation", "--network", "efficientformer_l1"], "name an observation as well"),
        (["--choice", "activation", "--observation", "1", "--network", "nonsense"], "There is no network 'nonsense'"),
        (["--choice", "stem", "--resolution", "16"], "Choose at least 32"),
        (["--runtime", "coffee"], "coffee"),
        (["--rounds", "10"], "10 rounds are too few"),
        (["--runtime", "onnxruntime", "--runtime", "onnxruntime"], "Name each runtime once"),
    ],
)
def test_a_wrong_request_is_one_clear_error_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert run(["analyze", "--out", str(tmp_path / "a"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split()) and "Traceback" not in captured.err
    assert captured.out == "" and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--threads", "2", "--clock", "cpu"], "Use the wall clock")],
)
def test_a_measurement_that_would_mean_nothing_is_refused_at_once(arguments, message, capsys, tmp_path):
    assert run(["analyze", "--out", str(tmp_path), *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_an_analysis_writes_its_record_and_its_page(capsys, tmp_path):
    arguments = ["--resolution", "64", "--rounds", "40", "--observation", "1", "--network", "efficientformer_l1"]
    assert run(["analyze", "--out", str(tmp_path), "--no-hotspots", "--json", *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "analysis.json").read_text())
    assert {row["verdict"] for row in record["experiments"]} <= {"holds", "does not hold here", "cannot be told"}
    (claim,) = record["claims"]
    # With a seventh of the multiply-accumulates, a 4x4 embedding is the faster one by itself on any processor.
    alone = next(row for row in record["experiments"] if row["name"].startswith("4x4") and not row["is_network"])
    assert alone["interval"][1] < 1 and claim["runtimes"]["onnxruntime"]["low"] < 1
    assert "Patch embedding" in (tmp_path / "analysis.html").read_text(encoding="utf-8")
    assert not (tmp_path / "rounds").exists()


@pytest.mark.slow
def test_one_choice_of_a_space_can_be_timed_alone(capsys, tmp_path):
    arguments = ["--resolution", "32", "--rounds", "40", "--choice", "expansion", "--no-hotspots"]
    assert run(["analyze", "--out", str(tmp_path), *arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["claims"] == [] and record["experiments"] == []
    (choice,) = record["choices"]
    assert choice["choice"] == "expansion" and choice["runtimes"]["onnxruntime"]["meaning"]
    assert {row["option"] for row in record["trials"]} == {"FFN x3", "FFN x2", "FFN x1"}
    assert "Choices of a space" in (tmp_path / "analysis.html").read_text(encoding="utf-8")
    assert not (tmp_path / "rounds").exists()
