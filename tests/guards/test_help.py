"""`--help` is true: it shows the settings that a verb reads, with the defaults that would be used."""

import re
from operator import attrgetter

import pytest

from efficientformer.arch.resolution import resolution_text
from efficientformer.cli.app import run
from efficientformer.cli.help import GROUPS, PHASES_OF_VERBS, in_words, shown_settings
from efficientformer.pipeline.run.resolve_settings import preset_names, resolve_settings
from efficientformer.pipeline.run.settings import Settings, leaves

LABEL = re.compile(r"^  (?:--(?P<flag>\[no-\])?(?P<name>[\w.-]+?)(?P<nested>\.\[no-\][\w-]+)?)(?: |$)")


def shown(capsys, *arguments: str) -> dict[str, str]:
    """Text behind each option of the help, by the dotted name of its setting."""
    assert run([*arguments, "--help"]) == 0
    texts: dict[str, str] = {}
    name = ""
    for line in capsys.readouterr().out.splitlines():
        if match := LABEL.match(line):
            name = match["name"] + (match["nested"] or "").replace("[no-]", "")
            name = name.replace("-", "_")
            texts[name] = line.partition(match[0])[2]
        elif line.startswith("   ") and name:
            texts[name] += f" {line.strip()}"
        else:
            name = ""
    return {name: " ".join(text.split()) for name, text in texts.items()}


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("verb", PHASES_OF_VERBS)
def test_help_shows_what_the_verb_reads_and_would_use(verb, preset, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = shown(capsys, verb, "--preset", preset)
    settings = resolve_settings({"preset": preset})
    assert set(texts) & set(leaves()) == shown_settings(verb, settings)
    for name in shown_settings(verb, settings):
        value = settings.latency_clock if name == "clock" else attrgetter(name)(settings)
        text = resolution_text(value) if name == "resolution" else in_words(value)
        assert texts[name].endswith(f"[{text}]") == (value is not None), name


def test_help_follows_the_arguments_in_front_of_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(capsys, "train", "--init", "efficientformer_l1")["preset"].endswith("[fine_tune]")
    assert shown(capsys, "design", "--data", str(tmp_path))["preset"].endswith("[standard]")
    of_parent = shown(capsys, "design", "--init", "efficientformer_l1")
    assert of_parent["preset"].endswith("[transfer]") and of_parent["parent.epochs"].endswith("[20]")
    assert "supernet.epochs" not in of_parent and "parent.epochs" not in shown(capsys, "design")
    (tmp_path / "mine.yaml").write_text("train: {epochs: 77}")
    assert shown(capsys, "train", "--preset", "mine.yaml")["train.epochs"].endswith("[77]")
    assert shown(capsys, "train", "--config", "mine.yaml")["train.epochs"].endswith("[77]")
    assert (
        run(["train", "--train.epochs", "66", "--run-dir", "run"]) == 2
    )  # nothing was found yet, and it is remembered
    capsys.readouterr()
    assert shown(capsys, "train", "--run-dir", "run")["train.epochs"].endswith("[66]")
    assert shown(capsys, "train", "--train.epochs", "many")["train.epochs"].endswith("[10]")


def test_fine_tuning_has_a_run_directory_of_its_own(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--train.epochs", "55"]) == 2
    capsys.readouterr()
    assert shown(capsys, "train")["train.epochs"].endswith("[55]")
    assert shown(capsys, "train", "--init", "efficientformer_l1")["train.epochs"].endswith("[20]")


def test_every_setting_is_in_one_group_and_has_a_sentence(capsys):
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*grouped, "preset"]) == sorted(Settings.model_fields)
    commands = [
        *((verb,) for verb in PHASES_OF_VERBS),
        ("design", "--init", "efficientformer_l1"),
        ("design", "--teacher", "levit_128"),
        ("design", "--reference", "best"),
    ]
    sentences = {name: text for command in commands for name, text in shown(capsys, *command).items()}
    assert set(leaves()) <= set(sentences)
    assert not [name for name in leaves() if len(sentences[name].partition("[")[0].split()) < 2]


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize(("verb", "most"), [("evaluate", 45), ("design", 145)])
def test_help_is_short(verb, most, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert run([verb, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) < most
