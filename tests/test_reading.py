"""What is read is bounded and has a type: anything else is one line that names the file and the field."""

import json
import os
from typing import Annotated, Any, NotRequired

import pytest
from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.spaces import QUICK
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.journal import Journal
from efficientformer.paths import usable_path
from efficientformer.reading import MOST_LEVELS, parse_json, read_lines, read_record
from efficientformer.records import append_line, write_record


class Row(TypedDict):
    latency_ms: Annotated[float, Field(gt=0, le=1e9)]


class Record(TypedDict):
    rows: list[Row]
    name: NotRequired[str]


def written(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_record_is_what_was_written_with_fields_of_newer_versions(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"rows": [{"latency_ms": 3, "later": [1]}], "more": None})
    assert read_record(path, Record) == {"rows": [{"latency_ms": 3, "later": [1]}], "more": None}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", r"it must be an object, not \[\]"),
        ("null", "it must be an object, not None"),
        ("{}", "rows is missing"),
        ('{"rows": {}}', r"rows must be a list, not \{\}"),
        ('{"rows": [{"latency_ms": 1}, {}]}', r"rows\.1\.latency_ms is missing"),
        ('{"rows": [{"latency_ms": "1"}]}', r"rows\.0\.latency_ms must be a number, not '1'"),
        ('{"rows": [{"latency_ms": true}]}', r"rows\.0\.latency_ms must be a number, not True"),
        ('{"rows": [{"latency_ms": -1}]}', r"rows\.0\.latency_ms must be greater than 0, not -1"),
        ('{"rows": [{"latency_ms": 0}, {"latency_ms": 0}]}', r"greater than 0, not 0 \(and 1 more\)"),
        ('{"rows": [{"latency_ms": 1e400}]}', "1e400…, which is too large"),
        ('{"rows": [{"latency_ms": Infinity}]}', "Infinity, which is not a number"),
        ('{"rows": [{"latency_ms": NaN}]}', "NaN, which is not a number"),
        ('{"rows": [{"latency_ms": ' + "9" * 5000 + "}]}", "a number of 5000 digits"),
        ('{"rows": ' + "[" * 10_000 + "]" * 10_000 + "}", "lists or objects inside one another"),
        ('{"rows": ' + "[" * 100 + "]" * 100 + "}", "lists or objects inside one another"),
        ('{"rows": [], "name": "\\ud800"}', "half of a character"),
        ('{"rows": [', "it is not JSON"),
        ("", "it is not JSON"),
    ],
)
def test_a_record_of_another_shape_is_one_line_that_names_the_field(tmp_path, text, problem):
    path = written(tmp_path / "record.json", text)
    with pytest.raises(RecordError, match=rf"record\.json cannot be used: .*{problem}.*Delete it") as caught:
        read_record(path, Record)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_our_own_depth_is_far_from_the_limit():
    assert parse_json("[" * MOST_LEVELS + "]" * MOST_LEVELS)
    with pytest.raises(ValueError, match="inside one another"):
        parse_json("[" * (MOST_LEVELS + 2) + "]" * (MOST_LEVELS + 2))


def test_what_is_no_file_is_one_line_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "large.json").write_bytes(b" " * (1 << 20) + b"  ")
    expected = {
        "pipe": "is a pipe or a device",
        "folder": "is a folder, not a file",
        "absent": "does not exist",
        "loop": "cannot be read",
        "n" * 300: "cannot be read: File name too long",
        "null\0byte": "is not the name of a file",
        "half\ud800": "is not the name of a file",
        "large.json": "has 1 MiB",
    }
    for name, problem in expected.items():
        with pytest.raises(RecordError, match=problem) as caught:
            read_record(tmp_path / name, Record, most_mib=1)
        assert str(caught.value).isprintable()


def test_paths_that_cannot_be_are_refused_before_they_are_used(tmp_path):
    assert usable_path(tmp_path / "to be made" / "later", "--run-dir") == tmp_path / "to be made" / "later"
    for name in ("n" * 300, "null\0byte", "half\ud800"):
        with pytest.raises(UsageError, match="--run-dir") as caught:
            usable_path(tmp_path / name, "--run-dir")
        assert str(caught.value).isprintable()


