from efficientformer.latency.timing.partial import PartialRounds

NAMES = ["a", "b"]


def test_rounds_come_back_and_go_on(tmp_path):
    path = tmp_path / "rounds.jsonl"
    first = PartialRounds(path, "device 1", NAMES)
    first.add({"b": 2.0, "a": 1.0})
    second = PartialRounds(path, "device 1", NAMES)
    assert second.rounds == [[1.0, 2.0]]
    second.add({"a": 3.0, "b": 4.0})
    assert PartialRounds(path, "device 1", NAMES).rounds == [[1.0, 2.0], [3.0, 4.0]]


def test_a_line_cut_by_a_crash_is_dropped_and_swallows_no_other(tmp_path):
    path = tmp_path / "rounds.jsonl"
    PartialRounds(path, "x", NAMES).add({"a": 1.0, "b": 2.0})
    with path.open("a", encoding="utf-8") as lines:
        lines.write("[3.0, 4")
    again = PartialRounds(path, "x", NAMES)
    again.add({"a": 5.0, "b": 6.0})
    assert PartialRounds(path, "x", NAMES).rounds == [[1.0, 2.0], [5.0, 6.0]]


def test_rounds_about_something_else_are_stale(tmp_path):
    path = tmp_path / "rounds.jsonl"
    PartialRounds(path, "device 1", NAMES).add({"a": 1.0, "b": 2.0})
    assert PartialRounds(path, "device 1", [*NAMES, "c"]).rounds == []
    PartialRounds(path, "device 1", NAMES).add({"a": 1.0, "b": 2.0})
    assert PartialRounds(path, "device 2", NAMES).rounds == []


def test_without_a_path_rounds_stay_in_memory():
    partial = PartialRounds(None, "x", NAMES)
    partial.add({"a": 1.0, "b": 2.0})
    assert partial.rounds == [[1.0, 2.0]]


def test_notes_come_back_beside_the_rounds(tmp_path):
    path = tmp_path / "rounds.jsonl"
    first = PartialRounds(path, "x", NAMES)
    first.note(plan={"a": 1}, load=None)
    first.add({"a": 1.0, "b": 2.0})
    first.note(load=0.5)
    first.add({"a": 3.0, "b": 4.0})
    again = PartialRounds(path, "x", NAMES)
    assert again.notes == first.notes == {"plan": {"a": 1}, "load": 0.5}
    assert again.samples_ms() == {"a": [1.0, 3.0], "b": [2.0, 4.0]}
    assert PartialRounds(path, "y", NAMES).notes == {}
