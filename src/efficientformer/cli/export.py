"""Verb `export`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.run.settings import Settings


def export(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Write the trained networks as ONNX in deploy form, checked against PyTorch.

    Class names and preprocessing are stored in the file.

    For example:

        efficientformer export --run-dir runs/photos
        efficientformer export --run-dir runs/photos --export.dynamic-batch
    """
    from efficientformer.pipeline.phases import export as phase
    from efficientformer.pipeline.run.outputs import found_networks
    from efficientformer.records import read_record

    run_phase(
        options,
        settings,
        phase.run,
        show=lambda workspace: [read_record(network.files.export_record) for network in found_networks(workspace)],
    )
