"""How published networks are described: on the console, on the command line and in the report."""

from efficientformer.arch.resolution import resolution_text
from efficientformer.formats.reference import ReferenceResult
from efficientformer.formats.shortlist import PublishedFigures, PublishedRecord, PublishedRow
from efficientformer.report.wording import ms
from efficientformer.tasks.words import TaskWords


def missing_words(record: PublishedRecord) -> str:
    """How to get the shortlist that this device does not have."""
    return (
        "Best published network that fits: none is known on this device. To measure about 50 in a few minutes: "
        f"{record['command']}"
    )


def published_lines(record: PublishedRecord) -> list[str]:
    """A line for each budget, or how to get a shortlist."""
    if record["shortlist"] is None:
        return [missing_words(record)]
    return [f"{row['budget']}: {best_words(row, record)}" for row in record["rows"]]


def best_words(row: PublishedRow, record: PublishedRecord) -> str:
    """The best published network within a budget, or that there is none."""
    if row["best"] is not None:
        return f"best published network that fits: {network_words(row['best'])}"
    shortlist = record["shortlist"]
    words = f"none of {shortlist['num_networks'] if shortlist else 0} published networks fits"
    if shortlist and shortlist["resolution"] is None and "--resolution" in record["command"]:
        words += f" at its own input size; to measure them at that of this run: {record['command']}"
    return words


def network_words(network: PublishedFigures) -> str:
    """Name, latency and its input size, published accuracy and its own, licence, and what data it needed."""
    interval = " [{}, {}]".format(*map(ms, network["interval_ms"])) if network["interval_ms"] else ""
    more = f", trained on more than ImageNet-1k: {network['more_data']}" if network["more_data"] else ""
    return (
        f"{network['title']} ({network['name']}), {ms(network['p50_ms'])} ms{interval} at "
        f"{resolution_text(network['resolution'] or network['top1_resolution'])} px, ImageNet-1k top-1 "
        f"{network['top1']:.1f} % as published at {network['top1_resolution']} px, licence {network['license']}{more}"
    )


def reference_words(reference: ReferenceResult, score: float, words: TaskWords) -> str:
    """How the published network that was fine-tuned for a budget compares with the network found, of this score.

    Differences that a table does not show count as none.
    """
    name, title, own, theirs = reference["name"], words.title, f"{score:.1f} %", f"{reference[words.primary]:.1f} %"
    on = f"on {reference['num_images']} images"
    if not reference["kept"]:
        return f"the published {name} is over the budget; fine-tuned alike it has {theirs} {title}, not {own}, {on}"
    if is_better(reference, score, words):
        return f"the published {name}, fine-tuned alike, is more accurate: {theirs} {title} against {own} {on}"
    than = "as accurate as" if own == theirs else "more accurate than"
    return f"the network found is {than} the published {name}, fine-tuned alike: {own} {title} against {theirs} {on}"


def is_better(reference: ReferenceResult, score: float, words: TaskWords) -> bool:
    """Whether a reference is within its budget and visibly more accurate on the validation images."""
    return reference["kept"] and round(reference[words.primary], 1) > round(score, 1)
