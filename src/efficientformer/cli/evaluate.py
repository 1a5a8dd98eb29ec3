"""Verb `evaluate`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def evaluate(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Score the trained networks on the validation images: top-1, top-5, per class, confusion matrix.

    For example:

        efficientformer evaluate --run-dir runs/photos --json

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import evaluate as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir,
        config,
        settings,
        phase.run,
        as_json=json,
        show=lambda workspace: [read_record(network.files.evaluation) for network in workspace.found_networks()],
    )
