"""The page of an analysis: verdicts, then each observation with its experiments, from `analysis.json` alone."""

from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.formats.comparison import AnalysisRecord
from efficientformer.reading import read_record
from efficientformer.records import write_text
from efficientformer.report import wording
from efficientformer.report.analysis import figures as analysis_figures
from efficientformer.report.analysis.hotspot_figures import hotspots_figure
from efficientformer.report.frame import Section, page_environment, render_sections
from efficientformer.report.wording import runtime_title

RECORD_NAME, PAGE_NAME = "analysis.json", "analysis.html"
FORMAT = 1

TITLES = {
    1: ("patch-embedding", "Patch embedding or convolution stem"),
    2: ("mixers", "Attention, pooling and the layout between them"),
    3: ("norms", "Batch norm or other norms"),
    4: ("activations", "Activations"),
}
INTRODUCTIONS = {
    1: "Both produce maps of the same shape. The patch embedding is one convolution with a large kernel and a large "
    "stride, the stem a few 3x3 convolutions of stride 2. The embeddings have fewer multiply-accumulates.",
    2: "Blocks have equal widths and equal numbers of tokens. To isolate the reshape, the same blocks are timed in two "
    "orders: MB4D and MB3D alternating, and all MB4D before all MB3D.",
    3: "Batch norm is folded into the preceding convolution after training. Layer norm and group norm compute their "
    "statistics in every call.",
    4: "The same network with another activation in its blocks; the stem keeps its ReLU. The paper makes claims about "
    "GELU and HardSwish only.",
}


def render_analysis(folder: Path) -> Path:
    """Write `analysis.html` next to the `analysis.json` of a folder and return its path.

    The page works offline. Raises RecordError for a record that is missing or is not that of an analysis.
    """
    from jinja2 import TemplateError

    record: Any = read_record(folder / RECORD_NAME, AnalysisRecord, remedy="Run 'efficientformer analyze' again.")
    path = folder / PAGE_NAME
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']} instead of {FORMAT}")
        text = _render(record)
    except (AttributeError, LookupError, TypeError, ValueError, TemplateError) as error:
        raise RecordError(
            f"{folder / RECORD_NAME} is not the record of an analysis ({error!r}). Run 'efficientformer analyze' again."
        ) from error
    write_text(path, text)
    return path


def _render(record: dict[str, Any]) -> str:
    environment = page_environment()
    environment.filters["runtime_title"] = runtime_title

    def section(name: str, title: str, template: str, **content: Any) -> Section:
        body = environment.get_template(f"analysis/{template}.html.j2").render(record=record, **content)
        return Section(name, title, body, ())

    runtimes = [runtime["name"] for runtime in record["runtimes"]]
    content = {
        "sentence": _sentence(record, runtimes),
        "place": _place(record),
        "meanings": _meanings(record, runtimes),
    }
    sections = [section("headline", "Verdicts", "verdicts", runtimes=runtimes, **content)]
    for number, (name, title) in TITLES.items():
        if rows := [row for row in record["experiments"] if row["observation"] == number]:
            content = {
                "introduction": INTRODUCTIONS[number],
                "figures": analysis_figures.claim_figures(rows, runtimes, name),
                "papers": list({row["paper"]["words"]: row["paper"] for row in rows if row["paper"]}.values()),
                "copies": _copies(record, runtimes),
                "rows": rows,
            }
            sections.append(section(name, title, "observation", **content))
    if record["switches"]:
        figure = analysis_figures.switches_figure(record["switches"], runtimes)
        advice = [(row["runtime"], _advice(row)) for row in record["advice"]]
        sections.append(section("switches", "Changes of whole networks", "switches", figure=figure, advice=advice))
    if record.get("choices"):
        sections.append(
            section("choices", "Choices of a space", "choices", runtimes=runtimes, **_choices(record, runtimes))
        )
    if record["hotspots"]:
        figure = hotspots_figure([{**row, "runtime": runtime_title(row["runtime"])} for row in record["hotspots"]])
        classes = list(dict.fromkeys(name for row in record["hotspots"] for name in row["classes"]))
        sections.append(section("hotspots", "Latency by operator", "hotspots", figure=figure, classes=classes))
    facts = wording.flat(record["provenance"])
    sections.append(section("machine", "Machine, versions, protocol", "machine", facts=facts))
    return render_sections(environment, "analysis.html.j2", sections)


