"""Verb `rank`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def rank(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Ask whether the supernet orders networks as training them does: Kendall's tau over random networks.

    Needs `supernet` before it. Trains each network by the settings of `train`, so it takes as long as so many
    trainings. Every finished network is kept, and a begun one goes on.

    For example:

        efficientformer rank --run-dir runs/photos
        efficientformer rank --run-dir runs/photos --rank.networks 40 --train.epochs 5 --json
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.rank(settings, **options.place))
