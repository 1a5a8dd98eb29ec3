"""What is printed: in any encoding, to any end, and never anything but text."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.exported import write_classifier, write_image

PREDICT = [sys.executable, "-m", "efficientformer", "predict", "model.onnx"]
PREDICT_AND_JSON = """
import sys
from efficientformer.cli.app import main
for flag in ([], ["--json"]):
    try:
        main(["predict", "model.onnx", *sys.argv[1:], *flag])
    except SystemExit as ended:
        if ended.code:
            raise
"""
PRINTER = """
import sys, os
from efficientformer.cli import app
from efficientformer.cli.printing import print_json, print_lines
def verb(*, json: bool = False):
    rows = [os.fsdecode(b"caf\\xe9"), "x" * 100] * 5000
    print_json(rows) if json else print_lines(rows)
app.app.command(verb, name="verb")
app.main()
"""
ESC, BELL, OVERRIDE, LONE = "\x1b[31mred", "a\x07b", "\u202etxt.exe", os.fsdecode(b"caf\xe9")
HOSTILE = ["[red]x[/]", "[/]", ESC, "two\nlines", "<script>alert(1)</script>", BELL, OVERRIDE, ":cat:", "x" * 10_000]


def ended(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONIO", "LC_", "LANG"))}
    return subprocess.run(command, cwd=folder, env={**environment, **variables}, capture_output=True, check=False)


ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "utf-8"},
]


@pytest.mark.parametrize("variables", ENCODINGS, ids=["ascii", "cp1252", "C", "utf-8"])
def test_names_are_printed_in_any_encoding(variables: dict[str, str], tmp_path: Path) -> None:
    write_classifier(tmp_path / "model.onnx", ["Käfer", "жук", "🐈"])
    names = ["Käfer.png", "猫.png", LONE + ".png"]
    for name in names:
        write_image(tmp_path / name)
    done = ended([sys.executable, "-c", PREDICT_AND_JSON, *names], tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    shown = done.stdout.decode(encoding)
    if "LC_ALL" in variables:  # names of files are bytes there
        names = [os.fsencode(name).decode("ascii", "surrogateescape") for name in names]
    lines = shown.splitlines(keepends=True)
    text, document = lines[: len(names)], json.loads("".join(lines[len(names) :]))
    escaped = [name.encode(encoding, "backslashreplace").decode(encoding) for name in names]
    assert [line.split(":")[0] for line in text] == escaped
    assert ("\\u0436" in "".join(text)) == (encoding != "utf-8") == ("жук" not in "".join(text))
    assert [row["file"] for row in document] == names
    assert [best["class"] for best in document[0]["top5"]] == ["Käfer", "жук", "🐈"]


def test_errors_are_printed_in_any_encoding(tmp_path: Path) -> None:
    done = ended([*PREDICT[:-1], "жук.onnx", "a.png"], tmp_path, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 2 and done.stderr.startswith(b"error \\u0436\\u0443\\u043a.onnx is not a file")


@pytest.mark.parametrize("verb", ["train", "verify", "slim"])
def test_records_of_a_run_are_printed_in_any_encoding(verb: str, tmp_path: Path) -> None:
    """Every verb prints its document by the same function."""
    code = (
        "from efficientformer.cli import app\nfrom efficientformer.pipeline import verbs\n"
        f"verbs.{verb} = lambda *_, **__: {{'class': 'жук', 'path': 'caf\\udce9'}}\napp.main(['{verb}', '--json'])"
    )
    done = ended([sys.executable, "-c", code], tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"class": "жук", "path": "caf\udce9"}


def printed(shell: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a verb that prints 10,000 lines leaves, in a shell's words."""
    (folder / "verb.py").write_text(PRINTER, encoding="utf-8")
    command = shell.replace("VERB", f"{sys.executable} verb.py verb")
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("flag", ["", "--json"])
def test_a_reader_that_stops_is_no_fault(flag: str, tmp_path: Path) -> None:
    done = printed(f"VERB {flag} | head -c 10", tmp_path)
    assert (len(done.stdout), done.stderr) == (10, "")


