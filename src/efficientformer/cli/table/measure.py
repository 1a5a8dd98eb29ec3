"""Verb `table`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def table(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure a latency lookup table of the search space on this device, or use a finished table with a command below.

    Entries come from interleaved chain differences. The table is then checked on whole random networks. After an
    interruption the same command resumes.

    For example:

        efficientformer table --space imagenet --resolution 224 --run-dir runs/laptop
        efficientformer table --runtime pytorch --threads 2 --json
        efficientformer table check runs/laptop --measure 8
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.table(settings, **options.place))
