"""Verb `supernet`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def supernet(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Train the supernet: MetaPaths with their logits by Gumbel-softmax, or V2's largest network as a sandwich.

    Run `table` first: budgets that no network can meet are refused before training.

    For example:

        efficientformer supernet --data photos --supernet.epochs 60 --run-dir runs/photos
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.supernet(settings, **options.place))
