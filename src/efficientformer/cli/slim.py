"""Verb `slim`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.settings import Settings


def slim(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Slim the supernet by accuracy lost per millisecond saved until every budget is met.

    Needs `supernet` before it. A further budget reuses every step already weighed.

    For example:

        efficientformer slim --budget 8ms --budget 4ms --run-dir runs/photos
    """
    from efficientformer.pipeline.phases import slim as phase
    from efficientformer.records import read_record

    run_phase(options, settings, phase.run, show=lambda workspace: read_record(workspace.run_dir.trace))
