"""The benchmarks stay in order: pages say what records say, names say what is inside, scripts find the package."""

import ast
import importlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import efficientformer
from efficientformer.arch.spaces import SPACES
from efficientformer.arch.spec import FFN, Stage
from efficientformer.arch.zoo import V2_S0, build_architecture
from efficientformer.errors import ArchitectureError
from efficientformer.pipeline.run.resolve_settings import resolve_settings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("an archive of sources has no benchmarks", allow_module_level=True)
sys.path.append(str(BENCHMARKS))

from studies import naming  # noqa: E402
from studies.compact import compacted, expanded, from_compact, to_compact  # noqa: E402
from studies.options import settings_of  # noqa: E402

RECORDS = sorted((BENCHMARKS / "records").rglob("*.json"))
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))
LOG = (BENCHMARKS / "LOG.md").read_text(encoding="utf-8")
MACHINE = {"cpu": "Intel(R) Xeon(R) Processor (family 6, model 207)", "cores": 2, "os": "Linux x86_64"}


def test_the_pages_are_what_the_records_say():
    environment = {**os.environ, "PYTHONPATH": str(Path(efficientformer.__file__).parents[1])}
    command = [sys.executable, str(BENCHMARKS / "results.py"), "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_no_folder_of_the_machine_that_made_it(path):
    absolute = re.findall(r"""(?:^|[\s"'=])(/(?:home|root|tmp|work|Users|mnt|var|data)/[^\s"']*)""", path.read_text())
    assert not absolute


def test_the_page_is_short():
    assert len((BENCHMARKS / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_links_of_the_page_lead_somewhere():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert links and not [link for link in links if not (BENCHMARKS / link).exists()]


def test_all_records_together_are_small():
    assert sum(path.stat().st_size for path in RECORDS) < 2_000_000


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_name_of_a_record_agrees_with_its_content(path):
    name = naming.parse_name(path)
    provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    assert naming.record_name(name.study, name.subject, provenance, *name.conditions) == name
    assert name.machine in naming.machines()


def test_every_record_stays_for_an_entry_of_the_log():
    named = set(re.findall(r"`([a-z0-9_]+/[a-z0-9_-]+)`", LOG))
    assert named == {f"{path.parent.name}/{path.stem}" for path in RECORDS}


def test_replaced_runs_are_in_the_log():
    earlier = json.loads((BENCHMARKS / "earlier_runs.json").read_text(encoding="utf-8"))
    rows = [row for study, found in earlier.items() if study != "about" for row in found]
    assert rows and not [row for row in rows if f"`{row['commit']}:{Path(row['record']).stem}`" not in LOG]


def test_entries_of_the_log_are_dated_and_short():
    entries = [entry.splitlines() for entry in LOG.split("\n## ")[1:]]
    dates = [head[:12] for head, *_ in entries]
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}: ", date) for date in dates)
    assert dates == sorted(dates, reverse=True)
    assert not [head for head, *lines in entries if len("\n".join(lines).strip().splitlines()) > 8]
    assert len({head for head, *_ in entries}) == len(entries)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_find_what_they_import_from_the_package(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    wanted = [(node.module, alias.name) for node in froms for alias in node.names if is_ours(node.module)]
    assert not [pair for pair in wanted if not is_found(*pair)]


def test_settings_of_a_study_are_given_by_name():
    words = ["preset=quick", "train.epochs=3", "train.lr=1e-3", "budget=8ms", "budget=40%", "slim.lazy=true"]
    train = {"epochs": 3, "lr": "1e-3"}
    assert settings_of(words) == {"preset": "quick", "train": train, "budget": ["8ms", "40%"], "slim": {"lazy": True}}
    assert resolve_settings(settings_of(words)).train.lr == 1e-3
    with pytest.raises(SystemExit, match="name=value"):
        settings_of(["--preset"])


def is_ours(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == "efficientformer"


def is_found(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_networks_in_records_come_back_from_their_short_form(space):
    rng = random.Random(0)
    for architecture in (space.largest(), space.smallest(), *(space.random(rng) for _ in range(50))):
        record = {"rows": [{"architecture": architecture.to_json(), "top1": 1.0}]}
        assert isinstance(compacted(record, space)["rows"][0]["architecture"], str)
        assert expanded(compacted(record, space), space) == record


def test_the_short_form_is_widths_depths_and_mb3d():
    network = build_architecture((32, 48, 240, 240), (1, 4, 4, 1), 1)
    assert to_compact(network, SPACES["imagenet"]) == "32-48-240-240 / 1-4-4-1 / 1"
    blocks = (FFN(mlp_ratio=3), FFN(mlp_ratio=1))
    other = SPACES["v2_quick"].smallest().with_stage(2, Stage(96, blocks))
    assert to_compact(other, SPACES["v2_quick"]) == "16-16-96-16 / d-d-fh-h"
    assert to_compact(V2_S0, SPACES["v2_quick"]) is None
    with pytest.raises(ArchitectureError):
        from_compact("32-48-240-240 / 1-4-4-1", SPACES["imagenet"])


def test_networks_outside_the_space_keep_their_long_form():
    for architecture in (V2_S0, SPACES["imagenet"].largest()):
        record = {"architecture": architecture.to_json()}
        assert compacted(record, SPACES["quick"]) == record


def test_a_name_is_made_from_provenance():
    provenance = {"machine": {**MACHINE, "python": "3.12"}, "time": "2026-11-27T09:00:00+00:00"}
    name = naming.record_name("table_accuracy", "openvino", provenance, "2t", "", "loaded")
    assert name.path.relative_to(naming.RECORDS) == Path("table_accuracy/openvino-xeon-spr-20261127-2t-loaded.json")
    assert naming.parse_name(name.path) == name


def test_an_unknown_machine_is_named_after_its_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(naming, "RECORDS", tmp_path)
    machine = {"cpu": "Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", "cores": 8, "os": "Linux x86_64"}
    record = {"what": "a try", "provenance": {"machine": machine, "time": "2027-01-02T03:04:05+00:00"}}
    path = naming.keep("try", "it", record)
    assert path == tmp_path / "try" / "it-intel-core-i7-1185g7-8c-20270102.json"
    assert json.loads(path.read_text()) == record
    assert naming.parse_name(path).machine == "intel-core-i7-1185g7-8c"
    assert "machines.json" in capsys.readouterr().out


@pytest.mark.parametrize("stem", ["openvino_zen4", "openvino-zen4", "openvino-zen4-2026112", "OpenVINO-zen4-20261122"])
def test_other_names_are_refused(stem):
    with pytest.raises(ValueError, match="named"):
        naming.parse_name(naming.RECORDS / "table_accuracy" / f"{stem}.json")
