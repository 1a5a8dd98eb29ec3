"""Verb `slim`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def slim(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Slim the supernet by accuracy lost per millisecond saved until every budget is met.

    Needs `supernet` before it. A further budget reuses every step already weighed.

    For example:

        efficientformer slim --budget 8ms --budget 4ms --run-dir runs/photos

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import slim as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir, config, settings, phase.run, as_json=json, show=lambda workspace: read_record(workspace.run_dir.trace)
    )
