"""Verb `table`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def table(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Measure a latency lookup table of the search space on this device.

    Entries come from interleaved chain differences; whole random networks then check the table. Interrupted, it goes
    on where it stopped.

    For example:

        efficientformer table --space imagenet --resolution 224 --run-dir runs/laptop
        efficientformer table --runtime pytorch --threads 2 --json

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import table as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir, config, settings, phase.run, as_json=json, show=lambda workspace: read_record(workspace.run_dir.table)
    )
