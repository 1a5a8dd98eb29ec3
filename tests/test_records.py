import json

import pytest

from efficientformer.errors import RecordError
from efficientformer.records import (
    Journal,
    append_line,
    atomic_path,
    digest,
    read_lines,
    read_record,
    write_record,
)


def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "record.json"
    write_record(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_record(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_record(path) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_record(path, {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("efficientformer.records.os.fsync", full)
    with pytest.raises(RecordError, match=r"No space left on device.*Free some space"):
        write_record(path, {"a": 2})
    assert read_record(path) == {"a": 1} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1,]"])
def test_what_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        read_record(path)
    with pytest.raises(RecordError, match="does not exist"):
        read_record(tmp_path / "absent.json")


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"step": 1})
    append_line(path, {"step": 2})
    path.write_text(path.read_text()[:-4])
    assert read_lines(path) == [{"step": 1}]
    assert read_lines(tmp_path / "absent.jsonl") == []


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_journal_goes_on_after_a_kill_and_begins_anew_about_something_else(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    journal = Journal(path, "one")
    journal.add({"name": "手紙"})
    journal.add([1, 2])
    with path.open("a") as lines:
        lines.write('{"cut sho')
    again = Journal(path, "one")
    assert again.lines == [{"name": "手紙"}, [1, 2]]
    again.add(3)
    assert Journal(path, "one").lines == [{"name": "手紙"}, [1, 2], 3]
    assert Journal(path, "two").lines == [] and Journal(path, "one").lines == []


def test_names_that_are_no_text_are_kept_in_records(tmp_path):
    """A file name of bytes that are no UTF-8, as Python has it."""
    content = {"file": "caf\udce9.png", "word": "жук"}
    write_record(tmp_path / "a.json", content)
    append_line(tmp_path / "b.jsonl", content)
    assert read_record(tmp_path / "a.json") == read_lines(tmp_path / "b.jsonl")[0] == content
    assert digest(content) != digest({**content, "file": "caf.png"})
    write_record(tmp_path / "a.json", {"word": "жук"})
    assert "жук" in (tmp_path / "a.json").read_text(encoding="utf-8")
