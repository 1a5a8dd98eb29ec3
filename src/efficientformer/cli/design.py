"""Verb `design`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.cli.printing import print_lines, print_rows
from efficientformer.pipeline.run.settings import Settings
from efficientformer.report.published import network_words, reference_words
from efficientformer.report.wording import confidence
from efficientformer.run_dir import RunDir
from efficientformer.tasks.words import words_of

VISIBLE = 0.05
"""Smallest difference of two percentages that a table shows."""


def design(
    *,
    init: str | None = None,
    weights: Annotated[Path | None, Parameter(name="--weights")] = None,
    options: RunOptions = RunOptions(),
    settings: SettingsOption = Settings(),
) -> None:
    """Design, train and export a network for every latency budget, and measure that the file is within it.

    Measures a latency table on this device, trains a supernet, slims it until every budget is met, trains, scores and
    exports the networks, measures the exported files and writes report.html. After an interruption the same command
    resumes. Settings of a parent and of a teacher: --help after --init, --teacher; further ones of trainings: supernet
    --help, train --help.

    For example:

        efficientformer design
        efficientformer design --data photos --budget 8ms --budget 4ms --threads 1 --run-dir runs/mine
        efficientformer design --data photos --budget 50% --preset standard --train.epochs 30 --json
        efficientformer design --data photos --budget 8ms --teacher large.onnx --unlabelled more-photos
        efficientformer design --init efficientformerv2_s2 --data photos --budget 8ms --budget 4ms --reference best

    Parameters
    ----------
    init
        Trained network to slim, in place of a supernet: a published one, or a weights file. Preset transfer.
    weights
        File of the published network's weights, with any names of tensors; downloaded by default.
    """
    from efficientformer.pipeline import verbs

    try:
        result = verbs.design(settings, init=init, weights=weights, **options.place)
    except verbs.BrokenPromiseError as broken:
        _show(broken.result, options)
        raise
    _show(result, options)


def _show(result: list[dict[str, Any]], options: RunOptions) -> None:
    options.show(result)
    if not options.json:
        _print_summary(result)


def _print_summary(result: list[dict[str, Any]]) -> None:
    measured = [network for entry in result for network in (entry, entry.get("reference")) if network]
    percents = [
        f"{confidence(percent)} %" for percent in sorted({network.get("interval_percent", 95) for network in measured})
    ]
    words = words_of(result[0])
    scores = [(entry[words.primary], entry.get(words.balanced, entry[words.primary])) for entry in result]
    is_uneven = any(abs(balanced - primary) >= VISIBLE for primary, balanced in scores)
    accuracies = {words.primary: words.title} | ({words.balanced: "balanced"} if is_uneven else {})
    latencies = ("budget", "ms", "predicted", f"measured [{' or '.join(percents)}]", "kept")
    columns = (*latencies, *accuracies.values(), "params", "MACs")
    has_names = any(entry.get("reference") for entry in result)
    print_rows(columns, (row for entry in result for row in _rows(entry, accuracies)), wide=has_names)
    print_lines(
        f"{entry['budget']}: best published network that fits: {network_words(entry['published'])}"
        for entry in result
        if entry.get("published")
    )
    print_lines(
        f"{entry['budget']}: {reference_words(entry['reference'], entry[words.primary], words)}"
        if entry["reference"]
        else f"{entry['budget']}: no published network was fine-tuned, since none fits"
        for entry in result
        if "reference" in entry
    )
    files = [f"{entry['budget']}: {entry['onnx']}" for entry in result]
    print_lines([*files, f"Report: {RunDir.of_network_file(Path(result[0]['onnx'])).report}"])


def _rows(entry: dict[str, Any], accuracies: Iterable[str]) -> Iterator[list[str]]:
    """The network of a budget, and beneath it the published one that it is compared with."""
    budget = [entry["budget"], f"{entry['budget_ms']:.3f}", f"{entry['predicted_ms']:.3f}"]
    yield [*budget, *_cells(entry, accuracies)]
    if reference := entry.get("reference"):
        yield [f"  {reference['name']}", "", "-", *_cells(reference, accuracies)]


def _cells(network: dict[str, Any], accuracies: Iterable[str]) -> list[str]:
    low, high = network["measured_interval_ms"]
    return [
        f"{network['measured_ms']:.3f} [{low:.3f}, {high:.3f}]",
        "yes" if network["kept"] else "NO",
        *(f"{network[name]:.1f}%" if name in network else "-" for name in accuracies),
        f"{network['num_params'] / 1e6:.2f}M",
        "-" if network["macs"] is None else f"{network['macs'] / 1e6:.0f}M",
    ]
