"""Verb `rank`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def rank(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure how well supernet scores rank networks against training each one from scratch.

    Trains random networks by the settings of `train` and gives Kendall's tau. Run `supernet` first. Finished networks
    are kept, so after an interruption the same command resumes.

    For example:

        efficientformer rank --run-dir runs/photos
        efficientformer rank --run-dir runs/photos --rank.networks 40 --train.epochs 5 --json
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.rank(settings, **options.place))
