"""The verbs of a run, for Python and for the command line, with the same names, settings and records.

Each takes `Settings`, or settings by name, or both: `design(data="photos", budget="8ms", train={"epochs": 30})`. Other
settings come from `config` (a YAML file), else from earlier calls with the same `run_dir`, else from the preset. A verb
writes to `run_dir` and resumes from it. It returns the record of its phase, and raises UsageError for settings that
cannot be used and for a phase that has to run first. Of the processes that torchrun starts, only the first returns a
record.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from efficientformer.errors import BudgetError, UsageError
from efficientformer.formats.files import NETWORK_RECORDS, RUN_RECORDS, read_any
from efficientformer.formats.network import EVALUATION_MIB, Evaluation, TrainRecord
from efficientformer.formats.run import Verification
from efficientformer.formats.shortlist import PublishedRecord
from efficientformer.formats.slimming import Trace
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.open_run import RunRequest, design_request, fine_tune_request, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given, with_given
from efficientformer.pipeline.run.result import scores_of
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir

Record = Any
"""The record of a phase, as JSON values."""
WEIGHTS_WITHOUT_INIT = "--weights goes with --init NAME, the published network that they belong to."


class BrokenPromiseError(BudgetError):
    """A network is measured to be over its budget; `result` is what the verb would have returned."""

    def __init__(self, message: str, result: Record) -> None:
        super().__init__(message)
        self.result = result


def design(
    settings: Settings | None = None,
    /,
    *,
    init: str | None = None,
    weights: Path | None = None,
    run_dir: Path | str | None = None,
    config: Path | None = None,
    **given: Any,
) -> list[dict[str, Any]]:
    """Design, train and export a network for every latency budget, and measure that the file is within it.

    init: a trained network to slim in place of a supernet: a published one, such as "efficientformerv2_s0", or a file
        of weights.
    weights: a file of the published network's weights, with any names of tensors; downloaded by default.

    Returns an entry for each budget: the network's files, its accuracy, its predicted and measured latency. Raises
    BudgetError for a budget that no network of the search space meets, BrokenPromiseError if the last network for a
    budget is measured to be over it.
    """
    from efficientformer.pipeline.design import run_phases

    if init is None and weights is not None:
        raise UsageError(WEIGHTS_WITHOUT_INIT)
    if init is not None:
        parent = {"init": init, **({} if weights is None else {"weights": str(weights)})}
        given = merge_given(given, {"parent": parent})
    request = _request(settings, run_dir, config, given)
    result = _run(design_request(request.settings, request.run_dir, config), run_phases, lambda _, made: made)
    if broken := [entry["budget"] for entry in result if not entry["kept"]]:
        raise BrokenPromiseError(
            f"The promise for {', '.join(broken)} could not be kept. Measure on a quieter machine, leave more room "
            "with --slim.headroom 0.1, or ask for a larger budget; the same command resumes from here.",
            result,
        )
    return result


def table(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Measure the latency lookup table of the search space; returns the content of table.json."""
    from efficientformer.pipeline.phases import table as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _record("table"))


def supernet(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Train the supernet; needs the table. Returns the supernet's record."""
    from efficientformer.pipeline.phases import supernet as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _record("supernet_record"))


def slim(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Slim the supernet until every budget is met; needs the supernet. Returns the trace."""
    from efficientformer.pipeline.phases import slim as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _record("trace"))


def explain(
    step: int, settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None
) -> dict[str, Any]:
    """Why a step of the finished descent took its action, and its other candidates; nothing is run."""
    from efficientformer.pipeline.explain import explain_step
    from efficientformer.pipeline.run.plan import SLIM

    with open_run(_request(settings, run_dir, config, {})) as run:
        return explain_step(read_record(SLIM.require(run, kinds=frozenset({"run", "source"}))[0], Trace), step)


def baselines(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Compare slimming with simpler search methods at equal latency; needs the trace of slimming."""
    from efficientformer.pipeline.phases import baselines as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _record("baselines"))


