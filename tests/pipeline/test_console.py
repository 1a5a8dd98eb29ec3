from efficientformer.pipeline.run import console


def test_a_log_gets_a_line_a_minute_with_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.RunConsole().progress("measuring") as update:
        for done in range(1, 11):
            update(done, 10, f"round {done}")
            now[0] += 25.0
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "measuring: round 4 (4 of 10, about 2 min left)",
        "measuring: round 7 (7 of 10, about 1 min left)",
    ]
