"""Every record of a real run has a type; changed in any way, it is one line that names the file, or it still works."""

import contextlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from efficientformer.errors import EfficientFormerError, RecordError
from efficientformer.formats.files import NETWORK_RECORDS, RUN_RECORDS, read_any
from efficientformer.formats.network import MetricsLine
from efficientformer.formats.run import StampRecord
from efficientformer.formats.slimming import EvaluationLine, StateRecord, StepRecord
from efficientformer.journal import Journal
from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.result import collect_result
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.pipeline.run.stamps import read_stamp
from efficientformer.pipeline.tables.combine import diff, merge
from efficientformer.pipeline.tables.describe import describe_table
from efficientformer.pipeline.tables.predict import find_architecture, predict
from efficientformer.reading import read_lines, read_record
from efficientformer.report.run.load import load_run
from efficientformer.report.run.page import render_page
from efficientformer.run_dir import NetworkFiles, RunDir
from efficientformer.training.metrics_log import MetricsLog

SLUG = "60pct"
MUTATIONS = 12
"""Of each record; a longer run of thousands found no others."""
LONGEST_S = 20
DEEP, LONG = "[" * 10_000 + "]" * 10_000, "9" * 5000
VALUES = [None, "text", "", [], {}, -1, 0, 1, 2**63, 1e308, -1e308, 0.5, True, [[]], {"a": {}}, "../../x", "a\0b"]


def table_readers(path: Path) -> list[Callable[[], Any]]:
    whole = path.with_name("whole.json")
    return [
        lambda: describe_table(path),
        lambda: predict(path, "efficientformer_l1"),
        lambda: predict(path, str(path.parent / "networks" / SLUG)),
        lambda: diff(path, whole),
        lambda: merge([path, whole], path.with_name("merged.json")),
    ]


def readers(run: RunDir, path: Path) -> list[Callable[[], Any]]:
    """All that reads this file, through the Python entry points."""
    pages = [lambda: load_run(run.root)]
    if path.suffix == ".jsonl":
        return (
            [*pages, lambda: MetricsLog(path).rewind(3)]
            if path.stem.endswith("metrics")
            else [lambda: open_journal(path)]
        )
    if path.parent.name == "stamps":
        return [lambda: read_stamp(path), lambda: verbs.explain(1, run_dir=run.root)]
    own: dict[str, list[Callable[[], Any]]] = {
        "table": table_readers(path),
        "settings": [lambda: RunRequest(run_dir=run.root).resolved(), lambda: verbs.explain(1, run_dir=run.root)],
        "trace": [lambda: verbs.explain(1, run_dir=run.root), lambda: read_found(run)],
        "verification": [lambda: collect_result(run)],
        "published": [lambda: collect_result(run)],
        "evaluation": [lambda: collect_result(run)],
        "architecture": [lambda: collect_result(run), lambda: find_architecture(str(path))],
    }
    return [*pages, *own.get(path.stem, [])]


def open_journal(path: Path) -> None:
    header = json.loads(path.with_suffix(".whole").read_text().splitlines()[0])["about"]
    if path.stem == "steps":
        Journal(path, header, StepRecord, first=StateRecord)
    else:
        Journal(path, header, EvaluationLine)


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in children:
        yield (*at, key)
        yield from places(value, (*at, key))


