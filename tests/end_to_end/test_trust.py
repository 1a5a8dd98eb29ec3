"""A finished run of someone else's: no verb starts the program that it remembers, or writes outside of it."""

import shutil

import pytest

from efficientformer.records import read_record, write_record
from efficientformer.run_dir import RunDir

VERBS_THAT_MEASURE = [
    ("design",),
    ("table",),
    ("supernet",),
    ("slim",),
    ("baselines",),
    ("rank",),
    ("export",),
    ("verify",),
]
OTHERS = [("train",), ("evaluate",), ("report",), ("slim", "--explain", "1")]


@pytest.fixture
def theirs(designed, tmp_path):
    """A copy of a finished run with a program that leaves a canary for a device."""
    root = tmp_path / "theirs"
    shutil.copytree(designed[0], root)
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'canary'}'\nexit 3\n")
    program.chmod(0o755)
    record = read_record(RunDir(root).settings)
    for settings in (record, record["given"]):
        settings["device"] = f"command:{program}"
    write_record(RunDir(root).settings, record)
    return root


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


def test_no_verb_writes_where_the_trace_of_someone_else_says(theirs, program):
    """The slug names the folder of a network; the unit of a budget is part of it and of the names of stamps."""
    elsewhere = theirs.parent / "elsewhere"
    trace = read_record(RunDir(theirs).trace)
    for slug, unit in (
        (str(elsewhere), "pct"),
        ("../../elsewhere", "pct"),
        (trace["budgets"][0]["slug"], "/../../../elsewhere"),
    ):
        budgets = [
            {**entry, "slug": slug, "budget_value": {**entry["budget_value"], "unit": unit}}
            for entry in trace["budgets"]
        ]
        write_record(RunDir(theirs).trace, {**trace, "budgets": budgets})
        for verb in ("train", "evaluate", "export", "verify", "report"):
            program(verb, "--run-dir", theirs, "--device", "local", "--train.epochs", 1)
            assert not list(theirs.parent.glob("elsewhere*")), (verb, slug)