def _sentence(record: dict[str, Any], runtimes: list[str]) -> str:
    """The headline: for each runtime, how many of the paper's claims hold; for a single claim, its verdicts."""
    tried = [row for row in record["claims"] if row["runtimes"]]
    if len(tried) == 1:
        verdicts = [f"{found['verdict']} with {runtime_title(name)}" for name, found in tried[0]["runtimes"].items()]
        return f"{tried[0]['words']} This {wording.join(verdicts)}"
    counts = []
    for runtime in runtimes:
        verdicts = [row["runtimes"][runtime]["verdict"] for row in record["claims"] if runtime in row["runtimes"]]
        if verdicts:
            held, in_part = (sum(verdict == word for verdict in verdicts) for word in ("holds", "holds in part"))
            part = f" ({in_part} more in part)" if in_part else ""
            counts.append(f"{held or 'none'}{part} with {runtime_title(runtime)}")
    if not counts and record.get("choices"):
        return "The choices of a search space on this device"
    if not counts:
        return "No claim of the paper could be tested on this device"
    return f"Of the paper's {len(tried)} claims about latency, {wording.join(counts)} hold here"


def _choices(record: dict[str, Any], runtimes: list[str]) -> dict[str, Any]:
    """What was concluded about each choice of a space on each runtime, its figure, and all rows."""
    meanings, figures = [], []
    for choice in record["choices"]:
        found = [choice["runtimes"].get(name, {}).get("meaning", "") for name in runtimes]
        rows = [row for row in record["trials"] if row["choice"] == choice["choice"]]
        meanings.append((choice["title"], found))
        figure = analysis_figures.choice_figure(rows, runtimes, f"choice-{choice['choice']}")
        figures.append((choice["words"], figure))
    return {"meanings": meanings, "figures": figures, "copies": _copies(record, runtimes)}


def _place(record: dict[str, Any]) -> str:
    return f"{record['provenance']['machine']['cpu']} with {wording.runtime_list(record['runtimes'])}"


def _meanings(record: dict[str, Any], runtimes: list[str]) -> list[tuple[str, list[str]]]:
    """(design choice, what follows for it on each runtime), from the verdicts and the changed networks."""
    rows = [
        (claim["topic"], [claim["runtimes"].get(name, {}).get("meaning", "") for name in runtimes])
        for claim in record["claims"]
        if claim["topic"]
    ]
    savings = {row["runtime"]: row["saves"] for row in record["advice"]}
    if savings:
        cells = [
            f"{_listed(savings[name])}." if savings.get(name) else "None of those tried." if name in savings else ""
            for name in runtimes
        ]
        rows.append(("Changes that save time (accuracy not measured)", cells))
    return rows


def _copies(record: dict[str, Any], runtimes: list[str]) -> str:
    """The largest difference between copies of a whole network, on each runtime."""
    words = []
    for name in runtimes:
        ratios = [row["ratio"] for row in record["controls"] if row["runtime"] == name and row["is_network"]]
        if ratios:
            percent = 100 * (max(max(ratio, 1 / ratio) for ratio in ratios) - 1)
            words.append(f"{percent:.1f}{wording.THIN_SPACE}% with {runtime_title(name)}")
    return wording.join(words)


def _advice(advice: dict[str, Any]) -> list[tuple[str, str]]:
    """(effect, the changed choices with this effect) on one runtime."""
    effects = {"saves": "Faster", "costs": "Slower", "equal": "No relevant difference", "untold": "Undecided"}
    return [(words, _listed(advice[kind])) for kind, words in effects.items() if advice[kind]]


def _listed(items: list[dict[str, Any]]) -> str:
    """Changed choices with their effect on each network: ReLU (L1 -8 %, L3 -6 %)."""
    words = []
    for item in items:
        changes = [f"{row['network']} {row['percent']:+.0f}{wording.THIN_SPACE}%" for row in item["networks"]]
        words.append(f"{item['choice']} ({', '.join(changes).replace('-', wording.MINUS)})")
    return "; ".join(words)
