"""Verb `train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import RunOptions, SettingsOption, open_workspace, print_json, run_phase
from efficientformer.errors import UsageError
from efficientformer.pipeline.run.settings import Settings


def train(
    *,
    init: str | None = None,
    weights: Annotated[Path | None, Parameter(name="--weights")] = None,
    options: RunOptions = RunOptions(),
    settings: SettingsOption = Settings(),
) -> None:
    """Train every network that slimming found; or with --init fine-tune one that knows something already.

    Fine-tuning begins with preset fine_tune (224 px, the head alone for an epoch, then layers at learning rates that
    fall towards the stem), scores the network on the validation images and writes it as ONNX. Interrupted, either loses
    less than a minute.

    For example:

        efficientformer train --train.epochs 200 --train.lr 1e-3 --run-dir runs/photos
        efficientformer train --train.init supernet --run-dir runs/photos
        efficientformer train --init efficientformer_l1 --data photos --run-dir runs/fine
        efficientformer train --init efficientformerv2_s0 --weights s0.pth --data photos --resolution 160

    Parameters
    ----------
    init
        Network to fine-tune: a published one, such as efficientformer_l1, or a weights.safetensors that a run wrote.
    weights
        File of the published network's weights, in any naming; downloaded when absent.
    """
    if init is None and weights is not None:
        raise UsageError("--weights goes with --init NAME, the published network that they belong to.")
    if init is not None:
        _fine_tune(init, weights, options, settings)
        return
    from efficientformer.pipeline.phases import train as phase
    from efficientformer.pipeline.run.outputs import found_networks
    from efficientformer.records import read_record

    run_phase(
        options,
        settings,
        phase.run,
        show=lambda workspace: [read_record(network.files.train_record) for network in found_networks(workspace)],
    )


def _fine_tune(init: str, weights: Path | None, options: RunOptions, settings: Settings) -> None:
    from efficientformer.pipeline.phases import fine_tune
    from efficientformer.records import read_record

    base, suffix = {"preset": "fine_tune"}, f"-{fine_tune.name_of(init)}"
    with open_workspace(options, settings, base=base, suffix=suffix) as workspace:
        files = fine_tune.run(workspace, init, weights).files
        is_whole = workspace.world.size == 1
    if options.json and is_whole:
        print_json({**read_record(files.train_record), "top1": read_record(files.evaluation)["top1"]})
