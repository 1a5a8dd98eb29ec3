"""Verb `train`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def train(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Train every network that slimming found. Interrupted, it loses less than a minute.

    For example:

        efficientformer train --train.epochs 200 --train.lr 1e-3 --run-dir runs/photos
        efficientformer train --train.init supernet --run-dir runs/photos

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import train as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir,
        config,
        settings,
        phase.run,
        as_json=json,
        show=lambda workspace: [read_record(network.files.train_record) for network in workspace.found_networks()],
    )
