"""Settings of files that anyone may have written."""

import json
import time

import pytest

from efficientformer.errors import RecordError, UsageError
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.resolve_settings import read_yaml, resolve_settings

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("supernet_from: 1.5", "supernet_from must be text, not '1.5'"),
        ("preset: [1]", r"preset must be text, not '\[1\]'"),
        ("data: 2026-01-01", "data must be text"),
        ("1: 2", "must hold names and values"),
        ("[1]", "must hold names and values"),
        ("", "must hold names and values"),
        ("threads: 1\ntrain:\n  epochs: 3\n  epochs: 30", "line 4 gives epochs a second time"),
        ("a: {'x': 1, \"x\": 2}", "line 1 gives x a second time"),
        ("a: {<<: {x: 1}, <<: {x: 2}}", "line 1 gives << a second time"),
        ('"a\\nb": 1\n"a\\nb": 2', r"line 2 gives 'a\\nb' a second time"),
        ("a: [1", "is not readable YAML"),
        ("a: " + "9" * 5000, "cannot be used"),
        ("[" * 100_000, "inside one another"),
        ("- " * 100_000, "inside one another"),
        (BOMB, "more than 10000 values"),
    ],
)
def test_yaml_that_cannot_be_settings_is_one_line(tmp_path, text, problem):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(UsageError, match=rf"--config .*mine\.yaml.*{problem}") as caught:
        RunRequest(run_dir=tmp_path / "run", config=path).resolved()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.monotonic() - started < 8


def test_a_recipe_of_ones_own_repeats_no_key_either(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epochs: 3}\ntrain: {epochs: 30}")
    with pytest.raises(UsageError, match=r"--preset .*mine\.yaml cannot be used: line 2 gives train a second time\.$"):
        resolve_settings({"preset": str(path)})


def test_a_mapping_may_override_what_it_merges(tmp_path):
    """However deep the merged one is, which the loader extends in place."""
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: {c: {d: &d {<<: *a, x: 2}}}\ne: {<<: *d, x: 3}")
    assert read_yaml(path) == {"a": {"x": 1, "y": 1}, "b": {"c": {"d": {"x": 2, "y": 1}}}, "e": {"x": 3, "y": 1}}


def test_what_is_no_yaml_file_is_one_line(tmp_path):
    for name in (".", "absent.yaml", "n" * 300, "null\0byte"):
        with pytest.raises(UsageError, match="--config"):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"train": {"epochs": "many"}}, r"given\.train\.epochs"),
        ({"supernet_from": 1.5}, "supernet_from must be text"),
        ({"preset": [1]}, "preset must be text"),
        ([], "given must be an object"),
    ],
)
def test_remembered_settings_that_cannot_be_used_name_their_file(tmp_path, given, problem):
    (tmp_path / "settings.json").write_text(json.dumps({"given": given}))
    with pytest.raises(RecordError, match=rf"settings\.json cannot be used: {problem}.*Restore it"):
        RunRequest(run_dir=tmp_path).resolved()


@pytest.mark.parametrize("name", ["n" * 300, "null\0byte", "half\ud800"])
def test_paths_of_settings_that_cannot_be_are_named_by_their_option(tmp_path, name):
    (tmp_path / "mine.yaml").write_text(json.dumps({"data": name}))
    with pytest.raises(UsageError, match="--data"):
        RunRequest(run_dir=tmp_path / "run", config=tmp_path / "mine.yaml").resolved()
    with pytest.raises(UsageError, match="--run-dir"):
        RunRequest(run_dir=tmp_path / name).resolved()
