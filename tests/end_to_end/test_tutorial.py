"""The tutorial, step by step: its blocks are run in order, on small images and with smaller settings than its own."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from efficientformer.cli.app import run
from efficientformer.pipeline.run.resolve_settings import read_yaml, resolve_settings
from efficientformer.reading import read_record

from .conftest import SCALE

pytestmark = pytest.mark.slow

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = "photos.yaml"
SPACE = """
stem_strides: [2, 1]
stages:
- {widths: [16, 48], width_step: 32, blocks: [MB4D], depth: 2}
- {widths: [16, 96], width_step: 80, blocks: [MB4D], depth: 2}
- {widths: [16, 160], width_step: 144, blocks: [MB4D], depth: 2}
- {widths: [32, 288], width_step: 256, blocks: [{kind: MB3D, num_heads: 2, key_dim: 8, value_ratio: 2}, MB4D], depth: 2}
"""
"""Few chains to measure, and networks so unlike that a real runtime is twice as fast with some as with others."""
SMALLER = f"""
preset: quick
space: wide.yaml
resolution: 32
seed: 1
device: "{SCALE} first"
training_processes: 1
training_threads: 1
table: {{rounds: 2, max_error: 100}}
supernet: {{epochs: 2, batch_size: 16}}
slim: {{bn_images: 32, actions: paper, polish: 6}}
train: {{epochs: 2, batch_size: 16}}
verify: {{rounds: 40}}
"""
"""In place of the tutorial's own settings: half a minute in all, on a device whose latency no busy machine changes."""


def blocks() -> Iterator[tuple[str, str]]:
    """Language and text of every block that is run or written to a file."""
    for language, text in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        assert language in ("text", "yaml", "python", "bash"), f"nobody runs blocks of {language}"
        if language != "text":
            yield language, text


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    """Where a reader of the tutorial stands: photos in class folders, one of them broken, and new ones."""
    here = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(photos / "train", here / "photos")
    (here / "new").mkdir()
    for path in sorted((photos / "val").rglob("*.png")):
        shutil.copy(path, here / "new" / f"{path.parent.name}-{path.name}")
    for name, size in (("wide", (41, 24)), ("high", (301, 400))):
        Image.open(path).resize(size).save(here / "new" / f"{name}.png")
    return here


@pytest.fixture(scope="module")
def outputs(folder) -> list[tuple[str, str]]:
    """Every command of the tutorial with what it printed."""
    printed = []
    (folder / "wide.yaml").write_text(SPACE, encoding="utf-8")
    with contextlib.chdir(folder):
        for language, text in blocks():
            if language == "bash":
                printed += [(command, printed_by(command)) for command in text.splitlines()]
            else:
                name = text.partition("\n")[0].removeprefix("# ")
                (folder / name).write_text(SMALLER if name == SETTINGS else text, encoding="utf-8")
    return printed


def printed_by(command: str) -> str:
    """Our program runs in this process, which saves a start of several seconds each time; others by the shell."""
    program, *arguments = shlex.split(command)
    if program == "efficientformer":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = run(arguments)
        assert code == 0, f"{command}\n{printed.getvalue()}"
        return printed.getvalue()
    assert program == "python", f"nobody runs {command}"
    shell = f"exec {shlex.quote(sys.executable)} {command.removeprefix(program)}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def output(outputs: list[tuple[str, str]], beginning: str) -> str:
    return next(text for command, text in outputs if command.startswith(beginning))


def test_the_settings_of_the_tutorial_are_understood(tmp_path):
    (text,) = [text for language, text in blocks() if language == "yaml"]
    (tmp_path / SETTINGS).write_text(text)
    given = read_yaml(tmp_path / SETTINGS)
    settings = resolve_settings(given)
    assert text.startswith(f"# {SETTINGS}\n") and settings.train.epochs == given["train"]["epochs"]


def test_the_table_states_its_error_and_the_range_of_budgets(outputs):
    text = output(outputs, "efficientformer table")
    assert "unseen networks predicted with a mean error" in text
    assert "largest network" in text and "smallest" in text and "broken.png" in text


def test_the_design_keeps_its_promise_and_leaves_a_report(outputs, folder):
    assert "50pct/model.onnx" in output(outputs, "efficientformer design")
    report = (folder / "runs" / "photos" / "report.html").read_text(encoding="utf-8")
    for title in re.findall(r"^- \*\*([^*]+)\*\*: ", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE):
        assert f">{title}</h" in report, title


def test_a_step_of_slimming_is_explained(outputs):
    assert "Step 1:" in output(outputs, "efficientformer slim --explain 1")


def test_new_photos_are_drawn_on_a_sheet(outputs, folder):
    text = output(outputs, "efficientformer predict")
    assert all(path.name in text for path in (folder / "new").iterdir())
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_program_of_the_tutorial_agrees_with_predict(outputs):
    theirs, ours = (best_classes(output(outputs, begin)) for begin in ("python classify.py", "efficientformer predict"))
    assert len(ours) == 26 and theirs.keys() == ours.keys()
    for file, (name, score) in ours.items():
        assert theirs[file] == (name, pytest.approx(score, abs=0.11))


def best_classes(text: str) -> dict[str, tuple[str, float]]:
    """By file, the likeliest class and its score."""
    found = re.findall(r"^new/(\S+): (\w+) ([\d.]+) %", text, re.MULTILINE)
    return {file: (name, float(score)) for file, name, score in found}


def test_the_program_is_short_and_needs_nothing_of_ours():
    (text,) = [text for language, text in blocks() if language == "python"]
    modules = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert modules == {"json", "sys", "numpy", "onnxruntime", "PIL"} and len(text.splitlines()) <= 25


def test_a_further_budget_and_a_second_run_reuse_the_supernet(outputs, folder):
    further = output(outputs, "efficientformer design --run-dir runs/photos --budget 50% --budget 40%")
    assert "40pct/model.onnx" in further and re.search(r"supernet\s+up to date", further)
    assert [entry["budget"] for entry in read_record(folder / "runs" / "openvino" / "result.json", Any)] == [
        "50%",
        "40%",
    ]


def test_networks_of_the_run_are_compared_on_other_runtimes(outputs, folder):
    assert "50pct" in output(outputs, "efficientformer benchmark")
    record = json.loads((folder / "runs" / "compared" / "benchmark.json").read_text())
    assert [runtime["name"] for runtime in record["runtimes"]] == ["onnxruntime", "openvino"]
    assert not [result for model in record["models"] for result in model["results"] if result["problem"]]


def test_more_headroom_is_slimmed_anew(outputs):
    assert "slim.headroom changed" in output(outputs, "efficientformer design --run-dir runs/photos --slim.headroom")
