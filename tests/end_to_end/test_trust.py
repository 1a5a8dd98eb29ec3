"""A finished run of someone else's: no verb starts the program that it remembers, or writes outside of it."""

import shutil
from pathlib import Path

import pytest

from efficientformer.pipeline.run.stamps import accept_output
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir

from .conftest import SCALE

VERBS_THAT_MEASURE = [
    ("design",),
    ("table",),
    ("slim",),
    ("baselines",),
    ("rank",),
    ("export",),
    ("verify",),
]
OTHERS = [("supernet",), ("train",), ("evaluate",), ("report",), ("slim", "--explain", "1")]


@pytest.fixture
def copy(designed, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(designed[0], tmp_path / "theirs"))


@pytest.fixture
def theirs(copy, tmp_path):
    """The copy with a program that leaves a canary for a device."""
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'canary'}'\nexit 3\n")
    program.chmod(0o755)
    record = read_record(RunDir(copy).settings, dict)
    for settings in (record, record["given"]):
        settings["device"] = f"command:{program}"
    write_record(RunDir(copy).settings, record)
    return copy


def test_no_verb_starts_the_program_of_someone_else(theirs, program):
    for verb in VERBS_THAT_MEASURE:
        code, _, said = program(*verb, "--run-dir", theirs)
        assert code == 2 and not (theirs.parent / "canary").exists(), (verb, said)
    for verb in OTHERS:
        program(*verb, "--run-dir", theirs)
        assert not (theirs.parent / "canary").exists(), verb
    for arguments in (
        ("table", "check", theirs),
        ("table", "show", theirs),
        ("design", "--supernet-from", theirs, "--help"),
    ):
        program(*arguments)
        assert not (theirs.parent / "canary").exists(), arguments


def test_no_verb_writes_where_the_trace_of_someone_else_says(copy, program):
    """The slug names the folder of a network; the unit of a budget is part of it and of the names of stamps."""
    trace, elsewhere = read_record(RunDir(copy).trace, dict), copy.parent / "elsewhere"
    own = trace["budgets"][0]["slug"]
    for slug, unit in ((str(elsewhere), "%"), ("../../elsewhere", "%"), (own, "/../../../elsewhere")):
        value = {**trace["budgets"][0]["budget_value"], "unit": unit}
        budgets = [{**trace["budgets"][0], "slug": slug, "budget_value": value}, *trace["budgets"][1:]]
        write_record(RunDir(copy).trace, {**trace, "budgets": budgets})
        accept_output(RunDir(copy), "slim", RunDir(copy).trace)
        for verb in ("train", "evaluate", "export", "verify", "report"):
            code, _, said = program(verb, "--run-dir", copy, "--device", f"{SCALE} first")
            assert not list(copy.parent.glob("elsewhere*")), (verb, slug)
            assert verb == "report" or (code == 1 and ("must be the name of a folder" in said or "unit" in said)), (
                verb,
                slug,
                said,
            )
