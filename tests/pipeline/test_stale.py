"""Which settings and inputs make each phase out of date, and that no verb works on what is. The work is made up."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from efficientformer.arch.space import QUICK
from efficientformer.errors import UsageError
from efficientformer.pipeline.out_of_date import out_of_date, out_of_date_file
from efficientformer.pipeline.phases import baselines, evaluate, export, rank, slim, supernet, train, verify
from efficientformer.pipeline.run import outputs
from efficientformer.pipeline.run import workspace as workspace_module
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.corrections import correct
from efficientformer.pipeline.run.outputs import run_network
from efficientformer.pipeline.run.phase import Phase
from efficientformer.pipeline.run.plan import EXPORT, PHASES, SLIM, SUPERNET, TABLE, TRAIN
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.pipeline.run.settings import Settings, leaves
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.tables import combine
from efficientformer.pipeline.verbs import explain
from efficientformer.provenance import FINGERPRINT
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet

GIVEN = {"preset": "quick", "resolution": 16, "budget": ["60%"], "slim": {"trials": 0, "polish": 0}}


class Run:
    """A run whose phases are finished, as far as their stamps and files go."""

    def __init__(self, root: Path, images: Path, **given: Any) -> None:
        self.dir = RunDir(root)
        self.given = {**GIVEN, "data": str(images), **given}
        self.machine = dict.fromkeys(FINGERPRINT, "made up")

    def workspace(self, **changes: Any) -> Workspace:
        given = json.loads(json.dumps({**self.given, **changes}))
        workspace = Workspace(self.dir, resolve_settings(given), RunConsole(quiet=True))
        workspace.__dict__["runtime"] = SimpleNamespace(
            name=workspace.settings.runtime,
            machine=lambda: self.machine,
            describe=lambda: {"name": workspace.settings.runtime, "version": "1"},
        )
        return workspace

    def finish(self, *phases: Phase, text: str = "made") -> None:
        """Do the phases whose settings or inputs have changed; every output has this text."""
        workspace = self.workspace()
        self.dir.remember_settings(self.given, workspace.settings.model_dump(mode="json"))
        for phase in phases or PHASES:
            for network in self.networks(workspace) if phase.each_network else [None]:
                paths = phase.outputs(workspace, network)
                phase.run(workspace, lambda _, paths=paths, phase=phase: self._write(phase, paths, text), network)

    def networks(self, workspace: Workspace) -> list[Any]:
        return [run_network(workspace, found) for found in read_found(self.dir)]

    def stale(self, **changes: Any) -> set[str]:
        """The phases that are out of date, each by what it depends on itself."""
        workspace, names = self.workspace(**changes), set()
        for phase in PHASES:
            network = self.networks(workspace)[0] if phase.each_network else None
            if phase.problem(workspace, network):
                names.add(phase.name)
        return names

    def _write(self, phase: Phase, paths: list[Path], text: str) -> None:
        for path in paths:
            if phase is SLIM:
                value = {"text": "60%", "value": 60.0, "unit": "%"}
                entry = {"budget_value": value, "slug": "60pct", "budget_ms": 2.0, "predicted_ms": 1.9, "note": text}
                write_record(path, {"budgets": [{**entry, **Subnet.largest(QUICK).to_json()}]})
            else:
                write_record(path, {"note": text})


def draw(root: Path, *classes: str, shade: int = 0) -> Path:
    for part, name in itertools.product(("train", "val"), classes):
        (root / part / name).mkdir(parents=True, exist_ok=True)
        for index in range(4):
            pixels = np.full((16, 16, 3), (10 * index + 100 * (part == "val") + shade) % 256, np.uint8)
            Image.fromarray(pixels).save(root / part / name / f"{index}{'x' * shade}.png")
    return root


@pytest.fixture
def images(tmp_path) -> Path:
    return draw(tmp_path / "images", "cat", "dog")


@pytest.fixture
def run(tmp_path, images) -> Run:
    run = Run(tmp_path / "run", images)
    run.finish()
    return run


ALL = {phase.name for phase in PHASES}
TRAINED = {"rank", "train"}
STALE: dict[str, set[str]] = {
    "data": set(),  # another folder with the same images
    "val_fraction": set(),  # the folder has a split of its own
    "space": {"table", "supernet"},
    "resolution": {"table", "supernet", "rank", "train", "evaluate", "export", "verify"},
    "seed": {"supernet", "baselines", "rank", "train"},
    "budget": {"slim", "verify"},
    "percentile": {"slim", "verify"},
    "device": {"table", "slim", "verify"},
    "runtime": {"table", "export", "verify"},
    "threads": {"table", "verify"},
    "clock": {"table", "verify"},
    "table.rounds": {"table"},
    "supernet": {"supernet"},
    "slim": {"slim"},
    "slim.images": {"slim", "rank"},
    "slim.bn_images": {"slim", "rank"},
    "slim.metric": {"slim", "rank", "baselines"},
    "slim.actions": {"slim", "baselines"},
    "limits": {"slim", "verify"},
    "baselines": {"baselines"},
    "rank": {"rank"},
    "train": TRAINED,
    "export": {"export"},
    "verify": {"verify"},
}
"""Phases that a setting makes out of date by itself; the group stands for its settings that are not listed. A setting
without an entry changes no record."""
OTHER: dict[str, Any] = {
    "preset": "standard",
    "space": "standard",
    "budget": ["50%"],
    "percentile": "p90",
    "device": "ssh:board",
    "device_program": "benchmark",
    "device_cores": "0",
    "litert_python": "python3",
    "runtime": "pytorch",
    "clock": "wall",
    "training_device": "cuda",
    "supernet.temperature": [1.0, 0.3],
    "supernet.noise": "none",
    "supernet.sampling": "soft",
    "supernet.elastic_width": "none",
    "supernet.augmentation": "strong",
    "supernet.precision": "bf16",
    "train.augmentation": "strong",
    "train.precision": "bf16",
    "train.init": "supernet",
    "slim.metric": "top1",
    "slim.actions": "exchange",
    "supernet.held_out": 0.3,
}
SKIPPED = {"supernet_from", "data"}
"""Tested on their own below."""


def changed(name: str, value: Any) -> dict[str, Any]:
    if name in OTHER:
        return {"value": OTHER[name]}
    if isinstance(value, bool):
        return {"value": not value}
    if isinstance(value, int):
        return {"value": value + 40}
    if isinstance(value, float):
        return {"value": value * 0.9 if value else 0.1}
    return {"value": 7}


@pytest.mark.parametrize("name", sorted(set(leaves()) - SKIPPED))
def test_a_setting_makes_out_of_date_exactly_what_depends_on_it(run, name):
    group, _, key = name.rpartition(".")
    before = run.workspace().settings
    value = getattr(getattr(before, group), key) if group else getattr(before, key)
    other = changed(name, value)["value"]
    if name == "preset":
        # A preset has no effect of its own: it gives values to other settings.
        kept = before.model_dump(mode="json", exclude={"supernet_from"})
        assert run.stale(**{**kept, "preset": other}) == set()
        return
    changes = {group: {**run.given.get(group, {}), key: other}} if group else {key: other}
    if name == "train.init":
        assert run.stale(**changes) == TRAINED
        return
    expected = STALE.get(name, STALE.get(group, set()) if group else set())
    assert run.stale(**changes) == expected


def test_with_trials_slimming_depends_on_the_training(tmp_path, images):
    run = Run(tmp_path / "run", images, slim={"trials": 3, "polish": 0})
    run.finish()
    assert run.stale() == set() and run.stale(train={"epochs": 77}) == {"slim", *TRAINED}


def replace_images(run: Run) -> None:
    root = Path(run.given["data"])
    shutil.rmtree(root)
    draw(root, "cat", "dog", shade=3)


def add_class(run: Run) -> None:
    draw(Path(run.given["data"]), "cow")


def other_machine(run: Run) -> None:
    run.machine = {**run.machine, "cpu": "another"}


def break_a_promise(run: Run) -> None:
    correct(run.workspace(), "60pct", 1.1)


def again(*phases: Phase) -> Callable[[Run], None]:
    """The phases are done again, and their files are different ones."""

    def redo(run: Run) -> None:
        for phase in phases:
            for path in run.dir.root.glob(f"stamps/{phase.name}*.json"):
                path.unlink()
            run.finish(phase, text="made again")

    return redo


INPUTS = {
    "other images": (replace_images, {"supernet", "slim", "baselines", "rank", "train", "evaluate"}),
    "another class": (add_class, ALL - {"verify"}),
    "another machine": (other_machine, {"table", "export", "verify"}),
    "the table measured again": (again(TABLE), {"slim", "baselines", "rank"}),
    "the supernet trained again": (again(SUPERNET), {"slim", "baselines", "rank"}),
    "slimmed again": (again(SLIM), {"baselines"}),
    "trained again": (again(TRAIN), {"evaluate", "export"}),
    "exported again": (again(EXPORT), {"verify"}),
    "a broken promise": (break_a_promise, {"slim"}),
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_makes_out_of_date_exactly_what_reads_it(run, name):
    change, expected = INPUTS[name]
    assert run.stale() == set()
    change(run)
    assert run.stale() == expected


def test_networks_that_start_from_the_supernet_depend_on_it(tmp_path, images):
    run = Run(tmp_path / "run", images, train={"init": "supernet"})
    run.finish()
    again(SUPERNET)(run)
    assert run.stale() == {"slim", "baselines", "rank", "train"}


@pytest.fixture
def stub(monkeypatch):
    """A table that fits any device, and no network that cannot be reached."""
    table = SimpleNamespace(check_device=lambda *_: None, check_error=lambda _: None)
    monkeypatch.setattr(outputs.LatencyTable, "load", lambda _: table)
    for module in (slim, supernet):
        monkeypatch.setattr(module, "require_reachable", lambda *_: None)


def interrupted(phase: Phase) -> Callable[[Run], None]:
    """The phase began again, with other settings, and was killed."""

    def begin(run: Run) -> None:
        def work(_: str) -> None:
            raise KeyboardInterrupt

        workspace = run.workspace(
            table={"rounds": 99}, supernet={"epochs": 99}, train={"epochs": 99}, export={"dynamic_batch": True}
        )
        network = run.networks(workspace)[0] if phase.each_network else None
        with pytest.raises(KeyboardInterrupt):
            phase.run(workspace, work, network)

    return begin


def edited(name: str) -> Callable[[Run], None]:
    return lambda run: (run.dir.root / name).write_text('{"note": "by hand"}')


def deleted(name: str) -> Callable[[Run], None]:
    return lambda run: (run.dir.root / name).unlink()


NETWORK = "networks/60pct"
SUPERNET_AGAIN = r"slim/trace.json is out of date \(supernet/weights.safetensors changed\). Run 'efficientformer slim "
REFUSED = [
    # The cases of the issue.
    (again(SUPERNET), baselines, SUPERNET_AGAIN),
    (again(SUPERNET), train, SUPERNET_AGAIN),
    (again(SUPERNET), evaluate, SUPERNET_AGAIN),
    (again(SUPERNET), export, SUPERNET_AGAIN),
    (again(SUPERNET), verify, SUPERNET_AGAIN),
    (replace_images, slim, r"supernet/weights.safetensors is out of date \(the images changed\). .*former supernet "),
    (add_class, slim, r"table.json is out of date \(the number of classes changed from 2 to 3\). .*former table "),
    # Others.
    (replace_images, rank, r"the images changed\). Run 'efficientformer supernet "),
    (replace_images, baselines, r"the images changed\). Run 'efficientformer supernet "),
    (replace_images, verify, r"the images changed\). Run 'efficientformer supernet "),
    (again(TABLE), train, r"trace.json is out of date \(table.json changed\). Run 'efficientformer slim "),
    (
        again(TRAIN),
        verify,
        rf"{NETWORK}/model.onnx is out of date \({NETWORK}/weights.safetensors changed\). Run .*export",
    ),
    (interrupted(TABLE), slim, r"table.json is missing or not finished. Run 'efficientformer table "),
    (interrupted(SUPERNET), baselines, r"supernet/weights.safetensors is missing or not finished. Run .*supernet "),
    (interrupted(SUPERNET), verify, r"supernet/weights.safetensors is missing or not finished. Run .*supernet "),
    (interrupted(TRAIN), verify, rf"{NETWORK}/weights.safetensors is missing or not finished. Run .*train "),
    (interrupted(TRAIN), evaluate, rf"{NETWORK}/weights.safetensors is missing or not finished. Run .*train "),
    (interrupted(EXPORT), verify, rf"{NETWORK}/model.onnx is missing or not finished. Run .*export "),
    (deleted("supernet/record.json"), slim, r"supernet/record.json is missing .* Run .*supernet "),
    (deleted("supernet/record.json"), baselines, r"supernet/record.json is missing .* Run .*supernet "),
    (deleted("slim/trace.json"), train, r"slim/trace.json is missing .* Run .*slim "),
    (deleted(f"{NETWORK}/train.json"), export, rf"{NETWORK}/train.json is missing .* Run .*train "),
    (edited("table.json"), slim, r"table.json was changed or replaced since it was made. Restore it, or delete it "),
    (edited("supernet/weights.safetensors"), rank, r"supernet/weights.safetensors was changed or replaced"),
    (edited("supernet/record.json"), slim, r"supernet/record.json was changed or replaced"),
    (edited(f"{NETWORK}/weights.safetensors"), evaluate, rf"{NETWORK}/weights.safetensors was changed or replaced"),
    (edited(f"{NETWORK}/weights.safetensors"), export, rf"{NETWORK}/weights.safetensors was changed or replaced"),
    (edited(f"{NETWORK}/model.onnx"), verify, rf"{NETWORK}/model.onnx was changed or replaced"),
]


@pytest.mark.parametrize("change, verb, message", REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_no_verb_works_on_what_is_out_of_date(run, stub, change, verb, message):
    files = {path: path.read_bytes() for path in run.dir.root.rglob("*") if path.is_file()}
    change(run)
    files |= {path: path.read_bytes() for path in run.dir.root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=message) as refused:
        verb.run(run.workspace())
    assert "\n" not in str(refused.value)
    lost = [path for path, content in files.items() if path.exists() and path.read_bytes() != content]
    assert not [path for path in lost if path.name not in ("data.json", "images.json")]


def test_a_trace_edited_by_hand_is_refused(run, stub):
    trace = read_record(run.dir.trace, dict)
    trace["budgets"][0]["predicted_ms"] = 0.1
    write_record(run.dir.trace, trace)
    for verb in (baselines, train, evaluate, export, verify):
        with pytest.raises(UsageError, match=r"trace.json was changed or replaced since it was made"):
            verb.run(run.workspace())


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_what_was_edited_by_hand_is_not_overwritten_but_made_again_once_it_is_deleted(run, phase):
    workspace = run.workspace(verify={"rounds": 99})
    network = run.networks(workspace)[0] if phase.each_network else None
    path = phase.outputs(workspace, network)[0]
    written, content = path.read_bytes(), path.read_bytes() + b" "
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"was changed or replaced since it was made. Restore it, or delete it"):
        phase.run(workspace, lambda _: pytest.fail("worked"), network)
    assert path.read_bytes() == content
    path.unlink()
    assert phase.run(workspace, lambda _: path.write_bytes(written), network)


def test_explain_refuses_a_trace_of_another_supernet_and_opens_nothing(run, monkeypatch):
    monkeypatch.setattr(workspace_module.Workspace, "dataset", property(lambda _: pytest.fail("images were read")))
    monkeypatch.setattr(workspace_module.Workspace, "runtime", property(lambda _: pytest.fail("a device was opened")))
    trace = read_record(run.dir.trace, dict)
    with pytest.raises(KeyError):  # the made up trace has no steps: it was read
        explain(1, run_dir=run.dir.root)
    monkeypatch.undo()
    again(SUPERNET)(run)
    with pytest.raises(UsageError, match=SUPERNET_AGAIN):
        explain(1, run_dir=run.dir.root)
    assert read_record(run.dir.trace, dict) == trace


def test_a_network_is_trained_where_the_measured_device_is_not(run):
    other_machine(run)
    workspace = run.workspace()
    assert SLIM.require(workspace) and TRAIN.require(workspace, run.networks(workspace)[0])


# The report and `predict` show records that are out of date, and say so.


@pytest.mark.parametrize(
    "change, verbs",
    [
        (lambda run: None, []),
        (again(SUPERNET), ["slim", "baselines", "rank", "train", "evaluate", "export", "verify"]),
        (again(TRAIN), ["evaluate", "export", "verify"]),
        (again(EXPORT), ["verify"]),
        (edited("slim/baselines.json"), ["baselines"]),
        (interrupted(TRAIN), ["train", "evaluate", "export", "verify"]),
        (other_machine, []),
    ],
)
def test_records_out_of_date_are_listed_with_the_verbs_that_make_them_again(run, change, verbs):
    change(run)
    assert [row.verb for row in out_of_date(run.dir.root)] == verbs


def test_images_that_a_verb_found_replaced_are_listed_too(run, stub):
    replace_images(run)
    with pytest.raises(UsageError):
        slim.run(run.workspace())
    rows = out_of_date(run.dir.root)
    assert [row.verb for row in rows] == [
        "supernet",
        "slim",
        "baselines",
        "rank",
        "train",
        "evaluate",
        "export",
        "verify",
    ]
    assert "the images changed" in rows[0].text and "it follows from" in rows[-1].text


def test_a_report_names_what_is_out_of_date(run, capsys):
    from efficientformer.pipeline.verbs import report

    assert "out of date" not in report(run.dir.root).read_text(encoding="utf-8")
    again(TRAIN)(run)
    page = report(run.dir.root).read_text(encoding="utf-8")
    assert "evaluation.json is out of date" in page and "efficientformer evaluate --run-dir" in page
    assert "evaluation.json is out of date" in capsys.readouterr().err


def test_an_exported_file_older_than_its_weights_is_named(run, tmp_path):
    path = run.dir.network("60pct").onnx
    assert out_of_date_file(path) == [] == out_of_date_file(tmp_path / "model.onnx")
    again(TRAIN)(run)
    assert [row.verb for row in out_of_date_file(path)] == ["evaluate", "export"]


# The supernet of another run.


def test_a_supernet_taken_over_is_out_of_date_once_the_other_is_trained_again(run, stub, tmp_path, images):
    second = Run(tmp_path / "second", images, supernet_from=str(run.dir.root))
    second.finish(TABLE)
    supernet.run(second.workspace())
    weights = second.dir.supernet_weights
    assert weights.read_bytes() == run.dir.supernet_weights.read_bytes()
    assert SUPERNET.problem(second.workspace()) is None
    again(SUPERNET)(run)
    with pytest.raises(UsageError, match=r"the supernet of .*/run changed\). Run 'efficientformer supernet "):
        slim.run(second.workspace())
    supernet.run(second.workspace())
    assert weights.read_bytes() == run.dir.supernet_weights.read_bytes()
    shutil.rmtree(run.dir.root)
    assert SUPERNET.problem(second.workspace()) is None, "a copy does not need the other run any more"


@pytest.mark.parametrize(
    "change, message",
    [
        (edited("supernet/weights.safetensors"), "was changed or replaced since it was made"),
        (deleted("supernet/record.json"), "has no trained supernet"),
        (interrupted(SUPERNET), "has no trained supernet"),
    ],
)
def test_a_supernet_that_is_not_whole_is_not_taken_over(run, stub, tmp_path, images, change, message):
    second = Run(tmp_path / "second", images, supernet_from=str(run.dir.root))
    second.finish(TABLE)
    change(run)
    with pytest.raises(UsageError, match=message):
        supernet.run(second.workspace())
    assert not second.dir.supernet_weights.exists()


def test_a_merged_table_counts_as_the_runs_own_and_one_of_another_resolution_does_not(run, monkeypatch):
    def table(resolution: int) -> Any:
        def save(path: Path) -> None:
            write_record(path, {"note": "merged"})

        return SimpleNamespace(space=QUICK, resolution=resolution, num_classes=2, save=save)

    monkeypatch.setattr(combine, "load_table", lambda _: None)
    for resolution, problem in ((16, None), (32, "changed or replaced")):
        monkeypatch.setattr(combine, "merge_tables", lambda *_, resolution=resolution: table(resolution))
        TABLE.forget(run.workspace())
        run.finish(TABLE)
        combine.merge(["a.json", "b.json"], run.dir.root)
        found = TABLE.problem(run.workspace())
        assert found is None if problem is None else problem in str(found)


def test_every_setting_is_known_to_the_tests_above():
    assert set(STALE) <= {*leaves(), *(name for name in Settings.model_fields)}