@pytest.mark.parametrize("flag", ["", "--json"])
def test_output_that_cannot_be_written_is_one_line(flag: str, tmp_path: Path) -> None:
    done = printed(f"VERB {flag} > /dev/full", tmp_path)
    assert done.stderr == "error Standard output cannot be written: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("flag", ["", "--json"])
def test_a_closed_standard_output_is_no_fault(flag: str, tmp_path: Path) -> None:
    done = printed(f"VERB {flag} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def run(capsys: Any) -> Any:
    from efficientformer.cli.app import run as run_line

    def line(*arguments: str) -> tuple[int, str, str]:
        code = run_line(list(arguments))
        return code, *capsys.readouterr()

    return line


def shown_as_text(text: str) -> None:
    assert "[red]x[/]" in text and "[/]" in text and ":cat:" in text and "<script>alert(1)</script>" in text
    assert "\\x1b[31mred" in text and "two\\nlines" in text and "a\\x07b" in text and "\\u202etxt.exe" in text
    assert not set(text) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("folder", ["[red]x", "a\nb", "\x1b[31m", ":cat:"])
def test_class_and_file_names_are_text_and_nothing_else(
    run: Any, folder: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    image, model = write_image(Path(folder, "a.png")), Path(folder, "m.onnx")
    for start in range(0, 9, 3):
        write_classifier(model, HOSTILE[start : start + 3], scale=0.1)
        code, text, _ = run("predict", str(model), str(image))
        assert code == 0 and text.count("\n") == 1
        assert text.startswith(folder.replace("\n", "\\n").replace("\x1b", "\\x1b"))
    write_classifier(model, HOSTILE[:3])
    code, text, errors = run("predict", str(model), str(image), str(Path(folder, "absent.png")), "--json")
    assert code == 0 and [best["class"] for best in json.loads(text)[0]["top5"]] == HOSTILE[:3]
    assert json.loads(text)[0]["file"] == str(image)
    assert errors.count("\n") == 1 and "\x1b" not in errors


def test_hostile_names_in_one_line_of_predictions(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ""
    for start in range(0, 9, 3):
        write_classifier(Path("m.onnx"), HOSTILE[start : start + 3])
        lines += run("predict", "m.onnx", str(write_image(Path("a.png"))))[1]
    shown_as_text(lines)
    assert max(map(len, lines.splitlines())) < 500, "a name of 10,000 letters is shortened"


@pytest.mark.parametrize("name", HOSTILE[:-1])
@pytest.mark.parametrize(
    "verb",
    [["report"], ["predict", "m.onnx"], ["benchmark"], ["design", "--data"], ["table", "show"], ["train", "--init"]],
)
def test_a_hostile_argument_is_shown_as_text_by_every_verb(
    run: Any, verb: list[str], name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text, errors = run(*verb, name)
    assert code in (1, 2) and text == ""
    assert not set(errors) & set("\x1b\x07\u202e") and errors.count("\n") == 1 and "🐈" not in errors


def test_messages_of_a_run_are_text_and_nothing_else(capsys: Any) -> None:
    from efficientformer.pipeline.run.console import RunConsole

    console = RunConsole()
    for text in HOSTILE[:-1]:
        console.phase("data", text)
        console.say(text)
        console.warn(text)
    with console.progress(" ".join(HOSTILE[:-1])):
        pass
    shown = capsys.readouterr().err
    shown_as_text(shown)
    assert shown.count("\n") == 3 * len(HOSTILE[:-1])


def test_progress_shows_names_as_text(monkeypatch: Any) -> None:
    from io import StringIO

    from efficientformer.pipeline.run import console

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    with console.RunConsole().progress("[bold]reading[/]") as progress:
        progress(1, 2, "[/] :cat: \x07 \x1b]0;title\x07")
    drawn = screen.getvalue()
    assert "[bold]reading[/]" in drawn and "[/] :cat: \\x07 \\x1b]0;title\\x07" in drawn


def test_tables_show_names_as_text(capsys: Any) -> None:
    from efficientformer.cli.printing import print_lines, print_rows

    print_rows(("name", "ms"), [(name, "1.0") for name in HOSTILE[:-1]])
    print_lines(HOSTILE[:-1])
    shown = capsys.readouterr().out
    shown_as_text(shown)
    assert shown.count("\n") == 2 * len(HOSTILE[:-1]) + 1
