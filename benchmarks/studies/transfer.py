"""A trained network slimmed to a share of its latency, beside the same networks trained from new weights.

    python benchmarks/studies/transfer.py --data imagenette160 --work runs/transfer --seeds 0 1 -- resolution=96

A parent is trained from new weights on the images that a search trains with, and slimmed to each budget. What was cut
is scored before any training (also at 65 % of the parent's multiply-accumulates), then trained by `transfer` with
the parent as teacher for a share of the parent's epochs; the same architectures are trained from new weights for all of
them. At the last budget a sister is designed from new weights for the same latency, and trained as long as parent and
slimming together. Every training has every seed. All are scored on validation images, which no search sees. Words after
`--` are settings of all runs. Finished phases and networks are kept: the same command resumes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline import verbs
from efficientformer.pipeline.networks.stand_alone import initial_network, scores_on, train_images, validate
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.pipeline.slimming.oracles import estimating_images, load_supernet
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.accuracy import extract_network, reestimate_batch_norm
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import seed_initial_weights
from efficientformer.training.metrics_log import MetricsLog
from options import parse
from shared import keep_outcome, measured, shared_run, side_by_side, top1_alone

ALONE: dict[str, Any] = {"augmentation": "standard", "mixup": 0.0, "cutmix": 0.0, "ema_decay": 0.0, "lr": 2e-3}
"""The recipe from new weights, of the parent as well: the better one of two in `headline`, for about ten epochs."""
MACS = "65% of MACs"
SHARE_OF_MACS, WARMUP, PARENT_OVER_LR = 0.65, 0.075, 5
"""Of the parent's MACs; of the epochs of a training, those in which its rate grows; the parent's peak rate over that of
what was cut from it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--network", default="efficientformerv2_s0", help="architecture of the parent")
    parser.add_argument("--space", default="v2_standard", help="space of the sister")
    parser.add_argument("--epochs", type=int, default=40, help="of the parent")
    parser.add_argument("--share", type=float, default=0.3, help="of these epochs, for what was slimmed")
    parser.add_argument("--budgets", nargs="+", default=["71%", "50%"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--no-sister", action="store_true", help="leave the sister out")
    parser.add_argument("--only", choices=("parent", "slim", "inherit"), help="stop after this step")
    arguments, settings = parse(parser)
    settings["data"] = arguments.data
    parent = trained_parent(arguments.work / "parent", arguments.network, arguments.epochs, settings)
    sys.stdout.write(f"the parent scores {parent['top1']:.1f} %\n")
    if arguments.only == "parent":
        return
    run = slimmed(arguments, settings)
    rows = found_rows(run, arguments.budgets)
    show(rows)
    if arguments.only == "slim":
        return
    short = int(arguments.share * arguments.epochs)
    sorted_parent(run.root)  # before several processes want it
    calls = [("inherited", run.root, index, short) for index in range(len(arguments.budgets))]
    if arguments.only is None:
        calls += [("alone", run.root, index, arguments.epochs) for index in range(len(arguments.budgets))]
        if not arguments.no_sister:
            sister = designed_sister(arguments, settings, run)
            calls += [("sister", sister.root, 0, arguments.epochs + short)]
            rows["sister"] = sister_row(run, sister)
    trainings = [(*call, seed) for seed in arguments.seeds for call in calls]
    names = [*arguments.budgets, "sister"]
    for (kind, _, index, _, _), score in zip(
        trainings, side_by_side(arguments.processes, trained_top1, trainings), strict=True
    ):
        name = "sister" if kind == "sister" else names[index]
        rows[name].setdefault("inherited_top1" if kind == "inherited" else "alone_top1", []).append(score)
    show(rows)
    keep_outcome(
        "transfer",
        "a trained network slimmed to shares of its latency, beside the same networks from new weights",
        run,
        *([] if arguments.only is None else ["inherited"]),
        parent={"network": arguments.network, "epochs": arguments.epochs, **parent},
        epochs=short,
        seeds=arguments.seeds,
        networks=rows,
    )


def show(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        scores = {key: value for key, value in row.items() if key not in ("architecture", "origins")}
        sys.stdout.write(f"{name}: {Architecture.from_json(row['architecture'])}: {scores}\n")
    sys.stdout.flush()


def trained_parent(root: Path, name: str, epochs: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The record of the parent, which is trained once."""
    path = root / "parent.json"
    if not path.exists():
        train = {"epochs": epochs, "lr_warmup_epochs": WARMUP * epochs, "evaluate_every": 5, **ALONE}
        given = Settings(**merge_given(settings, {"preset": "standard", "train": train}))
        with open_run(RunRequest(given, root)) as workspace:
            trained = _trained_from_new_weights(workspace, ZOO[name])
            top1 = validate(workspace, trained).primary
            trained.preprocessing = workspace.preprocessing.to_json()
            classes = {"classes": json.dumps(list(workspace.dataset.classes))}
            save_weights(trained.cpu(), root / "parent.safetensors", classes)
        write_record(path, {"top1": top1})
    return read_record(path, Any)


def _trained_from_new_weights(workspace: Workspace, architecture: Architecture) -> Network:
    root = workspace.run_dir.root
    seed_initial_weights(workspace.settings.seed)
    num_classes, resolution = len(workspace.dataset.classes), workspace.settings.resolution
    trained = train_images(
        workspace,
        create_model(architecture, num_classes=num_classes, resolution=resolution),
        title="parent",
        checkpoint=CheckpointFile(root / "parent.pt", "parent"),
        log=MetricsLog(root / "parent.metrics.jsonl"),
        splits=search_splits(workspace),
    ).network
    assert isinstance(trained, Network)
    return trained


def slimmed(arguments: argparse.Namespace, settings: dict[str, Any]) -> RunDir:
    """A run up to the networks that slimming the parent finds."""
    run_dir = RunDir(arguments.work / "slimmed")
    parent = {"init": str((arguments.work / "parent" / "parent.safetensors").resolve()), "epochs": 0}
    own = {"preset": "transfer", "budget": arguments.budgets, "parent": parent}
    for verb in (verbs.table, verbs.supernet, verbs.slim):
        verb(run_dir=run_dir.root, **merge_given(own, settings))
    return run_dir


def designed_sister(arguments: argparse.Namespace, settings: dict[str, Any], run: RunDir) -> RunDir:
    """A run up to the network that is designed from new weights for the last budget."""
    run_dir = RunDir(arguments.work / "sister")
    budget_ms = read_record(run.trace, Any)["budgets"][-1]["budget_ms"]
    own = {"preset": "standard", "space": arguments.space, "budget": [f"{budget_ms:.4g}ms"], "train": ALONE}
    for verb in (verbs.table, verbs.supernet, verbs.slim):
        verb(run_dir=run_dir.root, **merge_given(own, settings))
    return run_dir


def found_rows(run: RunDir, budgets: list[str]) -> dict[str, dict[str, Any]]:
    """Latency, size and validation top-1 without training: of the parent, of the network of every budget, and of the
    first one on the way that has 65 % of the parent's MACs."""
    path = run.root / "found.json"
    if path.exists():
        return read_record(path, Any)
    with open_run(RunRequest(run_dir=run.root)) as workspace:
        trace, parent = read_record(run.trace, Any), Subnet.largest(workspace.space)
        subnets = {"parent": parent}
        subnets |= {name: Subnet.from_json(entry) for name, entry in zip(budgets, trace["budgets"], strict=True)}
        most = SHARE_OF_MACS * macs(workspace, parent.architecture)
        steps = map(Subnet.from_json, trace["steps"])
        subnets[MACS] = next(subnet for subnet in steps if macs(workspace, subnet.architecture) <= most)
        prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in subnets.items()}
        latencies = measured(workspace, prepared, reference="parent")
        rows = {
            name: {
                **subnet.to_json(),
                "p50_ms": latencies[name].p50_ms,
                "latency_share": latencies[name].p50_ms / latencies["parent"].p50_ms,
                "macs_share": macs(workspace, subnet.architecture) / macs(workspace, parent.architecture),
                "untrained_top1": untrained_top1(workspace, subnet),
            }
            for name, subnet in subnets.items()
        }
    write_record(path, rows)
    return rows


def sister_row(run: RunDir, sister: RunDir) -> dict[str, Any]:
    """The sister, measured beside the network that slimming found for the same latency."""
    ours, theirs = (Subnet.from_json(read_record(at.trace, Any)["budgets"][-1]) for at in (run, sister))
    with open_run(RunRequest(run_dir=run.root)) as workspace:
        pair = {"slimmed": ours, "sister": theirs}
        prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in pair.items()}
        latencies = measured(workspace, prepared, reference="slimmed")
    return {
        **theirs.to_json(),
        "p50_ms": latencies["sister"].p50_ms,
        "over_slimmed": latencies["sister"].p50_ms / latencies["slimmed"].p50_ms,
    }


def untrained_top1(workspace: Workspace, subnet: Subnet) -> float:
    """Validation top-1 of a cut of the parent, whose batch norm is estimated from training images."""
    network = extract_network(load_supernet(workspace), subnet)
    reestimate_batch_norm(network, estimating_images(workspace))
    return scores_on(workspace, network, workspace.dataset.val).primary


def trained_top1(kind: str, root: Path, index: int, epochs: int, seed: int) -> float:
    """Validation top-1 of a network of a run after training, from the parent's weights or from new ones; kept."""
    recipe = {"init": "scratch", "teacher": "none", **ALONE}
    if kind == "inherited":
        recipe = {"teacher": str(sorted_parent(root)), "lr": ALONE["lr"] / PARENT_OVER_LR}
    train = {"epochs": epochs, "lr_warmup_epochs": WARMUP * epochs, "evaluate_every": 5, **recipe}
    workspace = shared_run(root, seed=seed, train=train)
    subnet = Subnet.from_json(read_record(workspace.run_dir.trace, Any)["budgets"][index])
    # The search has its own seed.
    source = shared_run(root, train=train) if kind == "inherited" else workspace
    return top1_alone(workspace, f"{kind} {index}", [kind, subnet.to_json()], lambda: initial_network(source, subnet))


def sorted_parent(root: Path) -> Path:
    """The parent as a file, with its channels in the order of those of the networks that were cut from it: as a
    teacher it then belongs to no seed."""
    path = root / "sorted_parent.safetensors"
    if not path.exists():
        workspace = shared_run(root)
        network = extract_network(load_supernet(workspace), Subnet.largest(workspace.space))
        network.preprocessing = workspace.preprocessing.to_json()
        save_weights(network, path, {"classes": json.dumps(list(workspace.dataset.classes))})
    return path


def macs(workspace: Workspace, architecture: Architecture) -> int:
    return network_cost(architecture, workspace.settings.resolution, len(workspace.dataset.classes)).macs


if __name__ == "__main__":
    main()