def mutated(text: str, rng: random.Random) -> str:
    """The text with one value changed or deleted, or damaged as a whole."""
    if rng.random() < 0.2:
        whole = ["", "null", "[]", "{}", '"text"', text[: len(text) // 2], DEEP, LONG, '{"a": ' * 500, "\x00" * 9]
        return rng.choice(whole)
    lines = text.splitlines() if "\n{" in text.rstrip() and text.startswith("{") and text.count("\n{") else [text]
    with contextlib.suppress(json.JSONDecodeError):
        lines = [text] if json.loads(text) is not None else lines
    number = rng.randrange(len(lines))
    content = json.loads(lines[number])
    *parents, last = rng.choice(list(places(content)))
    inner = content
    for key in parents:
        inner = inner[key]
    match rng.randrange(5):
        case 0:
            del inner[last]
        case 1 if isinstance(inner, list):
            inner.append(inner[last])
        case 2:
            inner[last] = "@"
        case _:
            inner[last] = rng.choice(VALUES)
    changed = json.dumps(content).replace('"@"', rng.choice([DEEP, LONG, "NaN", "-Infinity", "1e999", '"\\ud800"']))
    return "\n".join([*lines[:number], changed, *lines[number + 1 :]]) + "\n"


def check_bounded(read: Callable[[], Any], names: set[str]) -> None:
    started = time.monotonic()
    try:
        read()
    except EfficientFormerError as error:
        assert str(error).isprintable() and len(str(error)) < 2000, error
        if isinstance(error, RecordError):
            assert any(name in str(error) for name in names), f"{names} is not named in: {error}"
    assert time.monotonic() - started < LONGEST_S


@pytest.fixture(scope="module")
def run(designed, tmp_path_factory) -> RunDir:
    root = tmp_path_factory.mktemp("hostile") / "run"
    shutil.copytree(designed[0], root)
    return RunDir(root)


def records(run: RunDir) -> list[Path]:
    files = [path for pattern in ("*.json", "*.jsonl") for path in sorted(run.root.rglob(pattern))]
    return [path for path in files if path.stem not in ("whole", "merged") and "40pct" not in str(path)]


def test_every_record_of_a_run_is_read_by_its_type(run):
    """The writers write what the types say."""
    types: dict[Path, Any] = {getattr(run, name): kind for name, kind in RUN_RECORDS.items()}
    for folder in run.networks.iterdir():
        types |= {getattr(NetworkFiles(folder), name): kind for name, kind in NETWORK_RECORDS.items()}
    left = set(run.root.rglob("*.json")) - set(types) - {run.checked_images}
    assert {path.parent.name for path in left} == {"stamps"}
    made = [path for path in types if path.exists()]
    asked_for = {"baselines", "rank", "latency", "chosen", "examples"}
    assert {path.stem for path in set(types) - set(made)} == asked_for, "of other verbs and tasks, and of --reference"
    assert all(read_any(path, types[path]) for path in made) and all(read_record(path, StampRecord) for path in left)
    assert read_lines(run.supernet_metrics, MetricsLine) and read_lines(run.network(SLUG).metrics, MetricsLine)


def test_a_changed_record_is_one_line_that_names_it_or_still_works(run):
    shutil.copy(run.table, run.table.with_name("whole.json"))
    for path in records(run):
        before = path.read_text(encoding="utf-8")
        rng = random.Random(path.relative_to(run.root).as_posix())
        if path.suffix == ".jsonl":
            path.with_suffix(".whole").write_text(before, encoding="utf-8")
        for _ in range(MUTATIONS):
            text = mutated(before, rng)
            for read in readers(run, path):
                path.write_text(text, encoding="utf-8", errors="surrogatepass")
                check_bounded(read, {path.name, run.root.name})
        path.unlink()
        path.mkdir()
        for read in readers(run, path):
            check_bounded(read, {path.name, run.root.name})
        path.rmdir()
        path.write_text(before, encoding="utf-8")


def test_a_page_is_drawn_from_any_records(run):
    rng = random.Random(0)
    kept = {path: path.read_text(encoding="utf-8") for path in records(run)}
    for _ in range(3):
        for path, text in kept.items():
            path.write_text(mutated(text, rng), encoding="utf-8")
        with contextlib.suppress(EfficientFormerError):  # no record is left
            page = render_page(load_run(run.root))
            assert "does not have the expected form" not in page, "a type is too wide for its section"
    for path, text in kept.items():
        path.write_text(text, encoding="utf-8")
