"""No verb works on what is out of date, and nothing that was changed by hand is lost. The work is made up."""

from types import SimpleNamespace

import pytest

from efficientformer.errors import BudgetError, UsageError
from efficientformer.pipeline.phases import baselines, evaluate, export, rank, slim, supernet, train, verify
from efficientformer.pipeline.run import outputs
from efficientformer.pipeline.run import workspace as workspace_module
from efficientformer.pipeline.run.plan import EXPORT, PHASES, SLIM, SUPERNET, TABLE, TRAIN
from efficientformer.pipeline.verbs import explain
from efficientformer.reading import read_record
from efficientformer.records import write_record

from .made_run import (
    NETWORK,
    SUPERNET_AGAIN,
    add_class,
    again,
    deleted,
    edited,
    interrupted,
    other_machine,
    replace_images,
)

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
    with pytest.raises(UsageError, match="the trace has no steps"):  # it was read
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


def test_a_supernet_is_trained_where_the_device_is_not_unless_its_table_rules_a_budget_out(run, monkeypatch):
    other_machine(run)
    monkeypatch.setattr(SUPERNET.__class__, "run", lambda *_: pytest.fail("the supernet was trained"))
    least = SimpleNamespace(interval_ms=(2.0, 2.0), predicted_ms=2.0)
    table = SimpleNamespace(largest=SimpleNamespace(measured_ms=3.0), smallest=least)
    monkeypatch.setattr(outputs.LatencyTable, "load", lambda _: table)
    with pytest.raises(BudgetError, match="smallest reachable budget"):
        supernet.run(run.workspace(slim={"images": 2}))
    deleted("table.json")(run)
    with pytest.raises(pytest.fail.Exception, match="the supernet was trained"):
        supernet.run(run.workspace(slim={"images": 2}))
