"""Slimming a parent in two rounds, and elastic fine-tuning: which weights every network has, resuming, what is said."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.search.slimmable import SPACE
from tests.training.kills import Killed, killing_after

from efficientformer.errors import RecordError, UsageError
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.models.weights_file import read_tensors, read_weights_metadata
from efficientformer.pipeline.explain import explain_step
from efficientformer.pipeline.networks.elastic import require_elastic
from efficientformer.pipeline.networks.stand_alone import initial_network
from efficientformer.pipeline.phases import slim as slim_phase
from efficientformer.pipeline.phases import supernet as supernet_phase
from efficientformer.pipeline.run import fit_images
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.outputs import run_network
from efficientformer.pipeline.run.plan import ROUND, SLIM, SUPERNET
from efficientformer.pipeline.run.resolve_settings import merge_given, notes_on, resolve_settings
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import oracles, rounds
from efficientformer.pipeline.slimming.oracles import load_parent, load_supernet, supernet_weights
from efficientformer.pipeline.slimming.rounds import HALF, HalfWay
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network, reestimate_batch_norm
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile

from ..models.small import SMALL

LARGE, SMALLER = ("80%", "50%"), ("35%", "30%")
NO_ROUNDS = {"parent": {"round_epochs": 0}}
LIGHT = {"augmentation": "light"}
ELASTIC = {"parent": {"elastic_epochs": 1, "elastic_lr": 1e-3}}


class Table:
    """Latencies of networks, in milliseconds."""

    resolution, num_classes = 16, 10
    spread = SimpleNamespace(interval_ms=lambda latency_ms: (latency_ms, latency_ms))

    def predict(self, architecture) -> float:
        hidden = sum(block.mlp_ratio for stage in architecture.stages for block in stage.blocks)
        return 1 + hidden + architecture.num_attending + sum(architecture.widths) / 8

    @property
    def largest(self) -> Any:
        return SimpleNamespace(measured_ms=self.predict(SPACE.largest()))


class Run:
    """A run whose parent is taken as it is. Latencies are made up, and every network that is found is confirmed."""

    def __init__(self, root: Path, images: Any, init: Path) -> None:
        self.dir, self._images = RunDir(root), images
        self.given = {
            **{"preset": "transfer", "resolution": 16, "workers": 0, "training_threads": 1},
            "parent": {"init": str(init), "epochs": 0, "round_epochs": 1, "round_lr": 1e-3, "batch_size": 50, **LIGHT},
            "supernet": {"held_out": 0.3},
            "slim": {"images": 60, "actions": "paper", "stride": 0.2, "polish": 3},
        }

    def workspace(self, *budgets: str, quiet: bool = True, **given: Any) -> Workspace:
        """As a new process opens the run."""
        settings = resolve_settings(merge_given(self.given, {"budget": list(budgets)} if budgets else {}, given))
        workspace = Workspace(self.dir, settings, RunConsole(quiet=quiet))
        workspace.__dict__["dataset"] = self._images
        return workspace

    def slim(self, *budgets: str, **given: Any) -> dict[str, Any]:
        """The trace, less what is measured anew."""
        workspace = self.workspace(*budgets, **given)
        supernet_phase.run(workspace)
        slim_phase.run(workspace)
        trace = read_record(self.dir.trace, dict)
        return {name: value for name, value in trace.items() if name != "provenance"}

    def starts(self, **given: Any) -> dict[str, Network]:
        """The networks that the ones found are trained from."""
        workspace = self.workspace(**given)
        found = [run_network(workspace, network) for network in read_found(self.dir)]
        return {
            net.title: initial_network(workspace, Subnet(net.architecture, net.origins), net.version) for net in found
        }


@pytest.fixture
def new_run(few_images, tmp_path, monkeypatch):
    monkeypatch.setattr(oracles, "TRAINING_IMAGES", 128)
    monkeypatch.setattr(slim_phase, "load_table", lambda _: Table())
    monkeypatch.setattr(slim_phase, "require_reachable", lambda *_: None)

    def confirm(aims) -> None:
        for aim in aims:
            aim.is_confirmed = True

    monkeypatch.setattr(slim_phase, "Confirmation", lambda *_: SimpleNamespace(confirm=confirm))
    torch.manual_seed(0)
    parent = Network(SPACE.largest(), num_classes=10, resolution=16, layer_scale_init=0.5)
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    reestimate_batch_norm(parent, [torch.randn(50, 3, 16, 16)])
    fewer = replace(few_images, train=few_images.train.subset([index for index in range(500) if index % 50 < 20]))
    parent.preprocessing = Run(tmp_path, fewer, tmp_path).workspace().preprocessing.to_json()
    save_weights(parent, tmp_path / "parent.safetensors", {"classes": json.dumps(list(few_images.classes))})
    return lambda name="run": Run(tmp_path / name, fewer, tmp_path / "parent.safetensors")


def by_budget(trace: dict[str, Any]) -> dict[str, Any]:
    """What each budget got, whatever its steps are numbered."""
    return {entry["budget"]: {**entry, "step": None} for entry in trace["budgets"]}


def same(first: Network, second: Network) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_budgets_below_half_have_a_second_round_and_others_are_as_without(new_run):
    plain, run = new_run("plain"), new_run()
    before, trace = plain.slim(*LARGE, *SMALLER, **NO_ROUNDS), run.slim(*LARGE, *SMALLER)
    for text in LARGE:
        assert by_budget(trace)[text] == by_budget(before)[text]
    assert [entry["weights"] for entry in trace["budgets"]] == [None, None, HALF, HALF]
    assert not plain.dir.all_recovered() and "round" not in before
    without, starts = plain.starts(**NO_ROUNDS), run.starts()
    assert all(same(starts[text], without[text]) for text in LARGE), "larger ones start from what was not changed"
    (half,) = run.dir.all_recovered()
    for entry in trace["budgets"][2:]:
        subnet = Subnet.from_json(entry)
        trained = extract_network(load_supernet(run.workspace(), HALF), subnet)
        parents = extract_network(load_supernet(run.workspace()), subnet)
        ours = dict(starts[entry["budget"]].named_parameters())
        assert all(torch.equal(ours[name], tensor) for name, tensor in trained.named_parameters())
        assert not any(
            torch.equal(ours[n], tensor) for n, tensor in parents.named_parameters() if "mlp.fc1.weight" in n
        )
    # What a budget gets does not depend on others, and what was trained is not trained again.
    written = half.read_bytes()
    for budgets in (SMALLER[1:], SMALLER[::-1], (SMALLER[0], LARGE[0])):
        run.dir.stamp("slim").unlink()
        again = by_budget(run.slim(*budgets))
        assert all(again[text] == by_budget(trace)[text] for text in budgets) and half.read_bytes() == written
    other = new_run("other")
    assert by_budget(other.slim(SMALLER[1])) == {SMALLER[1]: by_budget(trace)[SMALLER[1]]}
    # A file of weights that is gone is made again, and with the same bits.
    half.unlink()
    with pytest.raises(RecordError, match=r"recovered-half.safetensors.* is missing. Delete .*trace.json and run"):
        run.starts()
    run.dir.stamp("slim").unlink()
    assert by_budget(run.slim(SMALLER[0])) == {SMALLER[0]: by_budget(trace)[SMALLER[0]]}
    assert half.read_bytes() == written


def test_the_trace_leads_to_every_network_and_shows_the_training(new_run, capsys):
    run = new_run()
    trace = run.slim("60%", *SMALLER)
    states, trained = [trace["start"], *trace["steps"]], trace["round"]
    assert [step["step"] for step in trace["steps"]] == list(range(1, len(states)))
    half = states[trained["step"]]
    assert half["latency_ms"] == trained["latency_ms"] <= Table().largest.measured_ms / 2
    assert half["architecture"] == trained["architecture"] and half["accuracy"] != trained["accuracy"]
    second = [step for step in trace["steps"] if step.get("round") == 2]
    assert second and second[0]["after"] == trained["step"] and trained["epochs"] == 1
    for number, step in enumerate(trace["steps"], start=1):
        before, taken = states[step.get("after", number - 1)], step["candidates"][step["taken"]]
        assert before["latency_ms"] - taken["saved_ms"] == pytest.approx(step["latency_ms"])
        accuracy = (
            trained["accuracy"] if step.get("after") == trained["step"] and step in second else before["accuracy"]
        )
        assert accuracy - taken["drop"] == pytest.approx(taken["accuracy"])
        explained = explain_step(trace, number)  # type: ignore[arg-type]
        assert explained["before"]["accuracy"] == accuracy
        assert ("was trained for 1 epochs, from" in explained["why"]) == (accuracy != before["accuracy"])
    for entry in trace["budgets"]:
        assert states[entry["step"]]["latency_ms"] <= entry["target_ms"]
    run.dir.stamp("slim").unlink()
    for path in (*run.dir.all_recovered(), run.dir.slim_steps):
        path.unlink()
    capsys.readouterr()
    slim_phase.run(run.workspace(*SMALLER, quiet=False))
    said = " ".join(capsys.readouterr().err.split())
    assert "slimming goes in two rounds" in said and "is trained for 1 epochs before" in said and "% before" in said


def test_a_parent_within_the_budget_stays_as_it_is_also_where_a_smaller_network_scores_better(new_run):
    (entry,) = new_run().slim("1000ms", slim={"polish": 40})["budgets"]
    assert Subnet.from_json(entry).architecture == SPACE.largest() and entry["step"] == 0 and not entry["polish"]


def test_without_training_the_second_round_is_plain_slimming_with_channels_sorted_again(new_run, monkeypatch):
    monkeypatch.setattr(rounds, "fit_images", lambda *_, **__: None)
    run = new_run()
    trace = run.slim(*SMALLER)
    half = trace["steps"][trace["round"]["step"] - 1]
    assert trace["round"]["accuracy"] == pytest.approx(half["accuracy"], abs=1e-3)
    workspace, subnet = run.workspace(), Subnet.from_json(half)
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for net in (subnet, Subnet.largest(workspace.space)):
        ours, theirs = (extract_network(load_supernet(workspace, version), net) for version in (HALF, None))
        assert not same(ours, theirs), "in another order"
        for network in (ours, theirs):
            reestimate_batch_norm(network, [images])
        with torch.no_grad():
            assert torch.allclose(ours(images), theirs(images), atol=1e-4)
    # The teacher's channels are in the order of those of its students, and it computes what it did.
    teacher, before = load_parent(workspace, HALF).eval(), load_parent(workspace).eval()
    with torch.no_grad():
        assert torch.allclose(teacher(images), before(images), atol=1e-5)
        maps, unordered = (net.forward_maps(images) for net in (teacher, before))
    orders = json.loads(read_weights_metadata(run.dir.recovered(HALF))[oracles.ORDERS])
    for stage, order in enumerate(orders):
        assert torch.allclose(maps[stage], unordered[stage][:, order], atol=1e-4)
    given = {"slim": {"channels": "first"}}
    first = new_run("first")
    first.slim(*SMALLER, **given)
    workspace = first.workspace(**given)
    ours, theirs = (extract_network(load_supernet(workspace, version), subnet) for version in (HALF, None))
    assert all(map(torch.equal, ours.parameters(), theirs.parameters())), "and with channels first they stay"


@pytest.fixture
def ticking(monkeypatch):
    """Kills the process at a score, or after a step of a training. Checkpoints are written at every step."""
    scored, score, fit = [0, 10**9, 0], SupernetAccuracy.if_at_least, fit_images.fit

    def counted(self, *arguments):
        scored[0] += 1
        if scored[0] == scored[1]:
            raise Killed
        return score(self, *arguments)

    def killed(*arguments, on_step, **options):
        kill = killing_after([scored[2]])

        def both(step, loss):
            on_step(step, loss)
            kill(step, loss)

        return fit(*arguments, on_step=both, **options)

    monkeypatch.setattr(SupernetAccuracy, "if_at_least", counted)
    monkeypatch.setattr(fit_images, "fit", killed)
    monkeypatch.setattr(CheckpointFile, "is_due", lambda _: True)
    return scored


def test_a_killed_run_ends_like_one_that_was_not(new_run, ticking):
    whole = new_run("whole")
    trace, num_scored = whole.slim(*SMALLER), ticking[0]
    weights = whole.dir.recovered(HALF).read_bytes()
    for name, number, step in (
        ("training", 10**9, 2),
        ("second round", num_scored - 3, 0),
        ("first", num_scored // 4, 0),
    ):
        run = new_run(name)
        ticking[:] = [0, number, step]
        with pytest.raises(Killed):
            run.slim(*SMALLER)
        assert run.dir.recovery_checkpoint.exists() == (name == "training")
        ticking[:] = [0, 10**9, 0]
        if name == "second round":
            run.dir.evaluations.unlink()
        assert run.slim(*SMALLER) == trace, name
        assert run.dir.recovered(HALF).read_bytes() == weights
        assert not run.dir.recovery_checkpoint.exists()


def test_settings_of_the_training_are_in_the_stamp_where_there_are_rounds(new_run):
    run = new_run()
    workspace = run.workspace(*SMALLER)

    def stamps(**given):
        now = run.workspace(*SMALLER, **given)
        return {phase: phase.stamp(now, kinds=frozenset()).settings for phase in (SLIM, SUPERNET)}

    other = {"augmentation": "strong", "balance": "weights", "precision": "bf16", "batch_size": 7, "round_epochs": 2}
    other |= {"accumulate": 3, "schedule": "poly", "repeated": 3, "sync_batch_norm": True}
    for name in ROUND:
        group, leaf = name.split(".")
        changed = {group: {leaf: other.get(leaf, 0.07)}}
        assert stamps(**changed)[SLIM] != stamps()[SLIM], name
        off = {"parent": {"round_epochs": 0}}
        assert (stamps(**merge_given(off, changed))[SLIM] == stamps(**off)[SLIM]) == (leaf != "round_epochs"), name
        assert (stamps(**changed)[SUPERNET] == stamps()[SUPERNET]) == leaf.startswith("round"), name
    for name, value in (("elastic_epochs", 3), ("elastic_lr", 0.07)):
        changed = merge_given(ELASTIC, {"parent": {name: value}})
        assert stamps(**changed)[SUPERNET] != stamps(**ELASTIC)[SUPERNET] and stamps(**changed)[SLIM] == stamps()[SLIM]
    assert stamps(parent={"elastic_lr": 0.07}) == stamps(), "without elastic epochs it has no effect"
    assert notes_on(workspace.settings, {"parent": {"elastic_lr": 1.0}}) == [
        "parent.elastic_lr has no effect: parent.elastic_epochs is 0"
    ]


def test_a_network_is_trained_again_where_the_weights_that_it_starts_from_changed(new_run):
    run = new_run()
    run.slim("60%", SMALLER[0])
    workspace = run.workspace()
    before = [run_network(workspace, found).starts_from for found in read_found(run.dir)]
    HalfWay(workspace, None, "another").keep(HALF, load_supernet(workspace))  # type: ignore[arg-type]
    after = [run_network(workspace, found).starts_from for found in read_found(run.dir)]
    assert [ours == theirs for ours, theirs in zip(before, after, strict=True)] == [True, False]
    scratch = run.workspace(train={"init": "scratch"})
    assert [run_network(scratch, found).version for found in read_found(run.dir)] == [None, None]


def test_rounds_and_recovery_exclude_one_another(new_run):
    with pytest.raises(
        UsageError, match=r"slim.recover_every trains between all steps: it needs parent.round_epochs 0"
    ):
        new_run().workspace(slim={"recover_every": 2, "polish": 0})
    assert resolve_settings({"preset": "transfer", "slim": {"recover_every": 2, "polish": 0}}).parent.round_epochs == 3


def elastic(run: Run, **given: Any) -> dict[str, torch.Tensor]:
    """The weights of the supernet that phase `supernet` made."""
    workspace = run.workspace(**merge_given(ELASTIC, given))
    supernet_phase.run(workspace)
    return dict(supernet_weights(workspace))


def test_elastic_epochs_train_the_networks_below_and_leave_the_teacher_as_it_was(new_run, monkeypatch):
    run, plain = new_run(), new_run("plain")
    supernet_phase.run(plain.workspace())
    sorted_once, trained = supernet_weights(plain.workspace()), elastic(run)
    assert sorted_once.keys() == trained.keys()
    assert not any(torch.equal(sorted_once[name], trained[name]) for name in trained if "mlp.fc1.weight" in name)
    assert not run.dir.sorted_supernet.exists(), "sorted before, and not again"
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    workspace = run.workspace(**ELASTIC)
    with torch.no_grad():
        teacher, parent = load_parent(workspace).eval(), load_network(plain.dir.parent_weights).eval()
        assert torch.allclose(teacher(images), parent(images), atol=1e-4)
        assert same(teacher, load_parent(plain.workspace())), "with its channels in the order of its students'"
    record = read_record(run.dir.supernet_record, dict)
    assert record["parent"]["elastic_epochs"] == 1
    assert "elastic_epochs" not in read_record(plain.dir.supernet_record, dict)["parent"]
    # Without a training they are the parent's.
    monkeypatch.setattr("efficientformer.pipeline.networks.elastic.fit_images", lambda *_, **__: None)
    untrained = elastic(new_run("untrained"))
    assert all(torch.equal(untrained[name], tensor) for name, tensor in sorted_once.items())


def test_a_killed_elastic_training_ends_bit_for_bit_like_one_that_was_not(new_run, ticking):
    whole = elastic(new_run("whole"))
    run = new_run()
    ticking[2] = 2
    with pytest.raises(Killed):
        elastic(run)
    assert run.dir.elastic_checkpoint.exists()
    ticking[2] = 0
    again = elastic(run)
    assert whole.keys() == again.keys() and all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    assert not run.dir.elastic_checkpoint.exists()


def test_both_together_start_from_the_elastic_ancestor(new_run):
    run = new_run()
    run.slim("60%", SMALLER[0], **ELASTIC)
    starts, trained = run.starts(**ELASTIC), read_tensors(run.dir.supernet_weights)
    assert torch.equal(
        starts["60%"].stem.conv1.weight, trained["stem.conv1.weight"][: len(starts["60%"].stem.conv1.weight)]
    )  # type: ignore[union-attr]
    workspace = run.workspace(**ELASTIC)
    images = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(
            load_parent(workspace, HALF).eval()(images), load_parent(workspace).eval()(images), atol=1e-4
        )


def test_a_parent_of_metapaths_is_refused_before_anything_is_trained(new_run, tmp_path, few_images):
    run = new_run()
    save_weights(Network(SMALL, num_classes=10, resolution=16), tmp_path / "parent.safetensors")
    with pytest.raises(
        UsageError, match=r"--parent.elastic-epochs trains networks of EfficientFormerV2's blocks"
    ) as refused:
        supernet_phase.run(run.workspace(**ELASTIC))
    assert "\n" not in str(refused.value)
    require_elastic(run.workspace())


def test_the_order_asked_for_has_no_effect_beside_elastic_epochs(new_run):
    given = merge_given(copy.deepcopy(new_run().given), ELASTIC, {"slim": {"channels": "first"}})
    (note,) = notes_on(resolve_settings(given), {"slim": {"channels": "first"}})
    assert note == "slim.channels has no effect: with parent.elastic_epochs the important ones come first"