def rank(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Measure how well supernet scores rank networks; needs the supernet."""
    from efficientformer.pipeline.phases import rank as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _record("rank"))


def train(
    settings: Settings | None = None,
    /,
    *,
    init: str | None = None,
    weights: Path | None = None,
    run_dir: Path | str | None = None,
    config: Path | None = None,
    **given: Any,
) -> Record:
    """Train the networks that slimming found, or, with `init`, fine-tune, score, export and time a pretrained network.

    init: a published network, such as "efficientformer_l1", or a weights.safetensors of a run.
    weights: a file of the published network's weights, with any names of tensors; downloaded by default.
    """
    request = _request(settings, run_dir, config, given)
    if init is None and weights is not None:
        raise UsageError(WEIGHTS_WITHOUT_INIT)
    if init is None:
        from efficientformer.pipeline.phases import train as phase

        return _run(request, phase.run, _network_records("train_record"))
    from efficientformer.pipeline.networks.timed import read_latency
    from efficientformer.pipeline.phases import fine_tune

    def read(run: Workspace, tuned: Any) -> Record:
        if run.world.size > 1:  # the same command without torchrun scores and exports it
            return None
        evaluation = read_record(tuned.files.evaluation, Evaluation, most_mib=EVALUATION_MIB)
        measured = read_latency(tuned.files)
        latency = {"measured_ms": measured.p50_ms, "measured_interval_ms": list(measured.interval_ms)}
        return {**read_record(tuned.files.train_record, TrainRecord), **scores_of(evaluation), **latency}

    request = fine_tune_request(init, request.settings, request.run_dir, config)
    return _run(request, lambda run: fine_tune.run(run, init, weights), read)


def evaluate(
    settings: Settings | None = None,
    /,
    *,
    model: Path | str | None = None,
    weights: Path | None = None,
    run_dir: Path | str | None = None,
    config: Path | None = None,
    **given: Any,
) -> list[Record]:
    """Score the trained networks on the validation images; a record for each network, with its name.

    model: scored in place of the networks: an exported file, in its runtime; a file of weights; or the name of a
        published network.
    weights: a file of the published network's weights, with any names of tensors; downloaded by default.
    """
    from efficientformer.pipeline.phases import evaluate as phase

    if model is not None:
        from efficientformer.pipeline.exported.evaluate_model import evaluate_model

        request = _request(settings, run_dir, config, given)
        place = {"run_dir": request.run_dir, "config": config}
        return [evaluate_model(model, request.settings, weights=weights, **place)]
    if weights is not None:
        raise UsageError("--weights goes with the name of a published network: evaluate NAME --weights FILE.")

    def read(run: Workspace, _: Any) -> Record:
        from efficientformer.pipeline.run.outputs import network_files

        names = [files.folder.name for files in network_files(run)]
        records = _network_records("evaluation")(run, None)
        return [{"network": name, **record} for name, record in zip(names, records, strict=True)]

    return _run(_request(settings, run_dir, config, given), phase.run, read)


def export(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> list[Record]:
    """Write the trained networks as ONNX in deploy form, checked against PyTorch; a record for each network."""
    from efficientformer.pipeline.phases import export as phase

    return _run(_request(settings, run_dir, config, given), phase.run, _network_records("export_record"))


def verify(
    settings: Settings | None = None, /, *, run_dir: Path | str | None = None, config: Path | None = None, **given: Any
) -> Record:
    """Measure the exported files and the largest network in fresh sessions. Raises BrokenPromiseError.

    The intervals are of the median over processes. Sessions of earlier calls on the same files are counted as well.
    """
    from efficientformer.pipeline.phases import verify as phase

    request = _request(settings, run_dir, config, given)

    def read(run: Workspace, kept: bool) -> Record:
        record = read_record(run.run_dir.verification, Verification)
        return kept, {**record, "published": read_record(run.run_dir.published, PublishedRecord)}

    kept, record = _run(request, phase.run, read)
    if not kept:
        raise BrokenPromiseError(
            "A promise is broken. Measure again on a quieter machine (the sessions so far still count), or run "
            "'efficientformer design' to slim further.",
            record,
        )
    return record


def report(run_dir: Path | str) -> Path:
    """Render report.html again from the records of a run, without measuring or training; returns its path.

    Records that are out of date are shown, and named in the page and in warnings.
    """
    from efficientformer.pipeline.report import write_report

    if not RunDir(usable_path(run_dir, "run directory")).settings.exists():
        raise UsageError(
            f"{run_dir} is not a run directory: it has no settings.json. 'efficientformer design' makes one."
        )
    return write_report(Path(run_dir))


def _request(
    settings: Settings | None, run_dir: Path | str | None, config: Path | None, given: dict[str, Any]
) -> RunRequest:
    directory = None if run_dir is None else Path(run_dir)
    return RunRequest(with_given(Settings, settings, given), directory, config)


def _run(request: RunRequest, work: Callable[[Workspace], Any], read: Callable[[Workspace, Any], Record]) -> Record:
    """Do the work in the run, then read its record, given what the work returned."""
    with open_run(request) as workspace:
        made = work(workspace)
        return read(workspace, made) if workspace.world.is_first else None


def _record(name: str) -> Callable[[Workspace, Any], Record]:
    """Reads a record of the run, by its name in `RunDir`."""
    return lambda run, _: read_any(getattr(run.run_dir, name), RUN_RECORDS[name])


def _network_records(name: str) -> Callable[[Workspace, Any], list[Record]]:
    """Reads a record of each trained network, by its name in `NetworkFiles`."""
    from efficientformer.pipeline.run.outputs import network_files

    return lambda run, _: [read_any(getattr(files, name), NETWORK_RECORDS[name]) for files in network_files(run)]
