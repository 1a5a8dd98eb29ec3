"""The verb `shortlist` on a device of known latency: a file takes 0.05 ms and 1 ms for every MiB."""

import json
from pathlib import Path

import pytest

from efficientformer.analysis.shortlist.kept import find_shortlist
from efficientformer.analysis.shortlist.published_networks import PublishedNetwork
from efficientformer.cli.app import run
from efficientformer.errors import LatencyError
from efficientformer.pipeline import comparison
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.shortlists import measure

from .interrupted import finished_rounds, interrupting_after

SCALE = f"command:sh {Path(__file__).parents[1] / 'end_to_end' / 'scale.sh'}"
SLOW, FRONT, BEST = (
    PublishedNetwork("mobilenetv3_small_100.lamb_in1k", "Slow", 224, "apache-2.0"),
    PublishedNetwork("lcnet_075.ra2_in1k", "Front", 224, "apache-2.0"),
    PublishedNetwork("mobilenetv2_100.ra_in1k", "Best", 224, "mit", more_data="more photos"),
)
"""10.2, 9.4 and 14 MB with a top-1 of 67.6, 68.8 and 72.9 %: the second beats the first."""


def words_of(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def few(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "published_networks", lambda: [SLOW, FRONT, BEST])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "fast"], "--budget 'fast' is not a latency"),
        (["--budget", "8ms", "--budget", "0ms"], "is not a latency"),
        (["--budget", "40%"], "is a share of a search space's largest network"),
        (["--rounds", "19"], "ask for 20 or more"),
        (["--threads", "0"], "at least one thread"),
        (["--device", "toaster"], "no device 'toaster'"),
        (["--runtime", "abacus"], "no runtime 'abacus'"),
    ],
)
def test_a_wrong_request_is_one_clear_error(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["shortlist", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in words_of(captured.err) and captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1 and not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_front_and_the_best_within_each_budget(capsys, monkeypatch):
    budgets = ["--budget", "9ms", "--budget", "12ms", "--budget", "1s", "--budget", "12ms"]
    command = ["shortlist", *budgets, "--device", f"{SCALE} board", "--resolution", "32"]
    assert run([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads(Path("runs/shortlist/shortlist.json").read_text(encoding="utf-8"))
    rows = {row["title"]: row for row in record["networks"]}
    files = {path.name.partition(".")[0]: path for path in Path("runs/shortlist/networks").glob("*.onnx")}
    for row in rows.values():
        size = files[row["name"].partition(".")[0]].stat().st_size
        assert row["p50_ms"] == pytest.approx(0.05 + size / 2**20, abs=1e-5) and row["problem"] is None
        assert row["resolution"] == [32, 32] and row["top1_resolution"] == 224 and len(row["samples_ms"]) == 20
    assert record["front"] == [FRONT.name, BEST.name]
    assert [(row["budget"], row["best"]) for row in record["budgets"]] == [
        ("9ms", None),
        ("12ms", FRONT.name),
        ("1s", BEST.name),
    ]
    kept = find_shortlist(record["provenance"]["machine"], record["runtime"], 1, "wall", (32, 32))
    assert kept == record and not list(Path("runs/shortlist").glob("rounds-*"))

    monkeypatch.setattr(measure, "shortlist", lambda *_, **__: record)
    assert run([*command, "--all"]) == 0
    shown = words_of(capsys.readouterr().out)
    assert "Front: 2 networks of 3" in shown and shown.index("Front ") < shown.index("Off the front")
    assert shown.index("Off the front") < shown.index(SLOW.name)
    assert "9ms: no network fits; the fastest is Front (lcnet_075.ra2_in1k)" in shown
    assert "12ms: Front (lcnet_075.ra2_in1k)" in shown
    assert "at 32 px, ImageNet-1k top-1 68.8 % as published at 224 px, licence apache-2.0" in shown
    assert "72.9%* at 224 px" in shown and "* trained on more than ImageNet-1k: more photos" in shown
    assert run(command) == 0
    assert SLOW.name not in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_an_interrupted_shortlist_goes_on_with_its_rounds_and_its_files(capsys, monkeypatch):
    command = ["shortlist", "--resolution", "32", "--json"]
    with monkeypatch.context() as patched:
        patched.setattr(RunConsole, "progress", interrupting_after(7))
        assert run(command) == 130
    assert "Run the same command again" in capsys.readouterr().err
    taken = finished_rounds(Path("runs/shortlist"))
    files = {path: path.stat().st_mtime_ns for path in Path("runs/shortlist/networks").iterdir()}
    assert len(taken) == 7 and len(files) == 6 and not Path("cache").exists()

    assert run(command) == 0
    record = json.loads(capsys.readouterr().out)
    samples = [row["samples_ms"] for row in record["networks"]]
    assert [list(row) for row in zip(*samples, strict=True)][:7] == [[round(ms, 6) for ms in row] for row in taken]
    assert {path: path.stat().st_mtime_ns for path in Path("runs/shortlist/networks").iterdir()} == files


@pytest.mark.usefixtures("few")
def test_a_network_that_cannot_be_built_is_listed_with_the_reason(capsys, monkeypatch):
    prepare = comparison.prepare_network

    def without_best(source, resolution, folder):
        if source.name == BEST.name:
            raise LatencyError("It cannot be built.")
        return prepare(source, resolution, folder)

    monkeypatch.setattr(comparison, "prepare_network", without_best)
    assert run(["shortlist", "--resolution", "32", "--json"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert [row["problem"] for row in record["networks"]] == [None, None, "It cannot be built."]
    assert record["networks"][2]["p50_ms"] is None and BEST.name not in record["front"]
    assert "Best: It cannot be built." in captured.err


@pytest.mark.usefixtures("few")
def test_the_largest_networks_are_left_out_where_memory_is_short(capsys, monkeypatch):
    monkeypatch.setattr(comparison, "_available_memory", lambda: 80 * 2**20)  # 64 of them: 3 x 19.6 MiB, not 3 x 33
    assert run(["shortlist", "--resolution", "32", "--json"]) == 0
    captured = capsys.readouterr()
    problems = {row["title"]: row["problem"] for row in json.loads(captured.out)["networks"]}
    assert problems["Slow"] is None and problems["Front"] is None and "not enough free memory" in problems["Best"]
    assert "left out for want of memory: Best" in captured.err
    monkeypatch.setattr(comparison, "_available_memory", lambda: 2**20)
    assert run(["shortlist", "--resolution", "32"]) == 2
    assert "not enough free memory for a single network" in words_of(capsys.readouterr().err)
