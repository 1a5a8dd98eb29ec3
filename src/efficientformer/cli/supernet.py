"""Verb `supernet`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.pipeline.run.settings import Settings


def supernet(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Train the supernet of MetaPaths: weights and path logits together, by Gumbel-softmax.

    Needs `table` before it, since budgets that no network can meet are refused before training.

    For example:

        efficientformer supernet --data photos --supernet.epochs 60 --run-dir runs/photos
    """
    from efficientformer.pipeline.phases import supernet as phase
    from efficientformer.records import read_record

    run_phase(
        options,
        settings,
        phase.run,
        show=lambda workspace: read_record(workspace.run_dir.supernet_record),
    )
