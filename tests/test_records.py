import json

import pytest

from efficientformer.errors import RecordError
from efficientformer.reading import read_lines, read_record
from efficientformer.records import append_line, atomic_path, digest, write_record


def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "record.json"
    write_record(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_record(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_record(path, {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("efficientformer.records.os.fsync", full)
    with pytest.raises(RecordError, match=r"No space left on device.*Free some space"):
        write_record(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})


def test_names_that_are_no_text_are_kept_in_records(tmp_path):
    """A file name of bytes that are no UTF-8, as Python has it."""
    content = {"file": "caf\udce9.png", "word": "жук"}
    write_record(tmp_path / "a.json", content)
    append_line(tmp_path / "b.jsonl", content)
    assert read_record(tmp_path / "a.json", dict) == read_lines(tmp_path / "b.jsonl", dict)[0] == content
    assert digest(content) != digest({**content, "file": "caf.png"})
    write_record(tmp_path / "a.json", {"word": "жук"})
    assert "жук" in (tmp_path / "a.json").read_text(encoding="utf-8")
