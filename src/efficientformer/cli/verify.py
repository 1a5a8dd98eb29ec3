"""Verb `verify`."""

from efficientformer.cli.options import RunOptions, SettingsOption, run_phase
from efficientformer.errors import BudgetError
from efficientformer.pipeline.run.settings import Settings


def verify(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure the exported files, interleaved with the largest network: is every promise kept?

    For example:

        efficientformer verify --verify.rounds 200 --run-dir runs/photos
    """
    from efficientformer.pipeline.phases import verify as phase
    from efficientformer.records import read_record

    kept = run_phase(options, settings, phase.run, show=lambda workspace: read_record(workspace.run_dir.verification))
    if not kept:
        raise BudgetError(
            "A promise is broken. Measure again on a quieter machine, or run 'efficientformer design' to slim on."
        )
