"""Verb `train`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.settings import Settings


def train(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Train every network that slimming found. Interrupted, it loses less than a minute.

    For example:

        efficientformer train --train.epochs 200 --train.lr 1e-3 --run-dir runs/photos
        efficientformer train --train.init supernet --run-dir runs/photos
    """
    from efficientformer.pipeline.phases import train as phase
    from efficientformer.records import read_record

    run_phase(
        options,
        settings,
        phase.run,
        show=lambda workspace: [read_record(network.files.train_record) for network in workspace.found_networks()],
    )
