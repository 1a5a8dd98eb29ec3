"""Phase `evaluate`: score every trained network on the validation images."""

from efficientformer.data.loader import eval_batches
from efficientformer.data.transforms import eval_transform
from efficientformer.models.weights import load_network
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import FoundNetwork, Workspace
from efficientformer.provenance import provenance
from efficientformer.records import read_record, write_record
from efficientformer.tasks.classification import evaluate


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        files = network.files
        workspace.require(files.weights, "train", network.budget.slug)
        stamp = Stamp(
            f"evaluate {network.budget.slug}",
            settings=workspace.chosen("resolution"),
            inputs=workspace.data_digest() | workspace.digests(files.weights),
        )
        workspace.run_phase(stamp, [files.evaluation], lambda _, network=network: _evaluate(workspace, network))
        record = read_record(files.evaluation)
        workspace.console.say(f"top-1 {record['top1']:.1f} %, top-5 {record['top5']:.1f} %")


def _evaluate(workspace: Workspace, found: FoundNetwork) -> None:
    dataset = workspace.dataset
    network = load_network(found.files.weights).to(workspace.training_device)
    transform = eval_transform(workspace.preprocessing)
    batches = eval_batches(dataset.val, transform, batch_size=250, workers=workspace.settings.workers)
    scored = 0
    with workspace.console.progress("evaluating") as progress:

        def count(num_images: int) -> None:
            nonlocal scored
            scored += num_images
            progress(scored, len(dataset.val), "")

        scores = evaluate(network, batches, len(dataset.classes), on_batch=count)
    write_record(found.files.evaluation, {**scores.to_record(list(dataset.classes)), "provenance": provenance()})
