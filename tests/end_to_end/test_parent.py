"""`design --init`: a trained network slimmed to budgets, from its file of weights to exported networks."""

import json
import re
import shutil
import time
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.reading import read_record

from .conftest import SCALE, answer
from .test_design import without_times

pytestmark = pytest.mark.slow

SHORT = [
    *("--resolution", "16", "--workers", "0", "--training-threads", "1", "--seed", "1", "--device", f"{SCALE} first"),
    *("--table.rounds", "2", "--verify.rounds", "40", "--slim.polish", "4"),
    *("--parent.epochs", "2", "--parent.batch-size", "16", "--train.epochs", "2", "--train.batch-size", "16"),
]
BUDGETS = ("--budget", "80%", "--budget", "50%")
SMALL = {
    "stem_strides": [2, 1],
    "stages": [
        {"width": 16, "blocks": [{"kind": "FFN", "mlp_ratio": 2}]},
        {"width": 32, "blocks": [{"kind": "FFN", "mlp_ratio": 2}]},
        {"width": 32, "blocks": [{"kind": "FFN", "mlp_ratio": 2}] * 2},
        {"width": 48, "blocks": [{"kind": "AttnFFN", "mlp_ratio": 2, "num_heads": 2, "key_dim": 8, "value_ratio": 2}]},
    ],
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A file of weights of ours, for other classes than the photographs have."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("parent") / "large.safetensors"
    save_weights(create_model(Architecture.from_json(SMALL), num_classes=5, resolution=16), path)
    return path


@pytest.fixture(scope="module")
def slimmed(parent, photos, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "slimmed"
    arguments = ("design", "--init", parent, "--data", photos, "--run-dir", run_dir, *SHORT, *BUDGETS)
    return run_dir, *answer(*arguments), arguments


def with_its_table(slimmed, run_dir):
    """A new run that need not measure its table: it has that of the whole run, which is of the same settings."""
    for name in ("table.json", "stamps/table.json"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(slimmed[0] / name, run_dir / name)
    return run_dir


def test_networks_within_the_budgets_are_cut_from_the_parent(slimmed, parent):
    run_dir, entries, said, _ = slimmed
    assert [entry["kept"] for entry in entries] == [True, True]
    record = read_record(run_dir / "supernet" / "record.json", Any)
    assert record["parent"]["init"] == str(parent) and record["parent"]["head"] == "new" and record["epochs"] == 2
    assert "teacher parent, features" in said and "16 px, as" in said
    trained = load_network(run_dir / "supernet" / "parent.safetensors")
    assert trained.architecture.to_json() == SMALL
    for entry in entries:
        folder = run_dir / "networks" / entry["budget"].replace("%", "pct")
        train = read_record(folder / "train.json", Any)
        assert train["init"] == "supernet" and train["teacher"] == "parent"
        smaller = load_network(folder / "weights.safetensors").architecture
        assert network_cost(smaller, 16, 2).macs < network_cost(trained.architecture, 16, 2).macs
        assert all(ours <= theirs for ours, theirs in zip(smaller.widths, trained.architecture.widths, strict=True))


def test_the_same_command_does_nothing_again_also_without_the_file(slimmed, parent, program):
    run_dir, entries, _, arguments = slimmed
    code, stdout, stderr = program(*arguments, "--json")
    assert code == 0 and stderr.count("up to date") == 10, stderr
    assert json.loads(stdout) == entries
    hidden = parent.rename(parent.with_suffix(".hidden"))
    try:
        code, _, stderr = program("design", "--run-dir", run_dir)
    finally:
        hidden.rename(parent)
    assert code == 0 and stderr.count("up to date") == 10, stderr


def test_every_phase_by_itself_ends_where_design_ends(slimmed, parent, program, photos, tmp_path):
    run_dir = slimmed[0]
    with_its_table(slimmed, tmp_path)
    given = ("--parent.init", parent, "--preset", "transfer", "--space", "parent", "--data", photos, *SHORT, *BUDGETS)
    for verb in ("table", "supernet", "slim"):
        code, _, stderr = program(verb, "--run-dir", tmp_path, *(given if verb == "table" else ()))
        assert code == 0 and ("up to date" in stderr) == (verb == "table"), stderr
    assert without_times(read_record(tmp_path / "slim" / "trace.json", Any)["budgets"]) == without_times(
        read_record(run_dir / "slim" / "trace.json", Any)["budgets"]
    )


def test_a_killed_run_ends_bit_for_bit_like_one_that_was_not(slimmed, parent, command, program, photos, tmp_path):
    with_its_table(slimmed, tmp_path)
    arguments = ("design", "--init", parent, "--data", photos, "--run-dir", tmp_path, *SHORT, *BUDGETS)
    for marker in ("supernet/checkpoint.pt", "slim/steps.jsonl", "networks/80pct/checkpoint.pt"):
        process = command(*arguments)
        while process.poll() is None and not (tmp_path / marker).exists():
            time.sleep(0.01)
        process.kill()
        process.communicate()
    code, _, stderr = program(*arguments)
    assert code == 0, stderr
    for name in ("80pct", "50pct"):
        ours, theirs = (load_file(root / "networks" / name / "weights.safetensors") for root in (slimmed[0], tmp_path))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--init", "efficientformer_l9"), "neither a file of weights nor a published network"),
        (("--init", "efficientformerv2_s0.snap_dist_in1k"), "nearest name is efficientformerv2_s0;"),
        (("--weights", "s0.pth"), "--weights goes with --init NAME"),
        (("--space", "parent"), "--space parent is below the network of --init"),
        (("--init", "PARENT", "--parent.epochs", "0", *SHORT[:-8], *BUDGETS), "its head was trained on other classes"),
        (("--init", "PARENT", "--budget", "1%", *SHORT), "cannot be met: the smallest network"),
        (("--init", "CORRUPT", *BUDGETS), "is not a readable weights file"),
        (("--init", "PARENT", "--space", "quick", *SHORT, *BUDGETS), "the largest network of the space is"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, says, slimmed, parent, program, photos, tmp_path):
    corrupt = tmp_path / "corrupt.safetensors"
    corrupt.write_bytes(parent.read_bytes()[:-100])
    files = {"PARENT": parent, "CORRUPT": corrupt}
    words = [files.get(word, word) for word in arguments]
    if "1%" in arguments:  # all others are refused before anything is measured
        with_its_table(slimmed, tmp_path / "run")
    code, _, stderr = program("design", "--data", photos, "--run-dir", tmp_path / "run", *words)
    assert code != 0 and says in stderr.splitlines()[-1], stderr
    assert (tmp_path / "run" / "table.json").exists() == ("1%" in arguments)


def test_a_parent_within_the_budget_is_fine_tuned_and_not_slimmed(slimmed, parent, program, photos, tmp_path):
    with_its_table(slimmed, tmp_path)
    arguments = ("--init", parent, "--data", photos, "--run-dir", tmp_path, *SHORT, "--budget", "0.9ms")
    code, _, stderr = program("design", *arguments)
    assert code == 0 and "0.9ms: the parent is within it as it is; nothing is slimmed" in stderr, stderr
    assert load_network(tmp_path / "networks" / "0.9ms" / "weights.safetensors").architecture.to_json() == SMALL


def test_a_file_of_other_people_is_known_by_its_tensors(tmp_path):
    from efficientformer.errors import RecordError
    from efficientformer.models.weights.load import architecture_of
    from efficientformer.models.weights.timm_names import timm_state_dict

    path = tmp_path / "theirs.pth"
    torch.save(timm_state_dict(create_model("efficientformerv2_s0", num_classes=7, resolution=96)), path)
    assert architecture_of(path) == ZOO["efficientformerv2_s0"]
    torch.save({"stem.conv1.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(RecordError, match=re.escape(str(path))):
        architecture_of(path)
