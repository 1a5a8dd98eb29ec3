"""Published networks as references: chosen, fine-tuned as those of the run, exported; what is refused, and when."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import load_file
from tests.analysis.made_shortlist import made_record, made_row
from tests.latency.synthetic import measurement_of

from efficientformer.analysis.shortlist.kept import keep_shortlist
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.reference import ReferencesRecord
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.models.weights.timm_names import timm_state_dict
from efficientformer.pipeline import design
from efficientformer.pipeline.networks.published import load_classifier, published_classifier
from efficientformer.pipeline.phases import reference
from efficientformer.pipeline.references.reference import (
    reference_network,
    reference_workspace,
    require_exported,
    weights_file,
)
from efficientformer.pipeline.references.require import require_best, require_reference
from efficientformer.pipeline.run import fit_images
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.plan import TUNE_REFERENCE, VERIFY
from efficientformer.pipeline.slimming.measure import LARGEST
from efficientformer.reading import read_record
from efficientformer.training.checkpoint import CheckpointFile

from ..models.small import SMALL
from ..training.kills import Killed, killing_after

NAME = "test_vit"
RUNTIME = {"name": "onnxruntime", "version": "1"}
TRAIN = {"epochs": 2, "batch_size": 4, "lr_warmup_epochs": 0.0}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def weights(tmp_path):
    """Weights of a published network at its own size, with a head of other classes, as other people's files are."""
    torch.manual_seed(3)
    network = timm.create_model(NAME, num_classes=7)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


@pytest.fixture
def opened(run, weights):
    """The run with a reference, and what it says."""

    def open_run(**given: Any):
        workspace = run.workspace(**{"reference": NAME, "reference_weights": str(weights), "train": TRAIN, **given})
        object.__setattr__(workspace, "console", RunConsole())
        return workspace

    return open_run


def keep(run, *rows, **changes: Any):
    about = {"machine": run.machine, "runtime": RUNTIME, "resolution": [16, 16], **changes}
    return keep_shortlist(made_record(list(rows), **about))


def named(name: str, p50_ms: float, top1: float) -> Any:
    return {**made_row(name, p50_ms, top1), "name": name}


def chosen(run) -> list[str | None]:
    return [row["name"] for row in read_record(run.dir.references, ReferencesRecord)["rows"]]


def said(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_published_network_starts_with_its_weights_and_a_new_head_at_the_size_of_the_run(opened, weights):
    workspace = opened()
    network: Any = published_classifier(workspace, NAME, weights)
    theirs = torch.load(weights, weights_only=True)["state_dict"]
    own = network.state_dict()
    same = {name for name, tensor in own.items() if torch.equal(tensor, theirs[name])}
    assert set(own) - same == {"pos_embed", "head.weight", "head.bias"}  # 16 px instead of 160, 2 classes instead of 7
    assert network.num_classes == 2 and network(torch.zeros(1, 3, 16, 16)).shape == (1, 2)
    again = published_classifier(workspace, NAME, weights).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in own.items())


