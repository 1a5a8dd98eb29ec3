"""Verb `export`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def export(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Write the trained networks as ONNX in deploy form, checked against PyTorch.

    Class names and preprocessing are stored in the file.

    For example:

        efficientformer export --run-dir runs/photos

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import export as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir,
        config,
        settings,
        phase.run,
        as_json=json,
        show=lambda workspace: [read_record(network.files.export_record) for network in workspace.found_networks()],
    )
