"""Write README.md, its figures, docs/scaling.md, and the generated parts of the project's README.

    python benchmarks/results.py
    python benchmarks/results.py --check

`--check` writes nothing and fails if a file differs from the records. In the project's README two parts are
written: the results, between `<!-- results -->` and `<!-- /results -->`, and the phases of a run, from the code.
"""

import argparse
import re
import sys
from pathlib import Path

from answers import headline, latency, project, scaling, search
from answers.evidence import Question, Table
from efficientformer.records import write_text
from studies.naming import BENCHMARKS

README, LOG, FIGURES = BENCHMARKS / "README.md", BENCHMARKS / "LOG.md", BENCHMARKS / "figures"
PROJECT_README, SCALING = BENCHMARKS.parent / "README.md", BENCHMARKS.parent / "docs" / "scaling.md"
INTRODUCTION = """\
<!-- Written by results.py from the records; edit that. -->
# Benchmarks

Ranges and medians over runs and machines, [replaced](earlier_runs.json) ones too; [LOG.md](LOG.md) has the decisions.
[Records](records): study, subject, [machine](machines.json), date, condition; one thread's CPU time unless stated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only list the files that differ from the records")
    arguments = parser.parse_args()
    files = written()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    unknown = [path for path in FIGURES.glob("*") if path not in files]
    if arguments.check:
        for path in stale + unknown:
            sys.stdout.write(f"{path.relative_to(BENCHMARKS.parent)} differs; run python benchmarks/results.py\n")
        sys.exit(bool(stale + unknown))
    for path in stale:
        write_text(path, files[path])
        sys.stdout.write(f"Wrote {path.relative_to(BENCHMARKS.parent)}\n")
    for path in unknown:
        path.unlink()


def written() -> dict[Path, str]:
    """Every file that is made from the records, with its content."""
    figures = {
        "predicted": latency.predicted_figure,
        "table_error": latency.table_error_figure,
        "slimming": search.slimming_figure,
        "against_timm": latency.timm_figure,
    }
    files = {FIGURES / f"{name}.svg": draw() for name, draw in figures.items()}
    files[README] = "\n\n".join([INTRODUCTION, *map(section, questions())]) + "\n"
    files[SCALING] = scaling.page()
    text = PROJECT_README.read_text(encoding="utf-8")
    text = filled(text, "results", f"{tight(project.result_rows())}\n\n{project.result_bullets()}")
    files[PROJECT_README] = filled(text, "phases", tight(project.phase_rows()))
    return files


def filled(text: str, part: str, content: str) -> str:
    """The text with new content between the marks of a part, which have to be there."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    before, _, rest = text.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{PROJECT_README.name} lacks the marks {begin} and {end}.")
    return f"{before}{begin}\n{content}\n{end}{after}"


def questions() -> list[Question]:
    return [
        latency.table_question(),
        latency.conditions_question(),
        latency.repeatability_question(),
        search.design_question(),
        search.slimming_question(),
        search.ranking_question(),
        headline.headline_question(),
        latency.timm_question(),
        search.cost_question(),
    ]


def section(question: Question) -> str:
    scripts = ", ".join(f"[{name}.py](studies/{name}.py)" for name in question.scripts)
    entries = ", ".join(f"[{number}]({anchor(entry)})" for number, entry in enumerate(question.entries, start=1))
    figures = [f"![{words}](figures/{name}.svg)" for name, words in question.figures]
    body = [*figures, markdown(question.table)] if question.table else figures
    return "\n".join([f"## {question.title}", f"{question.answer} ({scripts}; log {entries})", "", *body])


def anchor(heading: str) -> str:
    """The link to an entry of LOG.md, as GitHub and most renderers name its heading."""
    if f"## {heading}" not in LOG.read_text(encoding="utf-8").splitlines():
        raise SystemExit(f"LOG.md has no entry {heading!r}.")
    return "LOG.md#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def markdown(table: Table) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in with_rule(table))


def tight(table: Table) -> str:
    """Without spaces next to the bars, which would count as words of the project's README."""
    return "\n".join(f"|{'|'.join(cells)}|" for cells in with_rule(table))


def with_rule(table: Table) -> Table:
    head, *rows = table
    return [head, ["---"] * len(head), *rows]


if __name__ == "__main__":
    main()
