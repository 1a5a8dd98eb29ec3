"""`efficientformer <verb>`: one file per verb. Each imports heavy packages only when it runs."""

import os
import sys

from cyclopts import App, CycloptsError
from pydantic import ValidationError

from efficientformer import __version__
from efficientformer.cli.analyze import analyze
from efficientformer.cli.baselines import baselines
from efficientformer.cli.benchmark import benchmark
from efficientformer.cli.data.check import data
from efficientformer.cli.data.pack import pack
from efficientformer.cli.design import design
from efficientformer.cli.evaluate import evaluate
from efficientformer.cli.export import export
from efficientformer.cli.help import print_help
from efficientformer.cli.options import with_full_names
from efficientformer.cli.predict import predict
from efficientformer.cli.printing import use_any_encoding
from efficientformer.cli.rank import rank
from efficientformer.cli.report import report
from efficientformer.cli.shortlist import shortlist
from efficientformer.cli.slim import slim
from efficientformer.cli.space import space
from efficientformer.cli.supernet import supernet
from efficientformer.cli.table.check import check
from efficientformer.cli.table.diff import diff
from efficientformer.cli.table.measure import table
from efficientformer.cli.table.merge import merge
from efficientformer.cli.table.predict import predict as predict_latency
from efficientformer.cli.table.show import show
from efficientformer.cli.train import train
from efficientformer.cli.verify import verify
from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.pipeline.run.console import TextConsole
from efficientformer.pipeline.run.resolve_settings import unusable

app = App(
    name="efficientformer",
    help="Search, train and export vision transformers that meet a latency budget on your own device.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `run` prints how to resume
)
VERBS = (
    design,
    data,
    analyze,
    benchmark,
    shortlist,
    table,
    supernet,
    slim,
    baselines,
    rank,
    train,
    evaluate,
    export,
    verify,
    report,
    predict,
    space,
)
TABLE_COMMANDS = (show, check, merge, diff, predict_latency)
DATA_COMMANDS = (pack,)
for order, verb in enumerate(VERBS):
    app.command(verb, sort_key=order)
for order, command in enumerate(TABLE_COMMANDS):
    app["table"].command(command, sort_key=order)
for order, command in enumerate(DATA_COMMANDS):
    app["data"].command(command, sort_key=order)


def main(arguments: list[str] | None = None) -> None:
    """Run one command line. Exit codes: 0 success, 1 failure, 2 wrong request, 130 interrupted."""
    # Threads that spin while they wait for one another stall if other programs use the cores: training steps took 5 to
    # 20 times longer. The threading library reads this variable once, when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    use_any_encoding()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    errors = TextConsole(stderr=True, soft_wrap=True)
    arguments = with_full_names(arguments)
    try:
        if not arguments or set(arguments) & set(app.help_flags):
            print_help(app, arguments)
            return 0
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        cause = error.__cause__
        reason = unusable(cause) if isinstance(cause, ValidationError) else " ".join(str(error).split())
        return _failed(errors, UsageError(reason))
    except EfficientFormerError as error:
        return _failed(errors, error)
    except KeyboardInterrupt:
        errors.print()
        errors.print("Interrupted. Run the same command again to resume.")
        return 130
    except BrokenPipeError:
        return 1
    return 0


def _failed(errors: TextConsole, error: EfficientFormerError) -> int:
    errors.labeled("error", str(error), "bold red")
    return error.exit_code
