"""What the documents say is true: commands parse, files and symbols exist, figures are those of records."""

import json
import re
import shlex
from pathlib import Path

import pytest

import efficientformer
from efficientformer.cli.app import app
from efficientformer.cli.options import with_full_names
from efficientformer.report.wording import ms

PACKAGE = Path(efficientformer.__file__).parent
REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("*.md")])
RECORDS = REPOSITORY / "benchmarks" / "records"
CONCEPTS = (REPOSITORY / "docs" / "concepts.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every command line of ours in a bash block of a document."""
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    blocks = [block for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    parts = [part.strip() for line in "\n".join(blocks).splitlines() for part in line.split("&&")]
    return list(dict.fromkeys(part for part in parts if part.startswith("efficientformer ")))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_documents_are_understood(command):
    function, _, _ = app.parse_args(with_full_names(shlex.split(command)[1:]), exit_on_error=False, print_error=False)
    assert function.__name__ in shlex.split(command)[1:3]


def test_the_readme_is_short_and_has_its_two_commands():
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900
    assert "```bash\npip install . && efficientformer design\n```" in README
    assert 'pip install ".[test]" && pytest' in README


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_links_exists(path):
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in link]
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_index_of_the_documentation_names_every_page():
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in REPOSITORY.glob("docs/*.md")} - {"README.md"}
    assert pages == set(re.findall(r"^- \[(\w+\.md)\]\(\1\): ", index, re.MULTILINE))


def test_every_figure_is_shown_somewhere():
    texts = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert not [path.name for path in REPOSITORY.glob("docs/*.svg") if f"{path.name})" not in texts]


def test_every_folder_of_the_map_exists():
    folders = re.findall(r"^  (\w+)/ ", README, re.MULTILINE)
    assert set(folders) == {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(folders) == len(set(folders))


def test_what_the_readme_shows_of_a_design_is_in_a_record():
    shown = re.findall(r"^\d+% .*$", README, re.MULTILINE)
    rows = [row for path in RECORDS.glob("design/*.json") for row in json.loads(path.read_text())["result"]]
    assert len(shown) == 2 and set(shown) <= {design_row(row) for row in rows if "top1" in row}


def design_row(entry: dict) -> str:
    """A row of the table that `design` prints."""
    low, high = entry["measured_interval_ms"]
    measured = f"{entry['measured_p50_ms']:.3f} [{low:.3f}, {high:.3f}]"
    cells = (entry["budget"], f"{entry['budget_ms']:.3f}", f"{entry['predicted_ms']:.3f}", measured)
    kept, top1 = "yes" if entry["kept"] else "NO", f"{entry['top1']:.1f}%"
    size = f"{entry['num_params'] / 1e6:.2f}M   {entry['macs'] / 1e6:.0f}M"
    return f"{cells[0]:<8}{cells[1]:<7}{cells[2]:<11}{cells[3]:<22}{kept:<6}{top1:<7}{size}"


def test_what_the_readme_shows_of_a_benchmark_is_in_a_record():
    shown = re.findall(r"^(\S.*?) +224 .*?%  (.*)$", README, re.MULTILINE)
    rows = set()
    for path in RECORDS.glob("benchmark/*.json"):
        for model in json.loads(path.read_text())["models"]:
            rows.add((model["title"], "".join(map(benchmark_cells, model["results"]))))
    assert len(shown) == 2 and {(title, cells.replace(" ", "")) for title, cells in shown} <= rows


def benchmark_cells(result: dict) -> str:
    """Latency, interval and ratio as `benchmark` prints them, without spaces."""
    return f"{ms(result['p50_ms'])}[{','.join(map(ms, result['interval_ms']))}]{result['ratio']:.2f}"


def concept_rows() -> list[tuple[str, str]]:
    rows = [line.split("|")[1:-1] for line in CONCEPTS.splitlines() if line.startswith("|") and "`" in line]
    return [(row[1], row[2]) for row in rows if len(row) == 3 and ".py" in row[1]]


@pytest.mark.parametrize(("files", "symbols"), concept_rows())
def test_every_concept_is_where_the_table_says(files, symbols):
    text = "".join((PACKAGE / name).read_text(encoding="utf-8") for name in re.findall(r"`([^`]+\.py)`", files))
    for symbol in re.findall(r"`(\w+)`", symbols):
        assert re.search(rf"^(def|class) {symbol}\b|^{symbol}\b.*=", text, re.MULTILINE), symbol