def test_a_line_of_another_shape_is_named_by_its_number(tmp_path):
    path = tmp_path / "lines.jsonl"
    for line in ({"latency_ms": 1.0}, {"latency_ms": -1.0}):
        append_line(path, line)
    with pytest.raises(RecordError, match=r"lines\.jsonl, line 2, cannot be used: latency_ms must be greater than 0"):
        read_lines(path, Row)
    path.write_text('{"latency_ms": 1}\n{"latency\n{"latency_ms": 2}\n')
    with pytest.raises(RecordError, match=r"line 2, cannot be used: it is not JSON"):
        read_lines(path, Row)


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"step": 1, "name": "a line\u2028separator"})
    append_line(path, {"step": 2})
    path.write_text(path.read_text()[:-4])
    assert read_lines(path, Any) == [{"step": 1, "name": "a line\u2028separator"}]
    assert read_lines(tmp_path / "absent.jsonl", Any) == []


def test_a_journal_goes_on_after_a_kill_and_begins_anew_about_something_else(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    journal = Journal(path, "one", Any)
    journal.add({"name": "手紙"})
    journal.add([1, 2])
    with path.open("a") as lines:
        lines.write('{"cut sho')
    again = Journal(path, "one", Any)
    assert again.lines == [{"name": "手紙"}, [1, 2]]
    again.add(3)
    assert Journal(path, "one", Any).lines == [{"name": "手紙"}, [1, 2], 3]
    assert Journal(path, "two", Row).lines == [] and Journal(path, "one", Any).lines == []


def test_a_journal_about_the_same_keeps_no_line_of_another_shape(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path, "one", Any).add({"latency_ms": 0})
    before = path.read_bytes()
    with pytest.raises(RecordError, match="latency_ms must be greater than 0"):
        Journal(path, "one", Row)
    assert path.read_bytes() == before, "nothing is lost"


def changed(path: str, value: Any) -> dict[str, Any]:
    content: Any = ZOO["efficientformer_l1"].to_json()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = content
    for part in parents:
        inner = inner[part]
    inner[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("stages.1.width", 1e9, "stages.1.width must be a whole number"),
        ("stages.1.width", 8 * 10**9, "stages.1: A stage's width must be at most 4096"),
        ("stages.1.width", True, "stages.1.width must be a whole number"),
        ("stages.1.blocks", [{"kind": "MB4D"}] * 10_000, "stages.1.blocks"),
        ("stages.1.blocks", "MB4D", "stages.1.blocks must be a list"),
        ("stages.1.blocks.0", 3, "stages.1.blocks.0 must be an object"),
        ("stages.1.blocks.0.kind", [], "Unknown block kind"),
        ("stages.1.blocks.0.mlp_ratio", 10**9, "MB4D.mlp_ratio must be a positive integer up to 256"),
        ("stages", None, "stages must be a list"),
        ("stem_strides", [2], "stem_strides"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused_before_it_is_built(path, value, problem):
    with pytest.raises(ArchitectureError, match=problem):
        Architecture.from_json(changed(path, value))


def test_an_architecture_that_fills_a_machine_is_refused_and_the_largest_published_is_not():
    content = ZOO["efficientformer_l7"].to_json()
    assert Architecture.from_json(content) == ZOO["efficientformer_l7"]
    for stage in content["stages"]:
        stage["width"] = 4096
    with pytest.raises(ArchitectureError, match=r"\d+ weights in its blocks is refused"):
        Architecture.from_json(content)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("width_step", 0, "stages.2.width_step must be a positive multiple of 8"),
        ("depth", 10**9, "stages.2.depth"),
        ("widths", [16, 10**9], "stages.2.widths must be multiples of 8 from 8 to 4096"),
        ("widths", [16, 32, 48], "stages.2.widths"),
        ("blocks", [{"kind": "MB5D"}], "stages.2.blocks: Unknown block kind 'MB5D'"),
        ("blocks", ["MB4D", "MB4D"], "stages.2.blocks .*each once"),
        ("blocks", ["FFN"], "stages.2.blocks must be MB4D and MB3D, or FFN and AttnFFN"),
        ("expansions", [3, 4], "stages.2.expansions must be in descending order"),
        ("largest", ["MB4D"], "stages.2.largest or depth"),
    ],
)
def test_a_search_space_that_cannot_be_is_refused(name, value, problem):
    content = json.loads(json.dumps(QUICK.to_json()))
    assert type(QUICK).from_json(content) == QUICK
    content["stages"][2][name] = value
    with pytest.raises(ArchitectureError, match=problem):
        type(QUICK).from_json(content)
