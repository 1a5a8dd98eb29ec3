"""What the documents say about the code is true: commands parse, files and symbols exist."""

import re
import shlex
from pathlib import Path

import pytest

import efficientformer
from efficientformer.cli.app import app

PACKAGE = Path(efficientformer.__file__).parent
REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONCEPTS = (REPOSITORY / "docs" / "concepts.md").read_text(encoding="utf-8")


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    commands = [part.strip() for line in "\n".join(blocks).splitlines() for part in line.split("&&")]
    return [command for command in commands if command.startswith("efficientformer ")]


@pytest.mark.parametrize("command", readme_commands())
def test_commands_of_the_readme_are_understood(command):
    function, _, _ = app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    assert function.__name__ in shlex.split(command)[1:3]


def test_the_readme_is_short_and_has_its_two_commands():
    assert len(README.splitlines()) <= 160
    assert "pip install . && efficientformer design" in README
    assert 'pip install ".[test]" && pytest' in README


def test_every_path_the_readme_links_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and not [link for link in links if not (REPOSITORY / link).exists()]


def test_every_folder_of_the_map_exists():
    folders = re.findall(r"^  (\w+)/ ", README, re.MULTILINE)
    assert folders == [name for name in folders if (PACKAGE / name).is_dir()]
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(folders)


def concept_rows() -> list[tuple[str, str]]:
    rows = [line.split("|")[1:-1] for line in CONCEPTS.splitlines() if line.startswith("|") and "`" in line]
    return [(row[1], row[2]) for row in rows if len(row) == 3 and ".py" in row[1]]


@pytest.mark.parametrize(("files", "symbols"), concept_rows())
def test_every_concept_is_where_the_table_says(files, symbols):
    text = "".join((PACKAGE / name).read_text(encoding="utf-8") for name in re.findall(r"`([^`]+\.py)`", files))
    for symbol in re.findall(r"`(\w+)`", symbols):
        assert re.search(rf"^(def|class) {symbol}\b|^{symbol}\b.*=", text, re.MULTILINE), symbol
