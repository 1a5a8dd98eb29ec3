"""Verb `supernet`."""

from efficientformer.cli.options import ConfigOption, JsonOption, RunDirOption, SettingsOption, run_phases
from efficientformer.pipeline.settings import Settings


def supernet(
    *,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    settings: SettingsOption = Settings(),
) -> None:
    """Train the supernet of MetaPaths: weights and path logits together, by Gumbel-softmax.

    Needs `table` before it, since budgets that no network can meet are refused before training.

    For example:

        efficientformer supernet --data photos --supernet.epochs 60 --run-dir runs/photos

    Parameters
    ----------
    run_dir: Path
        Where records are read and written; runs/NAME-OF-THE-DATA by default.
    config: Path
        YAML file with settings, such as 'train: {epochs: 30}'.
    json: bool
        Print the record as JSON on standard output.
    """
    from efficientformer.pipeline.phases import supernet as phase
    from efficientformer.records import read_record

    run_phases(
        run_dir,
        config,
        settings,
        phase.run,
        as_json=json,
        show=lambda workspace: read_record(workspace.run_dir.supernet_record),
    )
