"""Verb `table`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.settings import Settings


def table(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure a latency lookup table of the search space on this device.

    Entries come from interleaved chain differences; whole random networks then check the table. Interrupted, it goes
    on where it stopped.

    For example:

        efficientformer table --space imagenet --resolution 224 --run-dir runs/laptop
        efficientformer table --runtime pytorch --threads 2 --json
    """
    from efficientformer.pipeline.phases import table as phase
    from efficientformer.records import read_record

    run_phase(options, settings, phase.run, show=lambda workspace: read_record(workspace.run_dir.table))