def test_attention_biases_of_levit_are_resized_for_the_size_of_the_run(opened, tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model("levit_128s", num_classes=3)
    for name, table in theirs.named_parameters():
        if name.endswith("attention_biases"):
            torch.nn.init.constant_(table, 0.75)
    torch.save(theirs.state_dict(), tmp_path / "levit.pth")
    network = published_classifier(opened(resolution=64), "levit_128s", tmp_path / "levit.pth")
    tables = [table for name, table in network.named_parameters() if name.endswith("attention_biases")]
    assert len(tables) > 5 and all((table - 0.75).abs().max() < 1e-6 for table in tables)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_images_are_normalized_as_those_that_it_was_trained_on(opened):
    workspace = opened()
    own = reference_workspace(workspace, NAME)
    assert own.preprocessing.mean == timm.get_pretrained_cfg(NAME).mean != workspace.preprocessing.mean
    assert own.preprocessing.grid == workspace.preprocessing.grid and own.dataset.digest == workspace.dataset.digest
    of_zoo = reference_workspace(workspace, "efficientformerv2_s0.snap_dist_in1k")
    assert of_zoo.preprocessing == workspace.preprocessing  # as `train --init` has it


def test_the_best_one_within_each_budget_is_tuned_scored_and_exported_once(run, opened, capsys, weights):
    keep(run, named(NAME, 1.5, 70.0), named("test_resnet", 1.9, 60.0), named("too slow", 3.0, 90.0))
    run.finish()
    workspace = opened(reference="best")
    require_reference(workspace)
    require_best(workspace, 3.3)
    reference.run(workspace)
    assert chosen(run) == [NAME] and f"60%: compared with {NAME}" in said(capsys)
    files = run.dir.reference(NAME)
    session = onnxruntime.InferenceSession(files.onnx, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert session.get_inputs()[0].shape == [1, 3, 16, 16] and json.loads(about["classes"]) == ["cat", "dog"]
    assert json.loads(about["preprocessing"])["mean"] == [0.5, 0.5, 0.5] and about["network"] == NAME
    trained, start = load_file(files.weights), torch.load(weights, weights_only=True)["state_dict"]
    assert not torch.equal(trained["blocks.0.mlp.fc1.weight"], start["blocks.0.mlp.fc1.weight"])
    exported = read_record(files.export_record, Any)
    assert exported["num_params"] == sum(tensor.numel() for tensor in trained.values()) and exported["macs"] > 1e5
    x = torch.rand(1, 3, 16, 16)
    (logits,) = session.run(None, {"images": x.numpy()})
    assert torch.allclose(load_classifier(files.weights).eval()(x), torch.from_numpy(logits), atol=1e-4)
    assert read_record(files.evaluation, Any)["num_images"] == 8 and not files.checkpoint.exists()
    require_exported(workspace)

    # Once tuned, neither the shortlist nor the weights are needed.
    weights.unlink()
    next(run.dir.root.parent.glob("cache/efficientformer/shortlists/*")).unlink()
    again = opened(reference="best")
    require_reference(again)
    require_best(again, 3.3)
    before = files.weights.stat().st_mtime_ns
    reference.run(again)
    assert said(capsys).count("up to date") == 4 and files.weights.stat().st_mtime_ns == before
    changed = opened(reference="best", train={**TRAIN, "epochs": 3})
    with pytest.raises(UsageError, match="does not exist"):
        require_best(changed, 3.3)


def test_a_tuning_that_was_killed_ends_with_the_same_bits(run, opened, monkeypatch, tmp_path):
    keep(run, named(NAME, 1.5, 70.0))
    fit, files = fit_images.fit, run.dir.reference(NAME)
    monkeypatch.setattr(CheckpointFile, "is_due", lambda _: True)
    reference.run(opened(reference="best"))
    whole = files.weights.read_bytes()
    files.weights.unlink()
    kill = killing_after([3])  # of 4 steps, before this one is saved
    monkeypatch.setattr(fit_images, "fit", lambda *a, **options: fit(*a, **{**options, "on_step": kill}))
    with pytest.raises(Killed):
        reference.run(opened(reference="best"))
    assert files.checkpoint.exists() and not files.weights.exists()
    steps = []
    monkeypatch.setattr(
        fit_images, "fit", lambda *a, **options: fit(*a, **{**options, "on_step": lambda step, _: steps.append(step)})
    )
    reference.run(opened(reference="best"))
    assert steps == [3, 4] and files.weights.read_bytes() == whole


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"reference": "best"}, UsageError, "efficientformer shortlist --resolution 16"),
        ({"reference": "timm:test_vit"}, UsageError, "Leave out 'timm:'"),
        ({"reference": "test_vitt"}, UsageError, "no network 'test_vitt'; similar names are test_vit"),
        (
            {"reference": NAME, "reference_weights": None},
            UsageError,
            r"could not be downloaded.*no route to host\).*--reference-weights FILE",
        ),
        ({"reference": NAME, "reference_weights": "absent.pth"}, UsageError, "absent.pth does not exist"),
        ({"reference": NAME, "reference_weights": "."}, UsageError, "test_vit.safetensors"),
        ({"reference": "test_resnet"}, RecordError, r"theirs\.pth does not fit test_resnet \(Missing key"),
        ({"reference": "efficientformerv2_s0"}, RecordError, r"theirs\.pth"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_had_is_one_line_before_anything_else(opened, given, error, says, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(design.table, "run", lambda _: pytest.fail("work began"))
    create = timm.create_model

    def without_network(*names: str, pretrained: bool = False, **options: Any):
        if pretrained and "pretrained_cfg_overlay" not in options:
            raise OSError("no route to host")
        return create(*names, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", without_network)
    workspace = opened(**given)
    before = sorted(workspace.run_dir.root.rglob("*"))
    with pytest.raises(error, match=says) as refused:
        design.run_phases(workspace)
    assert "\n" not in str(refused.value) and sorted(workspace.run_dir.root.rglob("*")) == before


def test_weights_of_another_network_in_a_folder_are_found_by_name(opened, weights, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    weights.rename(folder / f"{NAME}.pth")
    workspace = opened(reference_weights=str(folder))
    assert weights_file(workspace, NAME) == folder / f"{NAME}.pth"
    with pytest.raises(UsageError, match=r"test_resnet\.safetensors does not exist"):
        weights_file(workspace, "test_resnet")


def test_a_shortlist_at_other_sizes_chooses_no_reference(run, opened):
    """It would leave out networks that are fast enough at the size of the run."""
    keep_shortlist(made_record([named(NAME, 1.5, 70.0)], machine=run.machine, runtime=RUNTIME))
    with pytest.raises(UsageError, match="at this resolution"):
        require_reference(opened(reference="best"))


def test_a_budget_that_no_published_network_fits_has_no_reference_and_says_so(run, opened, capsys):
    keep(run, named(NAME, 2.5, 70.0), named("test_resnet", 2.0, 60.0))  # its interval reaches beyond 2 ms
    reference.run(opened(reference="best"))
    assert chosen(run) == [None] and not run.dir.reference(NAME).folder.exists()
    assert "60%: no reference: none of 2 published networks fits" in said(capsys)


@pytest.mark.parametrize(("ms", "fits"), [(5.9, True), (6.0, True), (6.2, False)])
def test_a_network_that_is_named_is_measured_and_left_out_where_it_is_over(run, opened, capsys, monkeypatch, ms, fits):
    """The budget is 60 % of the largest, which takes 10 ms in these rounds, with samples of 0.5 % around."""
    asked = []

    def measure(workspace, largest, candidates, *, rounds):
        asked.extend(candidates)
        largest, own = measurement_of([10.0] * 30), measurement_of([ms * f for f in (0.995, 1, 1.005) * 10])
        return {NAME: _with_ratio(own, largest), LARGEST: largest}

    monkeypatch.setattr(reference, "measure_briefly_with_largest", measure)
    monkeypatch.setattr(reference, "prepare_untrained", lambda *_: None)
    monkeypatch.setattr(reference, "_train", lambda *_: None)
    workspace = opened()
    workspace.__dict__["runtime"] = SimpleNamespace(
        **{**vars(workspace.runtime), "suffixes": (".onnx",), "open": lambda path, shape: (path.exists(), shape)}
    )
    reference.run(workspace)
    assert asked == [NAME] and chosen(run) == [NAME if fits else None]
    assert ("60%: no reference: test_vit takes 6.2" in said(capsys)) is not fits
    reference.run(opened())
    assert asked == [NAME], "measured once"


def _with_ratio(own, largest):
    return replace(own, ratio=own.ratio_to(largest, LARGEST))


def test_verify_depends_on_references_and_needs_them_tuned(run, opened, capsys):
    keep(run, named(NAME, 1.5, 70.0))
    assert "verify" not in run.stale()
    workspace = opened(reference="best")
    reference.run(workspace)
    assert VERIFY.problem(workspace).endswith("is out of date (the references changed)")
    require_exported(workspace)
    with pytest.raises(UsageError, match=r"train.epochs changed.*Run 'efficientformer design"):
        require_exported(opened(reference="best", train={**TRAIN, "epochs": 3}))
    run.dir.reference(NAME).onnx.unlink()
    with pytest.raises(UsageError, match=r"model\.onnx is missing"):
        require_exported(workspace)
    run.finish(VERIFY)
    reference.run(opened(reference="none"))
    assert not run.dir.references.exists() and run.dir.reference(NAME).weights.exists()
    assert "the references is no longer used" in VERIFY.problem(run.workspace())
    run.finish(VERIFY)
    reference.run(run.workspace())
    assert "verify" not in run.stale()


def test_train_init_and_the_place_of_the_weights_change_no_reference(run, opened, weights, tmp_path):
    keep(run, named(NAME, 1.5, 70.0))
    reference.run(opened(reference="best"))
    moved = weights.rename(tmp_path / "moved.pth")
    for given in ({"train": {**TRAIN, "init": "supernet"}}, {"reference_weights": str(moved)}):
        workspace = reference_workspace(opened(reference="best", **given), NAME)
        assert TUNE_REFERENCE.problem(workspace, reference_network(workspace, NAME)) is None
    torch.save(timm.create_model(NAME, num_classes=7).state_dict(), moved)
    workspace = opened(reference="best", reference_weights=str(moved))
    assert "weights to start from changed" in str(TUNE_REFERENCE.problem(workspace, reference_network(workspace, NAME)))


@pytest.mark.parametrize("kind", ["soft", "features"])
def test_a_teacher_of_the_run_teaches_references_by_its_logits(run, opened, capsys, monkeypatch, tmp_path, kind):
    save_weights(Network(SMALL, num_classes=2, resolution=16), tmp_path / "teacher.safetensors")
    keep(run, named(NAME, 1.5, 70.0))
    teacher = {"teacher": str(tmp_path / "teacher.safetensors"), "distillation": kind}
    reference.run(opened(reference="best", train={**TRAIN, **teacher}))
    lines = run.dir.reference(NAME).metrics.read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["teacher_loss"] > 0 for line in lines if "loss" in json.loads(line))
    assert (f"distillation soft in place of {kind}" in said(capsys)) is (kind != "soft")


def test_the_recipe_of_the_run_reaches_a_reference(run, opened):
    """First epochs that train the head alone, and learning rates by layer."""
    keep(run, named(NAME, 1.5, 70.0))
    workspace = opened(reference="best", train={**TRAIN, "frozen_epochs": 2.0, "ema_decay": 0.0, "layer_decay": 0.7})
    start = published_classifier(reference_workspace(workspace, NAME), NAME, weights_file(workspace, NAME)).state_dict()
    reference.run(workspace)
    trained = load_file(run.dir.reference(NAME).weights)
    assert {name for name in start if not torch.equal(start[name], trained[name])} == {"head.weight", "head.bias"}


def test_a_network_of_this_package_is_tuned_as_train_init_does(run, opened, tmp_path):
    name = "efficientformerv2_s0.snap_dist_in1k"
    start = create_model("efficientformerv2_s0", num_classes=5, resolution=32)
    torch.save(timm_state_dict(start), tmp_path / "s0.pth")
    keep(run, named(name, 1.5, 76.0), resolution=[32, 32])
    given = {"reference": "best", "reference_weights": str(tmp_path / "s0.pth"), "export": {"autotune": False}}
    reference.run(opened(resolution=32, train={**TRAIN, "epochs": 1, "batch_size": 8}, **given))
    files = run.dir.reference(name)
    trained = load_classifier(files.weights)
    assert isinstance(trained, Network) and trained.num_classes == 2 and trained.resolution == 32
    assert chosen(run) == [name] and files.architecture.exists()
    assert (trained.stem.conv1.weight - start.stem.conv1.weight).abs().max() < 0.1  # one step away
    assert "forms" in read_record(files.export_record, Any)
