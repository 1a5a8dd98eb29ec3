"""Verb `evaluate`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.run.settings import Settings


def evaluate(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Score the trained networks on the validation images: top-1, top-5, per class, confusion matrix.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
    """
    from efficientformer.pipeline.phases import evaluate as phase
    from efficientformer.pipeline.run.outputs import found_networks
    from efficientformer.records import read_record

    run_phase(
        options,
        settings,
        phase.run,
        show=lambda workspace: [read_record(network.files.evaluation) for network in found_networks(workspace)],
    )
